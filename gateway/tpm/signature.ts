// TPMT_SIGNATURE, TPM 2.0 Library Part 2 §11.3.4.
import { constants, verify } from 'node:crypto';
import { ALG, type HashAlgorithm, hashAlgorithm, hex } from './algorithm.ts';
import { ByteReader, leftPad } from './cursor.ts';
import type { PublicArea } from './public.ts';

/** The bytes are a signature, but not one of this key over this message. */
export class SignatureMismatch extends Error {
  override readonly name = 'SignatureMismatch';
}

export type TpmSignature =
  | { readonly alg: number; readonly hash: HashAlgorithm; readonly rsa: Uint8Array }
  | { readonly alg: number; readonly hash: HashAlgorithm; readonly r: Uint8Array; readonly s: Uint8Array };

/** Longest we could meet: RSA-4096, P-521. */
const MAX_RSA = 512;
const MAX_EC = 66;

/** @throws MalformedBytes */
export function parseSignature(bytes: Uint8Array): TpmSignature {
  const reader = new ByteReader(bytes, 'TPMT_SIGNATURE');
  const alg = reader.u16('sigAlg');
  if (alg !== ALG.rsassa && alg !== ALG.rsapss && alg !== ALG.ecdsa) {
    throw reader.malformed(`signature algorithm ${hex(alg)}`);
  }
  const hash = hashAlgorithm(reader.u16('hash'), 'TPMT_SIGNATURE');
  if (alg === ALG.ecdsa) {
    const r = reader.sized(MAX_EC, 'signatureR');
    const s = reader.sized(MAX_EC, 'signatureS');
    reader.finish();
    return { alg, hash, r, s };
  }
  const rsa = reader.sized(MAX_RSA, 'sig');
  reader.finish();
  return { alg, hash, rsa };
}

/**
 * Checks a TPMT_SIGNATURE over a message. The key's own scheme decides on the algorithm: a signature that names another
 * one is refused, and so is a key that leaves it open.
 * @throws MalformedBytes not a signature at all; SignatureMismatch not this key's over this message
 */
export function requireSignature(key: PublicArea, message: Uint8Array, signature: Uint8Array): void {
  const parsed = parseSignature(signature);
  const { scheme } = key;
  if (scheme === undefined) throw new SignatureMismatch('the key has no fixed scheme');
  if (parsed.alg !== scheme.alg || parsed.hash !== scheme.hash) {
    throw new SignatureMismatch(`${hex(parsed.alg)} with ${parsed.hash.name} is not the scheme of the key`);
  }
  const good =
    'rsa' in parsed
      ? verifyRsa(key, message, parsed.alg, parsed.hash, parsed.rsa)
      : verifyEcdsa(key, message, parsed.hash, parsed.r, parsed.s);
  if (!good) throw new SignatureMismatch('the signature does not verify');
}

function verifyRsa(
  { key, publicKey }: PublicArea,
  message: Uint8Array,
  alg: number,
  hash: HashAlgorithm,
  signature: Uint8Array,
): boolean {
  if (key.type !== 'rsa' || signature.length !== key.modulus.length) return false;
  const padding =
    alg === ALG.rsapss
      ? // TPMs differ: as long as the hash, or as long as fits (Part 1 §B.7).
        { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
      : { padding: constants.RSA_PKCS1_PADDING };
  return verify(hash.name, message, { key: publicKey, ...padding }, signature);
}

function verifyEcdsa(
  { key, publicKey }: PublicArea,
  message: Uint8Array,
  hash: HashAlgorithm,
  r: Uint8Array,
  s: Uint8Array,
): boolean {
  if (key.type !== 'ecc') return false;
  const { bytes } = key.curve;
  // Zero, or at least the order of the group: OpenSSL refuses it. Longer than the curve: nothing to verify.
  if (r.length > bytes || s.length > bytes) return false;
  const fixed = Buffer.concat([leftPad(r, bytes), leftPad(s, bytes)]);
  return verify(hash.name, message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, fixed);
}
