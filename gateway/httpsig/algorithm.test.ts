import {
  constants,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import {
  ALGORITHM_NAMES,
  exportSignature,
  isAlgorithmName,
  requireKey,
  signBase,
  verifyBase,
  type AlgorithmName,
} from './algorithm.ts';

type Pair = { readonly privateKey: KeyObject; readonly publicKey: KeyObject };

const ec = (namedCurve: string): Pair => generateKeyPairSync('ec', { namedCurve });
const rsa = (modulusLength: number, publicExponent = 65_537): Pair =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent });

const pairs: Record<AlgorithmName, Pair> = {
  ed25519: generateKeyPairSync('ed25519'),
  'ecdsa-p256-sha256': ec('P-256'),
  'ecdsa-p384-sha384': ec('P-384'),
  'rsa-pss-sha512': rsa(2048),
  'ml-dsa-65': generateKeyPairSync('ml-dsa-65'),
};

const BASE = '"@method": POST\n"@signature-params": ("@method");created=1;keyid="k"';

// n of both curves once more: the test does not borrow the constants it tests.
const ORDERS = {
  'ecdsa-p256-sha256': 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  'ecdsa-p384-sha384':
    0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
} as const;

void t.test('every algorithm signs and verifies, with its own keys only', async (t) => {
  t.same(Object.keys(pairs), ALGORITHM_NAMES);
  for (const algorithm of ALGORITHM_NAMES) {
    const { privateKey, publicKey } = pairs[algorithm];
    const signature = signBase(algorithm, privateKey, BASE);
    t.ok(verifyBase(algorithm, publicKey, BASE, signature), algorithm);
    t.notOk(verifyBase(algorithm, publicKey, `${BASE}\n`, signature), 'a line end more is another base');
    t.notOk(verifyBase(algorithm, publicKey, BASE.replace('\n', '\r\n'), signature), 'so is CR LF');
    for (const other of ALGORITHM_NAMES) {
      if (other === algorithm) continue;
      t.throws(
        () => verifyBase(other, publicKey, BASE, signature),
        { name: 'MalformedBytes' },
        `${other} with that key`,
      );
      t.throws(
        () => signBase(other, privateKey, BASE),
        { name: 'MalformedBytes' },
        `${other} signed with that key`,
      );
      t.notOk(verifyBase(other, pairs[other].publicKey, BASE, signature), `${other} with that signature`);
    }
  }
});

void t.test('names come from the table', async (t) => {
  for (const name of ALGORITHM_NAMES) t.ok(isAlgorithmName(name));
  for (const name of [
    'hmac-sha256',
    'rsa-v1_5-sha256',
    'ED25519',
    'constructor',
    '__proto__',
    'toString',
    '',
  ]) {
    t.notOk(isAlgorithmName(name), name);
  }
});

void t.test('a signature of any other length, or empty, or random, is only false', async (t) => {
  for (const algorithm of ALGORITHM_NAMES) {
    const { privateKey, publicKey } = pairs[algorithm];
    const good = Buffer.from(signBase(algorithm, privateKey, BASE));
    for (const bad of [
      Buffer.alloc(0),
      good.subarray(1),
      good.subarray(0, -1),
      Buffer.concat([good, Buffer.alloc(1)]),
      Buffer.alloc(good.length),
      Buffer.alloc(good.length, 0xff),
    ]) {
      t.equal(verifyBase(algorithm, publicKey, BASE, bad), false, `${algorithm}, ${bad.length} bytes`);
    }
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        (bytes) => !verifyBase(algorithm, publicKey, BASE, bytes),
      ),
      { numRuns: 50 },
    );
  }
});

void t.test('any one bit of the signature or of the base, flipped, fails', async () => {
  const fast: AlgorithmName[] = ['ed25519', 'ecdsa-p256-sha256', 'rsa-pss-sha512', 'ml-dsa-65'];
  for (const algorithm of fast) {
    const { privateKey, publicKey } = pairs[algorithm];
    const good = signBase(algorithm, privateKey, BASE);
    const flip = (bytes: Uint8Array, bit: number): Buffer => {
      const copy = Buffer.from(bytes);
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return copy;
    };
    fc.assert(
      fc.property(
        fc.nat(good.length * 8 - 1),
        (bit) => !verifyBase(algorithm, publicKey, BASE, flip(good, bit)),
      ),
      { numRuns: 200 },
    );
    // Bits 0 to 6 keep the base ASCII, so this is a change that a sender could make.
    fc.assert(
      fc.property(fc.nat(BASE.length - 1), fc.nat(6), (at, bit) => {
        const changed = flip(Buffer.from(BASE, 'latin1'), at * 8 + bit).toString('latin1');
        return !verifyBase(algorithm, publicKey, changed, good);
      }),
      { numRuns: 200 },
    );
  }
});

