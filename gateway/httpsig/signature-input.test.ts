import fc from 'fast-check';
import { parseDictionary, serializeDictionary } from 'structured-headers';
import t from 'tap';
import { component, dictionaryKey, mutated, signatureParams } from '../../conformance/builders/components.ts';
import { MalformedBytes } from '../core/errors.ts';
import type { Fields } from '../core/fields.ts';
import {
  formatSignatureInput,
  parseSignatureInput,
  parseSignatures,
  MAX_SIGNATURES,
} from './signature-input.ts';

const bag = (input: string | undefined, signature: string | undefined): Fields => [
  ['date', 'today'],
  ...(input === undefined ? [] : [['signature-input', input] as const]),
  ...(signature === undefined ? [] : [['signature', signature] as const]),
];

void t.test('one signature', async (t) => {
  const input =
    'sig1=("@method" "content-digest";req;tr);created=1;expires=2;nonce="n";alg="a";keyid="k\\"\\\\";tag="t"';
  const parsed = parseSignatures(bag(input, 'sig1=:AAEC:'));
  t.same([...parsed.keys()], ['sig1']);
  const found = parsed.get('sig1');
  if (found === undefined) throw new Error('no sig1');
  const { input: read, signature } = found;
  t.same(read, {
    label: 'sig1',
    components: [{ name: '@method' }, { name: 'content-digest', req: true, tr: true }],
    params: { created: 1, expires: 2, nonce: 'n', alg: 'a', keyid: 'k"\\', tag: 't' },
    raw: input.slice('sig1='.length),
  });
  t.same(Buffer.from(signature), Buffer.from([0, 1, 2]));
  t.equal(formatSignatureInput(read.components, read.params), read.raw);
});

void t.test('no signature is an answer, half of one is not', async (t) => {
  t.equal(parseSignatures([['date', 'today']]).size, 0);
  t.throws(() => parseSignatures(bag('a=()', undefined)), { name: 'MalformedBytes' });
  t.throws(() => parseSignatures(bag(undefined, 'a=:AA==:')), { name: 'MalformedBytes' });
});

void t.test('M07: labels of the two fields are the same', async (t) => {
  const two = parseSignatures(bag('a=();created=1, b=("@path")', 'b=:AQ==:, a=:Ag==:'));
  t.same([...two.keys()], ['a', 'b'], 'in the order of signature-input');
  t.same(Buffer.from(two.get('a')?.signature ?? []), Buffer.from([2]), 'paired by label, not by place');
  t.equal(two.get('b')?.input.raw, '("@path")');
  for (const [input, signature] of [
    ['a=()', 'b=:AA==:'],
    ['a=(), b=()', 'a=:AA==:'],
    ['a=()', 'a=:AA==:, b=:AA==:'],
    ['a=(), b=()', 'a=:AA==:, c=:AA==:'],
  ] as const) {
    t.throws(
      () => parseSignatures(bag(input, signature)),
      { name: 'MalformedBytes' },
      `${input} | ${signature}`,
    );
  }
});

void t.test('T07: nothing stands twice', async (t) => {
  const refused: readonly Fields[] = [
    [...bag('a=()', 'a=:AA==:'), ['signature', 'a=:AA==:']],
    [...bag('a=()', 'a=:AA==:'), ['signature-input', 'a=()']],
    bag('a=(), a=()', 'a=:AA==:, a=:AA==:'),
    bag('a=()', 'a=:AA==:, a=:AQ==:'),
    bag('a=();created=1;created=1', 'a=:AA==:'),
    bag('a=();tag="x";tag="x"', 'a=:AA==:'),
    bag('a=("x";req;req)', 'a=:AA==:'),
    bag('a=("x";key="a";key="a")', 'a=:AA==:'),
  ];
  for (const fields of refused)
    t.throws(() => parseSignatures(fields), { name: 'MalformedBytes' }, JSON.stringify(fields));
});

void t.test('T11: names of Object.prototype are data', async (t) => {
  const parsed = parseSignatures(
    bag('constructor=("__proto__" "x";key="__proto__");keyid="__proto__"', 'constructor=:AA==:'),
  );
  t.same([...parsed.keys()], ['constructor']);
  t.same(parsed.get('constructor')?.input.components, [
    { name: '__proto__' },
    { name: 'x', key: '__proto__' },
  ]);
  t.equal(parsed.get('constructor')?.input.params.keyid, '__proto__');
  t.equal(parsed.get('__proto__'), undefined);
  t.equal(parsed.get('toString'), undefined);
  t.throws(
    () => parseSignatureInput('__proto__=()'),
    { name: 'MalformedBytes' },
    'no dictionary key starts with _',
  );
  for (const name of ['__proto__', 'constructor', 'toString']) {
    t.throws(() => parseSignatureInput(`a=();${name}=1`), { name: 'MalformedBytes' }, `parameter ${name}`);
  }
  t.equal(Object.getPrototypeOf({}), Object.prototype);
});

