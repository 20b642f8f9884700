// TPM_ALG_ID and TPM_ECC_CURVE, TPM 2.0 Library Part 2 §6.3 and §6.4: only what we are willing to meet.
import { hash as digestOf } from 'node:crypto';
import { MalformedBytes } from '../core/errors.ts';

export const ALG = {
  rsa: 0x0001,
  aes: 0x0006,
  null: 0x0010,
  rsassa: 0x0014,
  rsapss: 0x0016,
  oaep: 0x0017,
  ecdsa: 0x0018,
  ecdh: 0x0019,
  ecc: 0x0023,
  cfb: 0x0043,
} as const;

export interface HashAlgorithm {
  readonly id: number;
  /** As OpenSSL calls it. */
  readonly name: 'sha1' | 'sha256' | 'sha384' | 'sha512';
  readonly bytes: number;
}

export const HASH = {
  sha1: { id: 0x0004, name: 'sha1', bytes: 20 },
  sha256: { id: 0x000b, name: 'sha256', bytes: 32 },
  sha384: { id: 0x000c, name: 'sha384', bytes: 48 },
  sha512: { id: 0x000d, name: 'sha512', bytes: 64 },
} as const satisfies Record<string, HashAlgorithm>;

const HASHES = new Map<number, HashAlgorithm>(Object.values(HASH).map((hash) => [hash.id, hash]));

/** Undefined for a hash we do not know, such as SM3 in an event log. */
export const knownHash = (id: number): HashAlgorithm | undefined => HASHES.get(id);

/** @throws MalformedBytes for a hash we do not know */
export function hashAlgorithm(id: number, field: string): HashAlgorithm {
  const hash = HASHES.get(id);
  if (hash === undefined) throw new MalformedBytes(`${field}: hash algorithm ${hex(id)}`);
  return hash;
}

export const digest = (hash: HashAlgorithm, bytes: Uint8Array): Buffer =>
  digestOf(hash.name, bytes, 'buffer');

export interface Curve {
  readonly id: number;
  /** As in JWK. */
  readonly name: 'P-256' | 'P-384' | 'P-521';
  /** As OpenSSL calls it. */
  readonly openssl: string;
  /** Length of a coordinate. */
  readonly bytes: number;
}

export const CURVE = {
  p256: { id: 3, name: 'P-256', openssl: 'prime256v1', bytes: 32 },
  p384: { id: 4, name: 'P-384', openssl: 'secp384r1', bytes: 48 },
  p521: { id: 5, name: 'P-521', openssl: 'secp521r1', bytes: 66 },
} as const satisfies Record<string, Curve>;

const CURVES = new Map<number, Curve>(Object.values(CURVE).map((known) => [known.id, known]));

/** @throws MalformedBytes for a curve we do not know */
export function curve(id: number): Curve {
  const found = CURVES.get(id);
  if (found === undefined) throw new MalformedBytes(`TPMT_PUBLIC: curve ${hex(id)}`);
  return found;
}

export const hex = (id: number): string => `0x${id.toString(16).padStart(4, '0')}`;
