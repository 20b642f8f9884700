import { MalformedBytes } from '../core/errors.ts';
import { DerReader, type DerValue, oidText, TAG } from './der.ts';

/** The subject's public key, as far as its strength matters. */
export type KeyFacts =
  | { readonly type: 'rsa'; readonly bits: number }
  | { readonly type: 'ec'; readonly curve: 'P-256' | 'P-384' }
  | { readonly type: 'ed25519' };

/** Hash inside the issuer's signature; `ed25519` has its own. */
export type SignatureHash = 'sha1' | 'sha256' | 'sha384' | 'sha512' | 'ed25519';

const CURVES = new Map<string, { curve: 'P-256' | 'P-384'; pointBytes: number }>([
  ['1.2.840.10045.3.1.7', { curve: 'P-256', pointBytes: 65 }],
  ['1.3.132.0.34', { curve: 'P-384', pointBytes: 97 }],
]);

const HASHES = new Map<string, SignatureHash>([
  ['1.3.14.3.2.26', 'sha1'],
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
]);

const SIGNATURES = new Map<string, SignatureHash>([
  ['1.2.840.113549.1.1.5', 'sha1'],
  ['1.2.840.10045.4.1', 'sha1'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.3.101.112', 'ed25519'],
]);

const RSASSA_PSS = '1.2.840.113549.1.1.10';

/**
 * Type and size of the key in a SubjectPublicKeyInfo. Our floor and ceiling: RSA 2048 to 8192 bits (a larger one only
 * makes us work), P-256, P-384, Ed25519. A curve is named, never spelled out: explicit parameters let an attacker
 * choose the generator so that a key of his matches the public key of another (CVE-2020-0601).
 * @throws MalformedBytes for anything else
 */
export function readKeyFacts(spki: DerValue): KeyFacts {
  const reader = new DerReader(spki.content, 'subjectPublicKeyInfo');
  const algorithm = reader.enter(TAG.sequence, 'key algorithm');
  const { content } = reader.take(TAG.bitString);
  reader.finish();
  if (content[0] !== 0) throw new MalformedBytes('public key: not a whole number of bytes');
  const bits = content.subarray(1);
  switch (oidText(algorithm.take(TAG.oid).content)) {
    case '1.2.840.10045.2.1': {
      const curve = CURVES.get(oidText(algorithm.take(TAG.oid).content));
      algorithm.finish();
      if (curve === undefined) throw new MalformedBytes('public key: curve is neither P-256 nor P-384');
      if (bits.length !== curve.pointBytes || bits[0] !== 0x04)
        throw new MalformedBytes('public key: not an uncompressed point');
      return { type: 'ec', curve: curve.curve };
    }
    case '1.2.840.113549.1.1.1':
      algorithm.take(TAG.null);
      algorithm.finish();
      return { type: 'rsa', bits: rsaBits(bits) };
    case '1.3.101.112':
      algorithm.finish(); // RFC 8410 §3: parameters are absent
      if (bits.length !== 32) throw new MalformedBytes('public key: Ed25519 of other than 32 bytes');
      return { type: 'ed25519' };
    default:
      throw new MalformedBytes('public key: neither RSA, EC nor Ed25519');
  }
}

function rsaBits(der: Uint8Array): number {
  const outer = new DerReader(der, 'RSA key');
  const key = outer.enter(TAG.sequence, 'RSA key');
  outer.finish();
  const modulus = positive(key.take(TAG.integer).content);
  const exponent = positive(key.take(TAG.integer).content);
  key.finish();
  const size = modulus.length * 8 - Math.clz32((modulus[0] ?? 0) << 24);
  if (size < 2048 || size > 8192) throw new MalformedBytes(`public key: RSA of ${size} bits`);
  // FIPS 186-5 §A.1.1: odd and above 2^16; long exponents only cost the verifier.
  const odd = ((exponent.at(-1) ?? 0) & 1) === 1;
  if (!odd || exponent.length < 3 || exponent.length > 8)
    throw new MalformedBytes('public key: RSA exponent');
  return size;
}

/** Magnitude of a positive DER INTEGER. */
function positive(content: Uint8Array): Uint8Array {
  const [first, second] = content;
  if (first === undefined || first >= 0x80) throw new MalformedBytes('integer: empty or negative');
  if (first !== 0) return content;
  if (second === undefined || second < 0x80) throw new MalformedBytes('integer: zero, or not the shortest');
  return content.subarray(1);
}

/** Which hash the issuer's signature used. @throws MalformedBytes for algorithms we do not know (MD5 among them) */
export function readSignatureHash(algorithm: DerValue): SignatureHash {
  const reader = new DerReader(algorithm.content, 'signature algorithm');
  const oid = oidText(reader.take(TAG.oid).content);
  const known = SIGNATURES.get(oid) ?? (oid === RSASSA_PSS ? pssHash(reader) : undefined);
  if (known === undefined) throw new MalformedBytes('signature algorithm: not known');
  return known;
}

/** RSASSA-PSS-params, RFC 4055 §3.1: [0] names the hash; left out it is SHA-1. */
function pssHash(reader: DerReader): SignatureHash | undefined {
  const params = reader.enter(TAG.sequence, 'RSASSA-PSS parameters');
  const hash = params.takeIf(0xa0);
  if (hash === undefined) return 'sha1';
  const identifier = new DerReader(hash.content, 'RSASSA-PSS hash').enter(TAG.sequence, 'RSASSA-PSS hash');
  return HASHES.get(oidText(identifier.take(TAG.oid).content));
}
