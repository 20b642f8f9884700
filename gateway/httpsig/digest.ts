import { base64, type Sha256Base64 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { scanByteDictionary } from './scanner.ts';

/** All algorithms that RFC 9530 registers, with room. */
const MAX_DIGESTS = 8;

/** 32 bytes in base64. Of the last character before the padding two bits are outside of them: one spelling has these 0. */
const SHA256 = '[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=';
/** What {@link formatContentDigest} writes. */
const ALONE = new RegExp(`^sha-256=:(${SHA256}):$`);

/** The value of `Content-Digest` (RFC 9530 §2). */
export const formatContentDigest = (sha256: Sha256Base64): string => `sha-256=:${sha256}:`;

/**
 * Reads the SHA-256 of `Content-Digest`, in base64. Other algorithms may stand beside `sha-256` (agility) but cannot stand in for it, so a
 * message with weak ones alone is refused.
 * @throws MalformedBytes
 */
export function parseContentDigest(value: string): Sha256Base64 {
  const alone = ALONE.exec(value)?.[1];
  if (alone !== undefined) return alone as Sha256Base64; // the expression says so
  const sha256 = scanByteDictionary(value, MAX_DIGESTS).get('sha-256');
  if (sha256?.length !== 32) throw new MalformedBytes('content-digest: no sha-256 of 32 bytes');
  return base64(sha256) as Sha256Base64; // of 32 bytes
}