void t.test('any other spelling of the same thing is refused', async (t) => {
  const good = 'sig1=("@method" "x";req);created=1;keyid="k"';
  t.ok(parseSignatureInput(good));
  const refused: readonly (readonly [what: string, text: string])[] = [
    ['nothing', ''],
    ['a space before', ` ${good}`],
    ['a space behind', `${good} `],
    ['a comma behind', `${good},`],
    ['a comma and a space behind', `${good}, `],
    ['a space in the list', good.replace('("', '( "')],
    ['two spaces in the list', good.replace('" "', '"  "')],
    ['a tab in the list', good.replace('" "', '"\t"')],
    ['a space at the end of the list', good.replace('req)', 'req )')],
    ['a space before a parameter', good.replace(';created', '; created')],
    ['no space after a comma', `${good},b=()`],
    ['two spaces after a comma', `${good},  b=()`],
    ['a leading zero', good.replace('created=1', 'created=01')],
    ['a sign', good.replace('created=1', 'created=-1')],
    ['a decimal', good.replace('created=1', 'created=1.0')],
    ['no digits', good.replace('created=1', 'created=')],
    ['a string for a time', good.replace('created=1', 'created="1"')],
    ['16 digits', good.replace('created=1', 'created=1234567890123456')],
    ['a token for a string', good.replace('"k"', 'k')],
    ['a flag for a string', good.replace('keyid="k"', 'keyid')],
    ['a flag for a time', good.replace('created=1', 'created')],
    ['a spelled-out flag', good.replace('req', 'req=?1')],
    ['a flag that is false', good.replace('req', 'req=?0')],
    ['a needless escape', good.replace('"k"', '"\\k"')],
    ['an open escape', 'a=();keyid="\\'],
    ['an open string', good.slice(0, -1)],
    ['a control character in a string', good.replace('"k"', '"\n"')],
    ['a non-ASCII string', good.replace('"k"', '"\u00e9"')],
    ['an open list', 'a=("x"'],
    ['an empty open list', 'a=('],
    ['no list', 'a'],
    ['a string for a list', 'a="x"'],
    ['bytes for a list', 'a=:AA==:'],
    ['a token in the list', 'a=(x)'],
    ['a nested list', 'a=(("x"))'],
    ['a label in capitals', 'Sig=()'],
    ['a label that starts with a digit', '1=()'],
    ['an empty label', '=()'],
    ['another order of component parameters', 'a=("x";tr;req)'],
    ['an unknown signature parameter', 'a=();level=1'],
    ['sf', 'a=("x";sf)'],
    ['bs', 'a=("x";bs)'],
    ['an unknown component parameter', 'a=("x";v=1)'],
    ['a component that nothing could have', 'a=("@body")'],
    ['a component in capitals', 'a=("Date")'],
    ['a component with an escape', 'a=("da\\"te")'],
    ['name on a field', 'a=("date";name="x")'],
  ];
  for (const [what, text] of refused)
    t.throws(() => parseSignatureInput(text), { name: 'MalformedBytes' }, what);
});

void t.test('signatures are bytes, each in its one base64', async (t) => {
  for (const signature of [
    'a',
    'a=',
    'a=AA==',
    'a=:AA:',
    'a=:AB==:',
    'a=:A A==:',
    'a=:_-==:',
    'a=:AA==',
    'a=:AA==:;x',
    'a=("x")',
    'a=:AA==: ',
  ]) {
    t.throws(() => parseSignatures(bag('a=()', signature)), { name: 'MalformedBytes' }, signature);
  }
});

void t.test('V15: bounded', async (t) => {
  const many = (count: number, member: string): string =>
    Array.from({ length: count }, (_, i) => `s${i}=${member}`).join(', ');
  t.equal(parseSignatures(bag(many(MAX_SIGNATURES, '()'), many(MAX_SIGNATURES, '::'))).size, MAX_SIGNATURES);
  t.throws(() => parseSignatures(bag(many(MAX_SIGNATURES + 1, '()'), many(MAX_SIGNATURES, '::'))), {
    name: 'MalformedBytes',
  });
  t.throws(() => parseSignatures(bag(many(MAX_SIGNATURES, '()'), many(MAX_SIGNATURES + 1, '::'))), {
    name: 'MalformedBytes',
  });
  const list = (count: number): string =>
    `a=(${Array.from({ length: count }, (_, i) => `"x${i}"`).join(' ')})`;
  t.equal(parseSignatureInput(list(128)).get('a')?.components.length, 128);
  t.throws(() => parseSignatureInput(list(129)), { name: 'MalformedBytes', message: /over 128/ });
});

