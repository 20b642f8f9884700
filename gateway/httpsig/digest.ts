import { base64 } from '../core/bytes.ts';
import { MalformedBytes, quoted } from '../core/errors.ts';
import { scanByteDictionary } from './scanner.ts';

/** All algorithms that RFC 9530 registers, with room. */
const MAX_DIGESTS = 8;

/** 32 bytes in base64. Of the last character before the padding two bits are outside of them: one spelling has these 0. */
const SHA256 = '[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=';
const IS_SHA256 = new RegExp(`^${SHA256}$`);
/** What {@link formatContentDigest} writes. */
const ALONE = new RegExp(`^sha-256=:(${SHA256}):$`);

/** The value of `Content-Digest` (RFC 9530 §2). @param sha256 in base64 */
export function formatContentDigest(sha256: string): string {
  if (!IS_SHA256.test(sha256)) throw new MalformedBytes(`SHA-256 ${quoted(sha256)}`);
  return `sha-256=:${sha256}:`;
}

/**
 * Reads the SHA-256 of `Content-Digest`, in base64. Other algorithms may stand beside `sha-256` (agility) but cannot stand in for it, so a
 * message with weak ones alone is refused.
 * @throws MalformedBytes
 */
export function parseContentDigest(value: string): string {
  const alone = ALONE.exec(value)?.[1];
  if (alone !== undefined) return alone;
  const sha256 = scanByteDictionary(value, MAX_DIGESTS).get('sha-256');
  if (sha256?.length !== 32) throw new MalformedBytes('content-digest: no sha-256 of 32 bytes');
  return base64(sha256);
}
