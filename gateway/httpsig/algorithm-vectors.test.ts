import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { ALGORITHM_NAMES, signBase, verifyBase, type AlgorithmName } from './algorithm.ts';

const vectorFile = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../conformance/vectors/${path}`, import.meta.url), 'utf8'));

// n of both curves once more: the test does not borrow the constants it tests.
const ORDERS = {
  'ecdsa-p256-sha256': 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  'ecdsa-p384-sha384':
    0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
} as const;

interface WycheproofFile {
  readonly algorithm: AlgorithmName;
  readonly groups: readonly {
    readonly spki: string;
    readonly cases: readonly { tcId: number; comment: string; msg: string; sig: string; valid: boolean }[];
  }[];
}

for (const algorithm of ALGORITHM_NAMES) {
  void t.test(`Wycheproof ${algorithm}`, async (t) => {
    const { groups } = vectorFile(`wycheproof/${algorithm}.json`) as WycheproofFile; // our own data file
    for (const { spki, cases } of groups) {
      const der = Buffer.from(spki, 'base64');
      for (const { tcId, comment, msg, sig, valid } of cases) {
        const signature = Buffer.from(sig, 'base64');
        let verdict: boolean;
        try {
          const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
          verdict = verifyBase(algorithm, key, msg, signature);
        } catch {
          verdict = false; // a key that does not load
        }
        const order = algorithm in ORDERS ? ORDERS[algorithm as keyof typeof ORDERS] : undefined; // checked by `in`
        const half = signature.length / 2;
        const high =
          valid && order !== undefined && BigInt(`0x${signature.toString('hex', half)}`) > order / 2n;
        t.equal(verdict, valid && !high, `${tcId} ${comment}${high ? ' (high s)' : ''}`);
      }
    }
  });
}

void t.test('C2SP httpsig-pq: ML-DSA-65', async (t) => {
  const vector = vectorFile('httpsig-pq/ml-dsa-65.json') as Record<string, string>; // our own data file
  const seed = Buffer.from(vector['private_key_seed_hex'] ?? '', 'hex');
  // RFC 9881 §6: PKCS #8 around the seed alone.
  const pkcs8 = Buffer.concat([Buffer.from('3034020100300b060960864801650304031204228020', 'hex'), seed]);
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey);
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-1952);
  t.equal(raw.toString('base64'), vector['public_key_base64'], 'the seed makes the printed key');
  const base = Buffer.from(vector['signature_base_base64'] ?? '', 'base64').toString();
  const signature = Buffer.from(vector['deterministic_signature_base64'] ?? '', 'base64');
  t.ok(verifyBase('ml-dsa-65', publicKey, base, signature));
  t.ok(verifyBase('ml-dsa-65', publicKey, base, signBase('ml-dsa-65', privateKey, base)));
  const changed: readonly (readonly [what: string, base: string, signature: Uint8Array])[] = [
    ['another value', base.replace('GET', 'PUT'), signature],
    ['a line less', base.slice(base.indexOf('\n') + 1), signature],
    ['CR LF', base.replaceAll('\n', '\r\n'), signature],
    ['a line end at the end', `${base}\n`, signature],
    ['another alg', base.replace('ml-dsa-65', 'ml-dsa-87'), signature],
    ['a signature byte less', base, signature.subarray(0, -1)],
    ['a signature byte more', base, Buffer.concat([signature, Buffer.alloc(1)])],
  ];
  for (const [what, otherBase, otherSignature] of changed) {
    t.notOk(verifyBase('ml-dsa-65', publicKey, otherBase, otherSignature), what);
  }
  t.notOk(
    verifyBase('ml-dsa-65', generateKeyPairSync('ml-dsa-65').publicKey, base, signature),
    'another key',
  );
});