void t.test('times are whole seconds', async (t) => {
  t.equal(
    formatSignatureInput([], { created: 0, expires: 999_999_999_999_999 }),
    '();created=0;expires=999999999999999',
  );
  for (const created of [-1, 0.5, NaN, Infinity, 1e15]) {
    t.throws(() => formatSignatureInput([], { created }), { name: 'MalformedBytes' }, String(created));
  }
  for (const text of ['\n', '\u00e9', '\u007f']) {
    t.throws(
      () => formatSignatureInput([], { nonce: text }),
      { name: 'MalformedBytes' },
      JSON.stringify(text),
    );
  }
});

const member = fc
  .tuple(fc.array(component, { maxLength: 6 }), signatureParams)
  .map(([components, params]) => ({
    components,
    params,
    raw: formatSignatureInput(components, params),
  }));
const members = fc.uniqueArray(fc.tuple(dictionaryKey, member), {
  selector: ([key]) => key,
  minLength: 1,
  maxLength: 4,
});
const spelled = members.map((all) => all.map(([key, { raw }]) => `${key}=${raw}`).join(', '));

void t.test('parse(format(x)) = x', async (t) => {
  fc.assert(
    fc.property(members, (all) => {
      const parsed = parseSignatureInput(all.map(([key, { raw }]) => `${key}=${raw}`).join(', '));
      t.same(
        [...parsed.values()],
        all.map(([label, rest]) => ({ label, ...rest })),
      );
    }),
    { numRuns: 200 },
  );
});

/** What we accept, the general parser accepts too, and writes back as it was. */
function sameAsGeneralParser(text: string): boolean {
  let parsed;
  try {
    parsed = parseSignatureInput(text);
  } catch (thrown) {
    return thrown instanceof MalformedBytes;
  }
  const general = parseDictionary(text);
  return serializeDictionary(general) === text && [...general.keys()].join() === [...parsed.keys()].join();
}

void t.test('text that almost parses: refused, or read as a general parser reads it', async () => {
  fc.assert(fc.property(mutated(spelled), sameAsGeneralParser), { numRuns: 3000 });
  fc.assert(fc.property(mutated(mutated(spelled)), sameAsGeneralParser), { numRuns: 1000 });
});

void t.test('random text throws MalformedBytes and nothing else', async () => {
  const noise = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.stringMatching(/^[a-z=()":; ,\\1]*$/),
  );
  fc.assert(fc.property(noise, sameAsGeneralParser), { numRuns: 2000 });
  fc.assert(
    fc.property(noise, noise, (input, signature) => {
      try {
        parseSignatures(bag(input, signature));
        return true;
      } catch (thrown) {
        return thrown instanceof MalformedBytes;
      }
    }),
    { numRuns: 2000 },
  );
});

void t.test('a list that was read before is read the same way, whatever else came between', async (t) => {
  const lists = [
    '("a")',
    '("a" "b")',
    '("a";req)',
    '("a" "b";tr)',
    '()',
    ...Array.from({ length: 12 }, (_, i) => `("a" "n${i}")`),
  ];
  const first = lists.map((list) => parseSignatureInput(`x=${list};created=1`).get('x')?.components);
  for (let round = 0; round < 3; round += 1) {
    for (const [index, list] of lists.entries()) {
      const read = parseSignatureInput(`y=${list};created=${round};tag="t"`).get('y');
      t.strictSame(read?.components, first[index], list);
      t.equal(read?.raw, `${list};created=${round};tag="t"`);
    }
  }
  // What stands behind a known list is looked at as ever.
  for (const bad of ['x=("a")x', 'x=("a"))', 'x=("a")("b")', 'x=("a" )', 'x=("a" "a"', 'x=("a")"']) {
    parseSignatureInput('x=("a")');
    t.throws(() => parseSignatureInput(bad), { name: 'MalformedBytes' }, bad);
  }
  t.ok(Object.isFrozen(first[1]), 'nobody can change what others will be told');
  t.ok(Object.isFrozen(first[1]?.[0]));
});

void t.test('parameters are read in any order, each once, whatever was read before them', async (t) => {
  const standard = ['created=1', 'expires=2', 'nonce="n"', 'alg="a"', 'keyid="k"', 'tag="t"'];
  const all = { created: 1, expires: 2, nonce: 'n', alg: 'a', keyid: 'k', tag: 't' };
  fc.assert(
    fc.property(fc.shuffledSubarray(standard), fc.nat(), (some, at) => {
      const read = parseSignatureInput(`x=()${some.map((one) => `;${one}`).join('')}`).get('x');
      t.same(
        read?.params,
        Object.fromEntries(
          Object.entries(all).filter(([name]) => some.some((one) => one.startsWith(`${name}=`))),
        ),
      );
      const [again] = some;
      if (again === undefined) return;
      const twice = some.toSpliced(1 + (at % some.length), 0, again);
      t.throws(() => parseSignatureInput(`x=()${twice.map((one) => `;${one}`).join('')}`), {
        message: /two parameters/,
      });
    }),
    { numRuns: 500 },
  );
});
