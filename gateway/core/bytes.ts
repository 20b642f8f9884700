import { Buffer } from 'node:buffer';
import { createHash, hash, timingSafeEqual } from 'node:crypto';

export const utf8 = (text: string): Buffer => Buffer.from(text, 'utf8');
export const base64 = (bytes: Uint8Array): string => view(bytes).toString('base64');
export const base64url = (bytes: Uint8Array): string => view(bytes).toString('base64url');

/** Unpadded base64url spelled as base64. */
export function toBase64(base64urlText: string): string {
  const text = inBase64(base64urlText);
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
}

/** The same characters of the other alphabet (RFC 4648 §4 and §5); padding is left alone. */
export const inBase64 = (text: string): string => withEach(withEach(text, '-', '+'), '_', '/');
export const inBase64url = (text: string): string => withEach(withEach(text, '+', '-'), '/', '_');

/** As `replaceAll` of one character by one, in half of its time: that asks both texts first whether they are patterns. */
function withEach(text: string, from: string, to: string): string {
  let changed = '';
  let at = 0;
  for (let next = text.indexOf(from); next >= 0; next = text.indexOf(from, at)) {
    changed += text.slice(at, next) + to;
    at = next + 1;
  }
  return at === 0 ? text : changed + text.slice(at);
}

/** The same memory as a Buffer, without a copy. */
export function view(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Decodes base64 that is spelled exactly as we would write it (padding, no white space); otherwise undefined. */
export function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** Decodes unpadded base64url in its one canonical spelling; otherwise undefined. */
export function fromBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}

/** SHA-256 over the parts one after the other. */
export function sha256(...parts: readonly (Uint8Array | string)[]): Buffer {
  const [only] = parts;
  // A hash object costs as much as the hash of two kilobytes, and the collector pays once more.
  const whole = parts.length === 1 ? only : together(parts);
  if (whole !== undefined) return oneShot(whole);
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part);
  return digest.digest();
}

/** SHA-256 in base64, in its one spelling: as digests of content stand in fields and records. */
export type Sha256Base64 = string & { readonly sha256Base64: never };

export const sha256Base64 = (bytes: Uint8Array | string): Sha256Base64 =>
  hash('sha256', bytes, 'base64') as Sha256Base64; // what it says

/** SHA-256, base64url. */
export const sha256Base64url = (bytes: Uint8Array): string => hash('sha256', bytes, 'base64url');

/** The one-shot call makes a string faster than it makes a buffer. */
const oneShot = (bytes: Uint8Array | string): Buffer =>
  Buffer.from(hash('sha256', bytes, 'binary'), 'latin1');

/** SHA-256 of a text in UTF-8, base64url. */
export const sha256Text = (text: string): string => hash('sha256', text, 'base64url');

const scratch = Buffer.allocUnsafeSlow(8 * 1024);

/** Small parts side by side, valid until the next call; undefined when they are not small. */
function together(parts: readonly (Uint8Array | string)[]): Uint8Array | undefined {
  let at = 0;
  for (const part of parts) {
    // A character is three bytes at most.
    const most = typeof part === 'string' ? 3 * part.length : part.length;
    if (at + most > scratch.length) return undefined;
    if (typeof part === 'string') at += scratch.write(part, at);
    else {
      scratch.set(part, at);
      at += part.length;
    }
  }
  return scratch.subarray(0, at);
}

/** Constant-time equality; different lengths are simply different. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
