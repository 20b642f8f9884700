import t from 'tap';
import { utf8 } from './bytes.ts';
import { requireFewValues } from './few-values.ts';

void t.test('counts at least as many values as there are', (t) => {
  const table: readonly (readonly [json: string, values: number])[] = [
    ['1', 0],
    ['[]', 1],
    ['[1,2,3]', 3],
    ['{"a":1,"b":[2]}', 3],
    ['[[[]]]', 3],
    ['{"a":{"b":{}}}', 3],
    ['"a, b"', 1],
  ];
  for (const [json, values] of table) {
    t.doesNotThrow(() => requireFewValues(utf8(json), values), json);
    if (values > 0)
      t.throws(() => requireFewValues(utf8(json), values - 1), {
        name: 'MalformedBytes',
        message: `holds more than ${values - 1} values`,
      });
  }
  t.end();
});
