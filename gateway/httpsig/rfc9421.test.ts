import { createHmac, createPrivateKey, createPublicKey, verify } from 'node:crypto';
import t from 'tap';
import { rfc9421Key, rfc9421Vectors, vectorView } from '../../conformance/builders/rfc9421.ts';
import { isAlgorithmName, requireKey, signBase, verifyBase, type AlgorithmName } from './algorithm.ts';
import { signatureBase } from './base.ts';
import { parseSignatures } from './signature-input.ts';

// n of P-256 once more, on purpose: the test does not borrow the constant it tests.
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** (r, s) and (r, n − s) both verify under plain ECDSA. */
function twin(signature: Uint8Array): Buffer {
  const bytes = Buffer.from(signature);
  const s = P256_ORDER - BigInt(`0x${bytes.toString('hex', 32)}`);
  return Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
}

const vectors = rfc9421Vectors();
t.equal(vectors.length, 19, 'every file is read');

for (const vector of vectors) {
  void t.test(`${vector.source} (${vector.file})`, async (t) => {
    const view = vectorView(vector);
    const found = parseSignatures(view.fields).get(vector.label);
    if (found === undefined) throw new Error(`no signature ${vector.label}`);
    const { components, raw } = found.input;
    const base = signatureBase(view, components, raw);
    if (vector.base !== undefined) t.equal(base, vector.base, 'the base is the printed one');

    const key = rfc9421Key(vector.key);
    if (vector.algorithm === 'hmac-sha256') {
      const mac = createHmac('sha256', Buffer.from(key.secret, 'base64')).update(base).digest();
      t.same(Buffer.from(found.signature), mac, 'the printed code is over our base');
      t.notOk(isAlgorithmName(vector.algorithm), 'a shared secret is no evidence');
      return;
    }
    const publicKey = createPublicKey(key.publicKey);
    if (vector.algorithm === 'rsa-v1_5-sha256') {
      t.ok(
        verify('sha256', Buffer.from(base), publicKey, found.signature),
        'the printed signature is over our base',
      );
      t.notOk(isAlgorithmName(vector.algorithm), 'PKCS #1 v1.5 is refused');
      return;
    }
    if (!isAlgorithmName(vector.algorithm)) throw new Error(vector.algorithm);
    const algorithm: AlgorithmName = vector.algorithm;
    if (algorithm === 'ecdsa-p256-sha256') {
      const other = twin(found.signature);
      const verdicts = [found.signature, other].map((s) => verifyBase(algorithm, publicKey, base, s));
      t.equal(
        verdicts.filter(Boolean).length,
        vector.valid ? 1 : 0,
        'one of the two twins, and only for this message',
      );
    } else {
      t.equal(verifyBase(algorithm, publicKey, base, found.signature), vector.valid, 'the printed verdict');
    }

    const privateKey = createPrivateKey(key.privateKey);
    requireKey(algorithm, privateKey);
    const ours = signBase(algorithm, privateKey, base);
    t.ok(verifyBase(algorithm, publicKey, base, ours), 'our own signature verifies');
    if (algorithm === 'ed25519' && vector.valid) {
      t.same(
        Buffer.from(ours),
        Buffer.from(found.signature),
        'and is the printed one: Ed25519 is deterministic',
      );
    }
  });
}
