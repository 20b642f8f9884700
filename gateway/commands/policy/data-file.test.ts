import t from 'tap';
import { parseDataFile } from './data-file.ts';

const read = (text: string): unknown => parseDataFile('data/x.json', Buffer.from(text)).value;

void t.test('numbers that everybody reads alike, however they are written', (t) => {
  const numbers =
    '[0, -0, 0.0e5, 1, -1.50, 1e3, 1E+3, 0.1, 123e-5, 9007199254740991, 1e21, 5e-324, 1.7976931348623157e308]';
  t.strictSame(read(numbers), JSON.parse(numbers));
  for (const bad of ['1e400', '-1e400', '1e-400', '9007199254740993', '0.12345678901234567891', '[1e309]'])
    t.throws(() => read(`{"most": ${bad}}`), {
      name: 'ConfigError',
      message: /^data\/x\.json: (?:most|0): .* would be read as /,
    });
  t.end();
});

void t.test('text that is not JSON, or not in UTF-8', (t) => {
  for (const bad of [Buffer.from('{'), Buffer.from([0x22, 0xff, 0x22])])
    t.throws(() => parseDataFile('data/x.json', bad), { message: /^data\/x\.json: is not JSON in UTF-8: / });
  t.end();
});