void t.test('a base that is not ASCII is not cut down to one that is', async (t) => {
  const { privateKey, publicKey } = pairs.ed25519;
  const signature = signBase('ed25519', privateKey, 'A');
  t.ok(verifyBase('ed25519', publicKey, 'A', signature));
  t.notOk(verifyBase('ed25519', publicKey, '\u0141', signature), 'U+0141 ends in the byte of A');
});

void t.test('M16: the other ECDSA signature of a pair is refused', async (t) => {
  for (const algorithm of ['ecdsa-p256-sha256', 'ecdsa-p384-sha384'] as const) {
    const { privateKey, publicKey } = pairs[algorithm];
    const order = ORDERS[algorithm];
    for (let round = 0; round < 12; round++) {
      const signature = Buffer.from(signBase(algorithm, privateKey, BASE));
      const half = signature.length / 2;
      const s = BigInt(`0x${signature.toString('hex', half)}`);
      t.ok(s <= order / 2n, 'ours has the low s');
      const high = Buffer.from((order - s).toString(16).padStart(2 * half, '0'), 'hex');
      const twin = Buffer.concat([signature.subarray(0, half), high]);
      const hash = algorithm === 'ecdsa-p256-sha256' ? 'sha256' : 'sha384';
      t.ok(
        verify(hash, Buffer.from(BASE), { key: publicKey, dsaEncoding: 'ieee-p1363' }, twin),
        'plain ECDSA takes both',
      );
      t.notOk(verifyBase(algorithm, publicKey, BASE, twin), 'we do not');
      for (const zero of [0, half]) {
        t.notOk(
          verifyBase(algorithm, publicKey, BASE, Buffer.from(signature).fill(0, zero, zero + half)),
          'r or s is 0',
        );
      }
    }
  }
});

void t.test('exported, an ECDSA signature is in DER and any other as it is', async (t) => {
  for (const algorithm of ALGORITHM_NAMES) {
    const { privateKey, publicKey } = pairs[algorithm];
    const signature = signBase(algorithm, privateKey, BASE);
    const exported = exportSignature(algorithm, signature);
    if (algorithm !== 'ecdsa-p256-sha256' && algorithm !== 'ecdsa-p384-sha384') {
      t.strictSame(exported, signature, algorithm);
      continue;
    }
    const hash = algorithm === 'ecdsa-p256-sha256' ? 'sha256' : 'sha384';
    t.ok(verify(hash, Buffer.from(BASE), publicKey, exported), 'by default the runtime reads DER');
    for (const bad of [signature.subarray(1), exported, Buffer.alloc(signature.length, 0xff)])
      t.throws(() => exportSignature(algorithm, bad), { name: 'MalformedBytes' }, `${bad.length} bytes`);
  }
});

void t.test('M16: an RSA signature without its leading zero is refused', async (t) => {
  const { privateKey, publicKey } = pairs['rsa-pss-sha512'];
  const form = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 64 };
  let signature: Buffer; // one in 256 begins with a zero
  do signature = Buffer.from(signBase('rsa-pss-sha512', privateKey, BASE));
  while (signature[0] !== 0);
  const short = signature.subarray(1);
  t.ok(verifyBase('rsa-pss-sha512', publicKey, BASE, signature));
  t.ok(verify('sha512', Buffer.from(BASE), { key: publicKey, ...form }, short), 'the runtime takes both');
  t.notOk(verifyBase('rsa-pss-sha512', publicKey, BASE, short), 'we do not');
});

void t.test('M16: Ed25519 with S + L is refused', async (t) => {
  const { privateKey, publicKey } = pairs.ed25519;
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  const signature = Buffer.from(signBase('ed25519', privateKey, BASE));
  const s = BigInt(`0x${Buffer.from(signature.subarray(32).toReversed()).toString('hex')}`);
  const shifted = Buffer.from((s + L).toString(16).padStart(64, '0'), 'hex').toReversed();
  t.notOk(verifyBase('ed25519', publicKey, BASE, Buffer.concat([signature.subarray(0, 32), shifted])));
});

