import { createHash, hash, timingSafeEqual } from 'node:crypto';

export const utf8 = (text: string): Buffer => Buffer.from(text, 'utf8');
export const base64 = (bytes: Uint8Array): string => view(bytes).toString('base64');
export const base64url = (bytes: Uint8Array): string => view(bytes).toString('base64url');

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
  // A single short string or buffer: the one-shot call is twice as fast as a hash object.
  if (parts.length === 1 && only !== undefined) return hash('sha256', only, 'buffer');
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part);
  return digest.digest();
}

/** Constant-time equality; different lengths are simply different. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
