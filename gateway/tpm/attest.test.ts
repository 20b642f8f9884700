import fc from 'fast-check';
import t from 'tap';
import { LyingTpm } from '../../conformance/builders/lying-tpm.ts';
import { HASH } from './algorithm.ts';
import { ATTEST_TYPE, parseAttest } from './attest.ts';
import { sized, u16, u32 } from './cursor.ts';
import { formatSelections, pcrDigest, sameSelection } from './pcr.ts';
import { parsePublic } from './public.ts';
import { SignatureMismatch, requireSignature } from './signature.ts';

const malformed = { name: 'MalformedBytes' };
const tpm = new LyingTpm();
const extraData = Buffer.alloc(32, 0xe1);
const selection = { hash: HASH.sha256, pcrs: [0, 7, 14, 23] };
tpm.extend(7, Buffer.alloc(32, 1));
const quote = tpm.quoteBytes(extraData, [selection]);
const other = lying();

function lying(): LyingTpm {
  return new LyingTpm({ ek: 'p384' });
}

void t.test('reads a quote', async (t) => {
  const read = parseAttest(quote);
  t.equal(quote.length, 145, 'as a real one with 32 bytes of extra data and one bank');
  t.match(read, {
    type: 'quote',
    extraData,
    qualifiedSigner: tpm.akQualifiedName,
    clockInfo: { clock: 1_000_000n, resetCount: 7, restartCount: 0, safe: true },
    firmwareVersion: 0x2022_0101_0000_0000n,
  });
  if (read.type !== 'quote') return;
  t.ok(sameSelection(read.selections, [selection]));
  t.same(
    read.pcrDigest,
    pcrDigest(
      HASH.sha256,
      [0, 7, 14, 23].map((pcr) => tpm.pcr(pcr)),
    ),
  );
});

void t.test('reads certify, creation and NV attestations', async (t) => {
  const { area } = tpm.binding;
  t.match(parseAttest(tpm.certifyBytes(area, extraData)), { type: 'certify', name: area.name });
  const creation = Buffer.concat([sized(area.name), sized(Buffer.alloc(32, 5))]);
  t.match(parseAttest(tpm.attest({ type: ATTEST_TYPE.creation, attested: creation })), {
    type: 'creation',
    name: area.name,
    creationHash: Buffer.alloc(32, 5),
  });
  const nv = Buffer.concat([sized(area.name), u16(8), sized(Buffer.alloc(8, 9))]);
  t.match(parseAttest(tpm.attest({ type: ATTEST_TYPE.nv, attested: nv })), {
    type: 'nv',
    offset: 8,
    contents: Buffer.alloc(8, 9),
  });
});

void t.test('28, 29 refuses every truncation, and one byte more', async (t) => {
  for (const bytes of [quote, tpm.certifyBytes(tpm.binding.area, extraData)]) {
    for (let length = 0; length < bytes.length; length += 1) {
      t.throws(() => parseAttest(bytes.subarray(0, length)), malformed, `${length}`);
    }
    t.throws(() => parseAttest(Buffer.concat([bytes, Buffer.of(0)])), malformed);
  }
});

const attested = (...parts: Buffer[]): Buffer => tpm.attest({ attested: Buffer.concat(parts) });
const digest = sized(Buffer.alloc(32));
for (const [what, bytes] of [
  ['30 another magic', tpm.quoteBytes(extraData, [selection], { magic: 0xff544348 })],
  ['31 a time attestation', tpm.quoteBytes(extraData, [selection], { type: 0x8019 })],
  ['31 a session audit', tpm.quoteBytes(extraData, [selection], { type: 0x8016 })],
  ['23 a quote labelled certify', tpm.quoteBytes(extraData, [selection], { type: ATTEST_TYPE.certify })],
  ['42 safe of 2', tpm.quoteBytes(extraData, [selection], { safe: 2 })],
  ['42 safe of ff', tpm.quoteBytes(extraData, [selection], { safe: 0xff })],
  ['extra data of 67 bytes', tpm.quoteBytes(Buffer.alloc(67), [selection])],
  [
    'a signer name of 67 bytes',
    tpm.quoteBytes(extraData, [selection], { qualifiedSigner: Buffer.alloc(67) }),
  ],
  ['one bank twice', attested(formatSelections([selection, selection]), digest)],
  ['2^32 - 1 selections', attested(u32(0xffff_ffff), digest)],
  ['an unknown bank', attested(u32(1), Buffer.from('001203000000', 'hex'), digest)],
  ['sizeofSelect 4', attested(u32(1), Buffer.from('000b0400000000', 'hex'), digest)],
  ['sizeofSelect 0', attested(u32(1), Buffer.from('000b00', 'hex'), digest)],
  ['a PCR digest of 65 bytes', attested(formatSelections([selection]), sized(Buffer.alloc(65)))],
] as const) {
  void t.test(`refuses ${what}`, async (t) => {
    t.throws(() => parseAttest(bytes), malformed);
  });
}

void t.test('any bytes are an attestation or malformed', async () => {
  fc.assert(
    fc.property(fc.nat(quote.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), (at, patch) => {
      const bytes = Buffer.from(quote);
      bytes.set(patch.subarray(0, bytes.length - at), at);
      try {
        return parseAttest(bytes).extraData.length <= 66;
      } catch (thrown) {
        return thrown instanceof Error && thrown.name === 'MalformedBytes';
      }
    }),
    { numRuns: 3000 },
  );
});

