import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { formatUser, parseUser } from './user-field.ts';

const hash = createHash('sha256').update('x').digest();
const FIELDS = [
  { jws: 'a.b.c' },
  { jws: 'a.b.c', encrypted: hash },
  { jws: 'a.b.c', proof: 'd.e.f' },
  { jws: 'a.b.c', encrypted: hash, proof: 'd.e.f' },
  { jws: 'a.b.c', encrypted: hash, certificate: hash },
];

void t.test('what is written is what is read', async (t) => {
  for (const field of FIELDS) t.same(parseUser(formatUser(field)), field, formatUser(field));
  t.equal(
    formatUser({ jws: 'a.b.c', encrypted: hash, proof: 'd.e.f' }),
    `assertion="a.b.c", encrypted=:${hash.toString('base64')}:, proof="d.e.f"`,
  );
});

const h = hash.toString('base64');
for (const [what, text] of [
  ['nothing', ''],
  ['no assertion', 'proof="d.e.f"'],
  ['two assertions', 'assertion="a.b.c", assertion="a.b.c"'],
  ['another order', `assertion="a.b.c", proof="d.e.f", encrypted=:${h}:`],
  ['a proof and a certificate', `assertion="a.b.c", proof="d.e.f", certificate=:${h}:`],
  ['an encrypted assertion', 'assertion="a.b.c.d.e"'],
  ['two parts', 'assertion="a.b"'],
  [
    'a second spelling of a hash',
    `assertion="a.b.c", encrypted=:${h.slice(0, 42)}${h[42] === 'E' ? 'F' : 'H'}=:`,
  ],
  ['a short hash', 'assertion="a.b.c", encrypted=:AAAA:'],
  ['no blank', 'assertion="a.b.c",proof="d.e.f"'],
  ['an unknown member', 'assertion="a.b.c", admin'],
  ['a quote inside', 'assertion="a.b.c"d"'],
  ['a comma at the end', 'assertion="a.b.c",'],
] as const) {
  void t.test(`refuses ${what}`, async (t) => {
    t.throws(() => parseUser(text), { name: 'Denied', code: 'message.inconsistent' });
  });
}

void t.test('one field has one spelling', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii' }), (noise) => {
      const text = `assertion="a.b.c"${noise}`;
      try {
        return formatUser(parseUser(text)) === text;
      } catch (thrown) {
        return thrown instanceof Error && thrown.name === 'Denied';
      }
    }),
  );
});
