import fc from 'fast-check';
import t from 'tap';
import type { Field } from '../core/fields.ts';
import { formatFields } from './message-writer.ts';

// All fields of a head are checked together; each by itself is the truth they are held to.

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NO_TEXT = /[^\t\x20-\x7e\x80-\xff]/;

const alone = (fields: readonly Field[]): string | undefined =>
  fields.every(([name, value]) => TOKEN.test(name) && !NO_TEXT.test(value))
    ? fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    : undefined;

const together = (fields: readonly Field[]): string | undefined => {
  try {
    return formatFields(fields);
  } catch {
    return undefined;
  }
};

const HOSTILE = [
  '\r\n',
  '\r',
  '\n',
  '\0',
  ':',
  ' ',
  '',
  '\t',
  '\x7f',
  '\x80',
  '\xff',
  'Ā',
  '字',
  'a',
  'x-b',
  '\x1f',
];
const piece = fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary', maxLength: 3 }));
const hostile = fc.array(piece, { maxLength: 3 }).map((pieces) => pieces.join(''));
const name = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom('a', 'content-type', 'x_y') },
  { weight: 1, arbitrary: hostile },
);
const value = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom('', '1', 'a; b="c"') },
  { weight: 1, arbitrary: hostile },
);

void t.test('fields are written together as they would be alone', async (t) => {
  let [written, refused] = [0, 0];
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 6 }), (fields) => {
      const truth = alone(fields);
      if (truth === undefined) refused += 1;
      else written += 1;
      return together(fields) === truth;
    }),
    { numRuns: 3000, seed: 11 },
  );
  for (const bad of HOSTILE) {
    t.equal(together([['a', bad]]), alone([['a', bad]]), JSON.stringify(bad));
    t.equal(together([['a', '1'], [bad, '1'], ['b', '2']]), alone([['a', '1'], [bad, '1'], ['b', '2']])); // prettier-ignore
  }
  t.ok(written > 300 && refused > 300, `${written} written, ${refused} refused`);
});