void t.test('signatures', async (t) => {
  for (const ak of ['ecdsa', 'rsassa', 'rsapss'] as const) {
    const signer = ak === 'ecdsa' ? tpm : new LyingTpm({ ak });
    const signature = signer.sign(quote);
    const key = signer.ak.area;
    requireSignature(key, quote, signature);
    const refuses = (message: Uint8Array, bytes: Uint8Array, what: string): void => {
      try {
        requireSignature(key, message, bytes);
        t.fail(`${ak}: accepted ${what}`);
      } catch (thrown) {
        const typed = thrown instanceof SignatureMismatch || (thrown as Error).name === 'MalformedBytes';
        if (!typed) throw thrown;
      }
    };
    const flips = (bytes: Buffer, use: (flipped: Buffer, bit: number) => void): void => {
      for (let bit = 0; bit < bytes.length * 8; bit += 1) {
        const copy = Buffer.from(bytes);
        copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        use(copy, bit);
      }
    };
    flips(quote, (flipped, bit) => refuses(flipped, signature, `26 attest bit ${bit}`));
    flips(signature, (flipped, bit) => refuses(quote, flipped, `27 signature bit ${bit}`));
    for (let length = 0; length < signature.length; length += 1) {
      refuses(quote, signature.subarray(0, length), `29 ${length} bytes of signature`);
    }
    refuses(quote, Buffer.concat([signature, Buffer.of(0)]), '28 a trailing byte');
    t.pass(`${ak}: ${quote.length * 8 + signature.length * 8} flipped bits refused`);
  }
});

void t.test('36 the key, not the signature, chooses the algorithm', async (t) => {
  const rsa = new LyingTpm({ ak: 'rsassa' });
  const { privateKey } = rsa.ak;
  const mismatch = { name: 'SignatureMismatch' };
  const { tpmSignature } = await import('../../conformance/builders/lying-tpm.ts');
  for (const [what, alg, hash] of [
    ['PSS instead of PKCS#1', 0x16, HASH.sha256],
    ['SHA-1', 0x14, HASH.sha1],
    ['SHA-512', 0x14, HASH.sha512],
  ] as const) {
    t.throws(
      () => requireSignature(rsa.ak.area, quote, tpmSignature(quote, privateKey, alg, hash)),
      mismatch,
      what,
    );
  }
  t.throws(() => requireSignature(rsa.ak.area, quote, tpm.sign(quote)), mismatch, 'ECDSA with an RSA key');
  t.throws(() => requireSignature(tpm.ak.area, quote, rsa.sign(quote)), mismatch, 'RSA with an ECC key');
  t.throws(() => requireSignature(other.ak.area, quote, tpm.sign(quote)), mismatch, '35 of another key');
  t.throws(
    () => requireSignature(tpm.ek.area, quote, tpm.sign(quote)),
    mismatch,
    '20 a key without a scheme',
  );
  const crossed = Buffer.from(rsa.ak.area.raw);
  crossed.writeUInt16BE(0x0016, 12);
  t.throws(
    () => requireSignature(parsePublic(crossed), quote, rsa.sign(quote)),
    mismatch,
    'the other padding',
  );
});

void t.test('37 numbers no signature has', async (t) => {
  const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
  const good = tpm.sign(quote);
  const [r, s] = [good.subarray(6, 38), good.subarray(40, 72)];
  const ecdsa = (first: Uint8Array, second: Uint8Array): Buffer =>
    Buffer.concat([good.subarray(0, 4), sized(first), sized(second)]);
  requireSignature(tpm.ak.area, quote, ecdsa(r, s));
  for (const [what, bytes] of [
    ['r = 0', ecdsa(Buffer.alloc(32), s)],
    ['s = 0', ecdsa(r, Buffer.alloc(32))],
    ['both empty', ecdsa(Buffer.alloc(0), Buffer.alloc(0))],
    ['r = order', ecdsa(order, s)],
    ['s = order', ecdsa(r, order)],
    ['all ones', ecdsa(Buffer.alloc(32, 0xff), Buffer.alloc(32, 0xff))],
    ['r of 33 bytes', ecdsa(Buffer.concat([Buffer.of(0), r]), s)],
    ['s of 66 bytes', ecdsa(r, Buffer.concat([Buffer.alloc(34), s]))],
  ] as const) {
    t.throws(() => requireSignature(tpm.ak.area, quote, bytes), { name: 'SignatureMismatch' }, what);
  }
  const rsa = new LyingTpm({ ak: 'rsassa' });
  const long = rsa.sign(quote).subarray(6);
  for (const bytes of [
    long.subarray(1),
    Buffer.concat([Buffer.of(0), long]),
    Buffer.alloc(256),
    Buffer.alloc(0),
  ]) {
    const wrong = Buffer.concat([Buffer.from('0014000b', 'hex'), sized(bytes)]);
    t.throws(() => requireSignature(rsa.ak.area, quote, wrong), { name: 'SignatureMismatch' });
  }
});

void t.test('a signature whose r or s begins with zeros is accepted short and long', async (t) => {
  for (;;) {
    const signature = tpm.sign(quote);
    if (signature[6] !== 0) continue;
    const short = Buffer.concat([
      signature.subarray(0, 4),
      sized(signature.subarray(7, 38)),
      signature.subarray(38),
    ]);
    requireSignature(tpm.ak.area, quote, signature);
    requireSignature(tpm.ak.area, quote, short);
    t.pass('both spellings');
    return;
  }
});
