import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { MalformedBytes } from '../core/errors.ts';
import { DerReader, TAG } from './der.ts';
import { readKeyFacts, readSignatureHash } from './key.ts';

const value = (hex: string | Uint8Array) =>
  new DerReader(typeof hex === 'string' ? Buffer.from(hex.replaceAll(' ', ''), 'hex') : hex, 'x').take(
    TAG.sequence,
  );

const der = (tag: string, ...content: readonly string[]): string => {
  const hex = content.join('').replaceAll(' ', '');
  const length = hex.length / 2;
  const size = length < 0x80 ? [length] : [0x82, length >> 8, length & 0xff];
  // Long form only where it is the shortest: the tests below use short values or values of 256 bytes and more.
  return `${tag}${Buffer.from(size).toString('hex')}${hex}`;
};
const ED25519 = der('30', '0603 2b6570');
const RSA = der('30', '0609 2a864886f70d010101', '0500');
const EC = (curve: string): string => der('30', '0607 2a8648ce3d0201', curve);
const P256 = '0608 2a8648ce3d030107';
const bits = (hex: string, unused = '00'): string => der('03', unused, hex);
const modulus = `00c${'5'.repeat(511)}`; // 2048 bits
const rsaKey = (n: string, e: string): string => bits(der('30', der('02', n), der('02', e)));

void t.test('reads good keys', async (t) => {
  t.same(readKeyFacts(value(der('30', ED25519, bits('11'.repeat(32))))), { type: 'ed25519' });
  t.same(readKeyFacts(value(der('30', RSA, rsaKey(modulus, '010001')))), { type: 'rsa', bits: 2048 });
  t.same(readKeyFacts(value(der('30', EC(P256), bits(`04${'22'.repeat(64)}`)))), {
    type: 'ec',
    curve: 'P-256',
  });
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  t.same(readKeyFacts(value(publicKey.export({ type: 'spki', format: 'der' }))), {
    type: 'ec',
    curve: 'P-384',
  });
});

const refused: readonly (readonly [what: string, spki: string, message: RegExp])[] = [
  [
    'Ed25519 with parameters',
    der('30', der('30', '0603 2b6570', '0500'), bits('11'.repeat(32))),
    /bytes too many/,
  ],
  ['Ed25519 of 31 bytes', der('30', ED25519, bits('11'.repeat(31))), /other than 32 bytes/],
  ['bits that are no bytes', der('30', ED25519, bits('11'.repeat(32), '01')), /whole number of bytes/],
  ['a compressed point', der('30', EC(P256), bits(`02${'22'.repeat(32)}`)), /uncompressed point/],
  ['a hybrid point', der('30', EC(P256), bits(`06${'22'.repeat(64)}`)), /uncompressed point/],
  ['the point at infinity', der('30', EC(P256), bits('00')), /uncompressed point/],
  [
    'an unknown curve',
    der('30', EC('0605 2b8104000a'), bits(`04${'22'.repeat(64)}`)),
    /neither P-256 nor P-384/,
  ],
  [
    'RSA without NULL',
    der('30', der('30', '0609 2a864886f70d010101'), rsaKey(modulus, '010001')),
    /ends early/,
  ],
  ['RSA of 2047 bits', der('30', RSA, rsaKey(`7${'5'.repeat(511)}`, '010001')), /RSA of 2047 bits/],
  ['RSA of 8193 bits', der('30', RSA, rsaKey(`01${'5'.repeat(2048)}`, '010001')), /RSA of 8193 bits/],
  ['a negative modulus', der('30', RSA, rsaKey(`c${'5'.repeat(511)}`, '010001')), /negative/],
  [
    'a modulus with spare zeros',
    der('30', RSA, rsaKey(`0000c${'5'.repeat(511)}`, '010001')),
    /not the shortest/,
  ],
  ['an even exponent', der('30', RSA, rsaKey(modulus, '010002')), /RSA exponent/],
  ['the exponent 3', der('30', RSA, rsaKey(modulus, '03')), /RSA exponent/],
  ['an exponent of 9 bytes', der('30', RSA, rsaKey(modulus, '010000000000000001')), /RSA exponent/],
  [
    'a third number',
    der('30', RSA, bits(der('30', der('02', modulus), '0203010001', '020101'))),
    /bytes too many/,
  ],
  [
    'another algorithm',
    der('30', der('30', '0603 2b6571'), bits('11'.repeat(57))),
    /neither RSA, EC nor Ed25519/,
  ],
];
for (const [what, spki, message] of refused) {
  void t.test(`refuses ${what}`, async (t) => {
    t.throws(() => readKeyFacts(value(spki)), { name: 'MalformedBytes', message });
  });
}

void t.test('knows the hash of a signature', async (t) => {
  const pss = (params: string): string => der('30', '0609 2a864886f70d01010a', params);
  const rows: readonly (readonly [string, string])[] = [
    [der('30', '0609 2a864886f70d01010b', '0500'), 'sha256'],
    [der('30', '0608 2a8648ce3d040303'), 'sha384'],
    [der('30', '0603 2b6570'), 'ed25519'],
    [pss('3000'), 'sha1'], // RFC 4055 §3.1: the default
    [pss(der('30', der('a0', der('30', '0609 608648016503040203', '0500')))), 'sha512'],
  ];
  for (const [algorithm, hash] of rows) t.equal(readSignatureHash(value(algorithm)), hash);
  for (const unknown of [
    der('30', '0609 2a864886f70d010104', '0500'),
    pss(der('30', der('a0', der('30', '0603 2b0e03')))),
  ]) {
    t.throws(() => readSignatureHash(value(unknown)), { name: 'MalformedBytes', message: /not known/ });
  }
});

void t.test('what we take, OpenSSL takes; nothing else is thrown than MalformedBytes', async () => {
  const samples = [
    generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey,
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey,
    generateKeyPairSync('ed25519').publicKey,
  ].map((key) => key.export({ type: 'spki', format: 'der' }));
  fc.assert(
    fc.property(
      fc.constantFrom(...samples),
      fc.nat(60),
      fc.integer({ min: 0, max: 255 }),
      (sample, at, byte) => {
        const key = Buffer.from(sample);
        key.writeUInt8(byte, at % key.length);
        try {
          const facts = readKeyFacts(value(key));
          if (facts.type === 'ec') return true; // whether the point is on the curve is asked where the key is made
          return createPublicKey({ key, format: 'der', type: 'spki' }).asymmetricKeyType === facts.type;
        } catch (thrown) {
          return thrown instanceof MalformedBytes;
        }
      },
    ),
    { numRuns: 2000 },
  );
});
