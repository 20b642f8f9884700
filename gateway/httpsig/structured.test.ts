import fc from 'fast-check';
import { serializeDictionary, Token, type BareItem, type Dictionary, type Item } from 'structured-headers';
import t from 'tap';
import { dictionaryKey, sfString } from '../../conformance/builders/components.ts';
import { MalformedBytes } from '../core/errors.ts';
import { dictionaryMember } from './structured.ts';

void t.test('a member is written again, strictly', async (t) => {
  const field =
    'a=1,  b=2;x=1;  y=2,\tc=(a   b    c), d, e="q\\"",f=:AAE=:, g=?0, h=-3.50, i=(1 2);z;w=?0,a=tok/en:*';
  for (const [key, value] of Object.entries({
    a: 'tok/en:*',
    b: '2;x=1;y=2',
    c: '(a b c)',
    d: '?1',
    e: '"q\\""',
    f: ':AAE=:',
    g: '?0',
    h: '-3.5',
    i: '(1 2);z;w=?0',
  })) {
    t.equal(dictionaryMember(field, key), value, key);
  }
});

void t.test('refused', async (t) => {
  const refused: readonly (readonly [what: string, field: string, key: string])[] = [
    ['no such member', 'a=1', 'b'],
    ['an empty field', '', 'a'],
    ['a name of Object.prototype', 'a=1', 'constructor'],
    ['a date, no dictionary', 'Tue, 20 Apr 2021 02:07:55 GMT', 'tue'],
    ['a trailing comma', 'a=1,', 'a'],
    ['base64 that is none', 'a=:A:', 'a'],
    ['a decimal that would lose its type', 'a=1.0', 'a'],
    ['such a decimal as a parameter', 'a=1;x=2.000', 'a'],
    ['such a decimal in a list', 'a=(1 -2.0)', 'a'],
    ['such a decimal in another member', 'a=1, b=3.0', 'a'],
    ['a date of RFC 9651', 'a=@1659578233', 'a'],
    ['a display string of RFC 9651', 'a=%"x%0a"', 'a'],
  ];
  for (const [what, field, key] of refused) {
    t.throws(() => dictionaryMember(field, key), { name: 'MalformedBytes' }, what);
  }
});

void t.test('text inside strings and tokens is not mistaken for such values', async (t) => {
  t.equal(dictionaryMember('a="v=1.0 @1 %"', 'a'), '"v=1.0 @1 %"');
  t.equal(dictionaryMember('a="\\"=1.0", b=v1.0', 'b'), 'v1.0');
  t.equal(dictionaryMember('a=10.05', 'a'), '10.05');
});

const bare: fc.Arbitrary<BareItem> = fc.oneof(
  fc.integer({ min: -999_999_999_999_999, max: 999_999_999_999_999 }),
  fc
    .integer({ min: -9_999_999, max: 9_999_999 })
    .filter((n) => n % 1000 !== 0)
    .map((n) => n / 1000),
  sfString,
  fc.stringMatching(/^[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]{0,8}$/).map((text) => new Token(text)),
  fc.uint8Array({ maxLength: 9 }),
  fc.boolean(),
);
const parameters = fc.array(fc.tuple(dictionaryKey, bare), { maxLength: 2 }).map((all) => new Map(all));
const item: fc.Arbitrary<Item> = fc.tuple(bare, parameters);
const innerList = fc.tuple(fc.array(item, { maxLength: 3 }), parameters);
const dictionary: fc.Arbitrary<Dictionary> = fc
  .array(fc.tuple(dictionaryKey, fc.oneof(item, innerList)), { minLength: 1, maxLength: 4 })
  .map((all) => new Map<string, (typeof all)[number][1]>(all));

void t.test('a member comes out of any dictionary as it went in', async (t) => {
  fc.assert(
    fc.property(dictionary, (members) => {
      const field = serializeDictionary(members);
      for (const [key, member] of members) {
        const alone = serializeDictionary(new Map([[key, member]]));
        // A dictionary writes `?1` as the bare key; as a component value it is spelled out (RFC 9421 §2.1.2).
        const value = member[0] === true ? `?1${alone.slice(key.length)}` : alone.slice(key.length + 1);
        t.equal(dictionaryMember(field, key), value, field);
      }
    }),
    { numRuns: 300 },
  );
});

void t.test('random text throws MalformedBytes and nothing else', async () => {
  const noise = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.stringMatching(/^[a-z=()":; ,\\1.@%?-]*$/),
  );
  fc.assert(
    fc.property(noise, fc.oneof(fc.constant('a'), noise), (field, key) => {
      try {
        return typeof dictionaryMember(field, key) === 'string';
      } catch (thrown) {
        return thrown instanceof MalformedBytes;
      }
    }),
    { numRuns: 3000 },
  );
});
