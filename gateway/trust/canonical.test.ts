import fc from 'fast-check';
import t from 'tap';
import { utf8 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { canonicalJson, hasExactly, isObject, parseCanonicalJson } from './canonical.ts';

void t.test('RFC 8785 §3.2.2 and §3.2.3, as far as integers go', async (t) => {
  // The RFC's own sorting example: UTF-16 code units, so U+1F600 (D83D DE00) comes before U+FB33.
  const sorting = {
    '\u20ac': 'Euro Sign',
    '\r': 'Carriage Return',
    '\ufb33': 'Hebrew Letter Dalet With Dagesh',
    '1': 'One',
    '\ud83d\ude00': 'Emoji: Grinning Face',
    '\u0080': 'Control',
    '\u00f6': 'Latin Small Letter O With Diaeresis',
  };
  t.equal(
    canonicalJson(sorting),
    '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",' +
      '"€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
  );
  t.equal(canonicalJson('\u20ac$\u000f\nA\'B"\\\\"/'), '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"');
  t.equal(canonicalJson([null, true, false, 0, -1, 2 ** 53 - 1]), '[null,true,false,0,-1,9007199254740991]');
  t.equal(canonicalJson(JSON.parse('{"__proto__":1,"a":{}}')), '{"__proto__":1,"a":{}}');
});

void t.test('refuses what has no one spelling', async (t) => {
  const refused = [
    0.5,
    -0,
    2 ** 53,
    NaN,
    Infinity,
    '\ud800',
    ['\udc00'],
    { '\ud800': 1 },
    undefined,
    { a: undefined },
    1n,
  ];
  for (const value of refused) t.throws(() => canonicalJson(value), MalformedBytes, typeof value);
});

void t.test('reads exactly what it writes', async (t) => {
  const json = fc.jsonValue({ stringUnit: 'grapheme' });
  fc.assert(
    fc.property(json, (value) => {
      let text: string;
      try {
        text = canonicalJson(value);
      } catch {
        return; // floats, lone surrogates
      }
      t.equal(parseCanonicalJson(utf8(text)).text, text);
    }),
    { numRuns: 200 },
  );
  const good = '{"a":[1,"x"],"b":null}';
  t.strictSame(parseCanonicalJson(utf8(good)).value, { a: [1, 'x'], b: null });
  t.strictSame(parseCanonicalJson(utf8('{"10":1,"9":2}')).value, { 9: 2, 10: 1 }, 'in the order of the text');
  for (const bad of [
    '{"b":null,"a":[1,"x"]}',
    '{"a":[1,"x"], "b":null}',
    '{"a":[1,"x"],"a":[1,"x"],"b":null}',
    '{"a":[1.0,"x"],"b":null}',
    '{"a":[1,"\\u0078"],"b":null}',
    '{"a":[1,"x"],"b":null}\n',
    '\ufeff{"a":[1,"x"],"b":null}',
    '{"a":1e2}',
    '{"a":-0}',
    '{"9":1,"10":1}',
    '{"a":"\\ud800"}',
    '{"\\ud800":1}',
    '',
  ]) {
    t.throws(() => parseCanonicalJson(utf8(bad)), MalformedBytes, bad);
  }
  for (let end = 0; end < good.length; end++) {
    t.throws(() => parseCanonicalJson(utf8(good.slice(0, end))), MalformedBytes, `cut at ${end}`);
  }
  t.throws(() => parseCanonicalJson(Buffer.from([0x22, 0xc3, 0x28, 0x22])), MalformedBytes, 'broken UTF-8');
});

void t.test('nesting without end is refused before the stack ends', async (t) => {
  const nested = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
  t.equal(parseCanonicalJson(utf8(nested(100))).text, nested(100));
  for (const levels of [101, 5_000, 100_000]) {
    const text = nested(levels);
    t.throws(() => parseCanonicalJson(utf8(text)), {
      name: 'MalformedBytes',
      message: /deeper than 100 levels/,
    });
    const members = `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
    t.throws(() => canonicalJson(JSON.parse(members)), { name: 'MalformedBytes' });
  }
});

void t.test('an array and null are no objects', async (t) => {
  t.strictSame([{}, [], null, 'x', undefined].map(isObject), [true, false, false, false, false]);
});

void t.test('members are compared one by one, own ones only', async (t) => {
  t.equal(hasExactly({ b: 1, a: undefined }, ['a', 'b']), true);
  for (const other of [
    { a: 1 },
    { a: 1, b: 1, c: 1 },
    { 'a,b': 1 },
    { 'a,b': 1, c: 1 },
    { a: 1, toString: 1 },
    {},
  ]) {
    t.equal(hasExactly(other, ['a', 'b']), false, Object.keys(other).join(' '));
  }
  t.equal(hasExactly({ a: 1 }, ['toString']), false);
});
