import { generateKeyPairSync } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import { CompactEncrypt } from 'jose';
import t from 'tap';
import { decryptAssertion, MAX_JWE_LENGTH, readDecryptionKey } from './decrypt.ts';
import { VerifiedToken } from './token.ts';
import { assertion, AUDIENCE, DIRECTORY, encryptTo, EXPECTED, ISSUER } from './tokens-fixture.ts';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const KEY = readDecryptionKey(pair.privateKey);
const jws = await assertion();
const open = (jwe: string) => decryptAssertion(jwe, [KEY]);

void t.test('takes the signed assertion out', async (t) => {
  for (const header of [
    {},
    { alg: 'ECDH-ES+A256KW' },
    { enc: 'A128GCM' },
    { cty: 'JWT' },
    { kid: KEY.kid },
    { kid: 'whatever the issuer calls it' },
    { iss: ISSUER, aud: AUDIENCE },
    { typ: 'JWT' },
  ]) {
    const inner = await open(await encryptTo(pair.publicKey, jws, header));
    t.equal(inner, jws, JSON.stringify(header));
  }
  t.ok(VerifiedToken.verify(await open(await encryptTo(pair.publicKey, jws)), EXPECTED, DIRECTORY));
});

void t.test('with two keys, either opens', async (t) => {
  const next = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keys = [readDecryptionKey(next.privateKey), KEY];
  for (const to of [pair, next])
    t.equal(await decryptAssertion(await encryptTo(to.publicKey, jws, { kid: KEY.kid }), keys), jws);
});

const good = await encryptTo(pair.publicKey, jws);
const withHeader = (change: (header: Record<string, unknown>) => object): string => {
  const [header = '', ...rest] = good.split('.');
  // Our own token: its header is an object.
  const changed = change(JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>);
  return [Buffer.from(JSON.stringify(changed)).toString('base64url'), ...rest].join('.');
};
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const nearMisses: readonly (readonly [what: string, jwe: string | Promise<string>])[] = [
  ['one to another key', encryptTo(stranger.publicKey, jws)],
  ['zip', withHeader((header) => ({ ...header, zip: 'DEF' }))],
  ['crit', withHeader((header) => ({ ...header, crit: ['exp'] }))],
  ['jku', withHeader((header) => ({ ...header, jku: 'https://evil.example' }))],
  ['no cty: a JWT in it would not be a nested one', withHeader((header) => ({ ...header, cty: undefined }))],
  ['a changed header', withHeader((header) => ({ ...header, kid: 'x' }))],
  ['another iss outside', encryptTo(pair.publicKey, jws, { iss: 'https://evil.example' })],
  ['another aud outside', encryptTo(pair.publicKey, jws, { aud: 'https://gw.b07.tw.troad.example' })],
  ['RSA', encryptTo(rsa.publicKey, jws, { alg: 'RSA-OAEP-256' })],
  ['AES-CBC', encryptTo(pair.publicKey, jws, { enc: 'A128CBC-HS256' })],
  [
    'a direct key',
    new CompactEncrypt(Buffer.from(jws))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', cty: 'JWT' })
      .encrypt(Buffer.alloc(32)),
  ],
  [
    'a password',
    new CompactEncrypt(Buffer.from(jws))
      .setProtectedHeader({ alg: 'PBES2-HS256+A128KW', enc: 'A256GCM', cty: 'JWT' })
      .setKeyManagementParameters({ p2c: 2000 })
      .encrypt(Buffer.alloc(16)),
  ],
  [
    'a point off the curve',
    withHeader((header) => ({
      ...header,
      epk: { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) },
    })),
  ],
  ['four parts', good.slice(0, good.lastIndexOf('.'))],
  ['six parts', `${good}.`],
  ['a header that is no JSON', `e30x${good}`],
  ['one bit of the tag', good.slice(0, -2) + (good.at(-2) === 'A' ? 'B' : 'A') + good.slice(-1)],
  [
    'something that is no token inside, with claims outside',
    encryptTo(pair.publicKey, 'hello', { iss: ISSUER }),
  ],
  ['more than anybody needs', `${good}${'A'.repeat(MAX_JWE_LENGTH)}`],
  [
    'a compressed content in a plain one',
    new CompactEncrypt(deflateRawSync(jws))
      .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', cty: 'JWT', iss: ISSUER })
      .encrypt(pair.publicKey),
  ],
];
for (const [what, jwe] of nearMisses) {
  void t.test(`refuses ${what}`, async (t) => {
    const text = await jwe;
    await t.rejects(open(text), { name: 'Denied', code: 'assertion.encryption' });
  });
}

void t.test(
  'J15: what is inside is verified like any other; an encryption inside an encryption is not opened',
  async (t) => {
    const twice = await open(await encryptTo(pair.publicKey, good));
    t.throws(() => VerifiedToken.verify(twice, EXPECTED, DIRECTORY), { code: 'assertion.malformed' });
    const hello = await open(await encryptTo(pair.publicKey, 'hello'));
    t.throws(() => VerifiedToken.verify(hello, EXPECTED, DIRECTORY), { code: 'assertion.malformed' });
  },
);

void t.test('without a key nothing is opened', async (t) => {
  await t.rejects(decryptAssertion(good, []), { code: 'assertion.encryption' });
});

void t.test('only a private P-256 key is a key', async (t) => {
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  for (const key of [pair.publicKey, p384.privateKey, rsa.privateKey])
    t.throws(() => readDecryptionKey(key), { name: 'MalformedBytes' });
});