void t.test('DER-encoded ECDSA is not the wire form', async (t) => {
  const { privateKey, publicKey } = pairs['ecdsa-p256-sha256'];
  t.notOk(verifyBase('ecdsa-p256-sha256', publicKey, BASE, sign('sha256', Buffer.from(BASE), privateKey)));
});

void t.test('RSA-PSS with another salt length is refused', async (t) => {
  const { privateKey, publicKey } = pairs['rsa-pss-sha512'];
  for (const saltLength of [0, 32, 63]) {
    const signature = sign('sha512', Buffer.from(BASE), {
      key: privateKey,
      padding: 6 /* PSS */,
      saltLength,
    });
    t.notOk(verifyBase('rsa-pss-sha512', publicKey, BASE, signature), `salt of ${saltLength}`);
  }
});

void t.test('keys that are too weak, of another kind, or bound to something else', async (t) => {
  const pssPair = (options: object): Pair =>
    generateKeyPairSync('rsa-pss', { modulusLength: 2048, ...options });
  const pss = (options: object): KeyObject => pssPair(options).publicKey;
  const refused: readonly (readonly [what: string, algorithm: AlgorithmName, key: KeyObject])[] = [
    ['RSA of 1,024 bits', 'rsa-pss-sha512', rsa(1024).publicKey],
    ['RSA with exponent 3', 'rsa-pss-sha512', rsa(2048, 3).publicKey],
    [
      'an RSA-PSS key for SHA-256',
      'rsa-pss-sha512',
      pss({ hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha256' }),
    ],
    [
      'an RSA-PSS key with MGF1 over SHA-256',
      'rsa-pss-sha512',
      pss({ hashAlgorithm: 'sha512', mgf1HashAlgorithm: 'sha256' }),
    ],
    [
      'an RSA-PSS key with a salt of over 64',
      'rsa-pss-sha512',
      pss({ hashAlgorithm: 'sha512', mgf1HashAlgorithm: 'sha512', saltLength: 65 }),
    ],
    ['P-384 for the P-256 algorithm', 'ecdsa-p256-sha256', ec('P-384').publicKey],
    ['secp256k1', 'ecdsa-p256-sha256', ec('secp256k1').publicKey],
    ['Ed448', 'ed25519', generateKeyPairSync('ed448').publicKey],
    ['ML-DSA-44', 'ml-dsa-65', generateKeyPairSync('ml-dsa-44').publicKey],
    ['a shared secret', 'ed25519', createSecretKey(Buffer.alloc(32, 1))],
  ];
  for (const [what, algorithm, key] of refused) {
    t.throws(() => requireKey(algorithm, key), { name: 'MalformedBytes' }, what);
    t.throws(
      () => verifyBase(algorithm, key, BASE, Buffer.alloc(64)),
      { name: 'MalformedBytes' },
      `${what}: verifying`,
    );
  }
  const bound = pssPair({ hashAlgorithm: 'sha512', mgf1HashAlgorithm: 'sha512', saltLength: 64 });
  t.ok(
    verifyBase('rsa-pss-sha512', bound.publicKey, BASE, signBase('rsa-pss-sha512', bound.privateKey, BASE)),
  );
  // 8,192 bits take seconds to make, so the ceiling is shown with a made-up modulus; only its length is looked at.
  const n = Buffer.alloc(1024, 0xff).toString('base64url');
  const large = createPublicKey({ key: { kty: 'RSA', n, e: 'AQAB' }, format: 'jwk' });
  t.throws(() => requireKey('rsa-pss-sha512', large), /RSA of 8192 bits/);
});

void t.test('under an Ed25519 key of small order, nothing verifies', async (t) => {
  // R = identity, S = 0: nobody signed. The bare equation holds whenever the challenge times the key is the identity,
  // so the owner of such a key could deny every message. The runtime refuses these keys; here we watch that it does.
  const nobody = Buffer.alloc(64);
  nobody[0] = 1;
  const points = [
    '0100000000000000000000000000000000000000000000000000000000000000',
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0000000000000000000000000000000000000000000000000000000000000080',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  ];
  for (const point of points) {
    const spki = Buffer.from(`302a300506032b6570032100${point}`, 'hex');
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    // 64 bases: under a point of order 8 one in eight would pass.
    const passed = Array.from({ length: 64 }, (_, i) => verifyBase('ed25519', key, `${BASE}${i}`, nobody));
    t.notOk(passed.includes(true), `${point.slice(0, 8)}…${point.slice(-2)}`);
  }
});
