import { base64, fromBase64 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { scanByteDictionary } from './scanner.ts';

export interface ContentDigest {
  /** 32 bytes. */
  readonly sha256: Uint8Array;
}

/** All algorithms that RFC 9530 registers, with room. */
const MAX_DIGESTS = 8;

/** The value of `Content-Digest` (RFC 9530 §2). @param sha256 32 bytes */
export function formatContentDigest(sha256: Uint8Array): string {
  if (sha256.length !== 32) throw new MalformedBytes(`SHA-256 of ${sha256.length} bytes`);
  return `sha-256=:${base64(sha256)}:`;
}

/**
 * Reads `Content-Digest`. Other algorithms may stand beside `sha-256` (agility) but cannot stand in for it, so a
 * message with weak ones alone is refused.
 * @throws MalformedBytes
 */
export function parseContentDigest(value: string): ContentDigest {
  const alone = onlySha256(value);
  if (alone !== undefined) return { sha256: alone };
  const sha256 = scanByteDictionary(value, MAX_DIGESTS).get('sha-256');
  if (sha256?.length !== 32) throw new MalformedBytes('content-digest: no sha-256 of 32 bytes');
  return { sha256 };
}

const OPENING = 'sha-256=:';
/** 32 bytes in base64 between the opening and a colon. */
const ALONE = OPENING.length + 44 + 1;

/** What {@link formatContentDigest} writes, read without the rest of the format; undefined says nothing. */
function onlySha256(value: string): Buffer | undefined {
  if (value.length !== ALONE || !value.startsWith(OPENING) || !value.endsWith(':')) return undefined;
  const bytes = fromBase64(value.slice(OPENING.length, -1));
  return bytes?.length === 32 ? bytes : undefined;
}
