import fc from 'fast-check';
import t from 'tap';
import { EKS, lyingKey } from '../../conformance/builders/lying-tpm.ts';
import { sha256 } from '../core/bytes.ts';
import { ALG, CURVE, HASH } from './algorithm.ts';
import { u16, u32 } from './cursor.ts';
import {
  ATTRIBUTE,
  formatPublic,
  HIERARCHY,
  parsePublic,
  parseSizedPublic,
  primaryQualifiedName,
} from './public.ts';
import { AK_P256, BINDING_P256, EK_POLICIES, EK_RSA, ekPolicyOf } from './templates.ts';

const malformed = { name: 'MalformedBytes' };
const rsa = lyingKey(EK_RSA).area;
const p256 = lyingKey(AK_P256).area;
const p384 = lyingKey(EKS.p384).area;
const areas = { rsa, p256, p384 };

void t.test('reads what it writes', async (t) => {
  t.equal(p256.attributes, 0x0005_0472);
  t.equal(lyingKey(BINDING_P256).area.attributes, 0x0004_0472);
  t.equal(rsa.attributes, 0x0003_00b2);
  t.equal(rsa.raw.length, 314, '280 and a policy of 32 bytes, AES instead of a scheme');
  t.equal(p256.raw.length, 88);
  t.same(p256.scheme, { alg: ALG.ecdsa, hash: HASH.sha256 });
  t.same(p384.symmetric, { keyBits: 256 });
  t.equal(p256.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
});

void t.test('the EK policy is PolicySecret of the endorsement hierarchy, or that and another', async (t) => {
  const policy = sha256(sha256(Buffer.alloc(32), u32(0x151), u32(HIERARCHY.endorsement)));
  t.same(ekPolicyOf(rsa)?.digest, policy);
  t.same(ekPolicyOf(p384)?.branches?.length, 2);
  t.same(
    EK_POLICIES.map((known) => known.digest.toString('hex').slice(0, 8)),
    ['83719767', 'ca3d0a99', 'b26e7d28'],
    'as printed in the profile',
  );
  t.equal(ekPolicyOf(p256), undefined);
});

void t.test('names are computed from the bytes', async (t) => {
  t.same(p256.name, Buffer.concat([u16(0x000b), sha256(p256.raw)]));
  t.equal(p384.name.length, 50);
  const qualified = Buffer.concat([u16(0x000b), sha256(u32(0x4000_000b), rsa.name)]);
  t.same(primaryQualifiedName(HIERARCHY.endorsement, rsa), qualified);
});

void t.test('refuses every truncation, and one byte more', async (t) => {
  for (const [what, { raw }] of Object.entries(areas)) {
    for (let length = 0; length < raw.length; length += 1) {
      t.throws(() => parsePublic(raw.subarray(0, length)), malformed, `${what} ${length}`);
    }
    t.throws(() => parsePublic(Buffer.concat([raw, Buffer.of(0)])), malformed, what);
    const boxed = Buffer.concat([u16(raw.length), raw]);
    t.same(parseSizedPublic(boxed).name, areas[what as keyof typeof areas].name);
    t.throws(() => parseSizedPublic(Buffer.concat([boxed, Buffer.of(0)])), malformed);
    t.throws(() => parseSizedPublic(boxed.subarray(1)), malformed);
  }
});

void t.test('every single bit is either refused or part of the Name', async (t) => {
  for (const [what, area] of Object.entries(areas)) {
    let refused = 0;
    for (let bit = 0; bit < area.raw.length * 8; bit += 1) {
      const copy = Buffer.from(area.raw);
      copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      try {
        if (Buffer.from(parsePublic(copy).name).equals(area.name))
          t.fail(`${what}: bit ${bit} changes nothing`);
      } catch (thrown) {
        if (!(thrown instanceof Error) || thrown.name !== 'MalformedBytes') throw thrown;
        refused += 1;
      }
    }
    t.ok(refused > 100, `${what}: ${refused} of ${area.raw.length * 8} bits make it no public area`);
  }
});

void t.test('38 refuses a point that is not on its curve', async (t) => {
  const raw = Buffer.from(p256.raw);
  raw.writeUInt8(raw.readUInt8(raw.length - 1) ^ 1, raw.length - 1);
  t.throws(() => parsePublic(raw), { name: 'MalformedBytes', message: /not a public key/ });
  const zero = formatPublic(AK_P256, { x: Buffer.alloc(32), y: Buffer.alloc(32) });
  t.throws(() => parsePublic(zero), malformed);
});

void t.test('coordinates may come without their leading zeros', async (t) => {
  for (let tries = 0; ; tries += 1) {
    const { area } = lyingKey(AK_P256);
    if (area.key.type !== 'ecc' || area.key.x[0] !== 0) continue;
    const { x, y } = area.key;
    const short = parsePublic(formatPublic(AK_P256, { x: x.subarray(1), y }));
    t.ok(short.publicKey.equals(area.publicKey), `after ${tries} keys`);
    t.notSame(short.name, area.name, 'the Name is of the bytes as the TPM has them');
    return;
  }
});

// Offsets in the TPMT_PUBLIC of the attestation key: one change each.
for (const [what, at, bytes] of [
  ['a symmetric cipher object', 0, '0025'],
  ['a keyed hash', 0, '0008'],
  ['nameAlg NULL', 2, '0010'],
  ['nameAlg SM3', 2, '0012'],
  ['a reserved attribute', 4, '80050472'],
  ['reserved attribute 0', 4, '00050473'],
  ['a policy of one byte', 8, '000100'],
  ['a symmetric algorithm', 10, '0026'],
  ['an unknown scheme', 12, '001a'],
  ['an RSA scheme', 12, '0014'],
  ['an unknown scheme hash', 14, '0012'],
  ['an unknown curve', 16, '0020'],
  ['a kdf', 18, '0007'],
  ['a coordinate of 33 bytes', 20, '0021'],
] as const) {
  void t.test(`refuses ${what}`, async (t) => {
    const raw = Buffer.from(p256.raw);
    raw.set(Buffer.from(bytes, 'hex'), at);
    t.throws(() => parsePublic(raw), malformed);
  });
}

void t.test('refuses odd RSA keys', async (t) => {
  const at = 8 + 2 + 32 + 6 + 2;
  t.equal(Buffer.from(rsa.raw).readUInt16BE(at), 2048);
  for (const [what, offset, bytes] of [
    ['2047 bits', at, '07ff'],
    ['512 bits', at, '0200'],
    ['exponent 3', at + 2, '00000003'],
    ['a modulus that is too short', at + 8, '00'],
    ['AES-192', 44, '00c0'],
    ['AES in another mode', 46, '0044'],
    ['an ECC scheme', 48, '0018'],
  ] as const) {
    const raw = Buffer.from(rsa.raw);
    raw.set(Buffer.from(bytes, 'hex'), offset);
    t.throws(() => parsePublic(raw), malformed, what);
  }
  const spelled = Buffer.from(rsa.raw);
  spelled.set(Buffer.from('00010001', 'hex'), at + 2);
  t.ok(parsePublic(spelled).publicKey.equals(rsa.publicKey), 'exponent 0 is 65537');
});

void t.test('any bytes are a public area or malformed', async () => {
  const tried = (bytes: Uint8Array): boolean => {
    try {
      return parsePublic(bytes).raw === bytes;
    } catch (thrown) {
      return thrown instanceof Error && thrown.name === 'MalformedBytes';
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), tried), { numRuns: 2000 });
  fc.assert(
    fc.property(fc.nat(p256.raw.length - 1), fc.uint8Array({ minLength: 1, maxLength: 4 }), (at, patch) => {
      const raw = Buffer.from(p256.raw);
      raw.set(patch.subarray(0, raw.length - at), at);
      return tried(raw);
    }),
    { numRuns: 2000 },
  );
});

void t.test('a template and a key of another type are a mistake of ours', async (t) => {
  t.throws(() => formatPublic(AK_P256, { modulus: Buffer.alloc(256) }), TypeError);
  const on = formatPublic({ ...AK_P256, kind: { type: 'ecc', curve: CURVE.p384 } }, keyOf(p384));
  t.equal(parsePublic(on).publicKey.asymmetricKeyDetails?.namedCurve, 'secp384r1');
  t.equal(parsePublic(on).attributes & ATTRIBUTE.decrypt, 0);
});

function keyOf({ key }: typeof p384): { x: Uint8Array; y: Uint8Array } {
  if (key.type !== 'ecc') throw new Error('not ECC');
  return key;
}
