import { createHash, type Hash } from 'node:crypto';
import { sha256Base64, type Sha256Base64 } from '../core/bytes.ts';
import { FULL_MODE_BYTES } from './profile.ts';

/** Counts and digests one body as it passes. The bytes are read where they lie, never copied. */
export class BodyMeter {
  /** The first piece, as long as it is the only one: most bodies have no other, and need no hash object. */
  #only: Uint8Array | undefined;
  #hash: Hash | undefined;
  #length = 0;
  #digest: Sha256Base64 | undefined;

  get length(): number {
    return this.#length;
  }

  /** @param lent the bytes may change later: nothing of them may be kept */
  update(chunk: Uint8Array, lent = false): void {
    if (this.#digest !== undefined) throw new Error('digested already');
    if (this.#length === 0 && !lent && chunk.length <= FULL_MODE_BYTES) this.#only = chunk;
    else this.#more(chunk);
    this.#length += chunk.length;
  }

  /** SHA-256 of all bytes so far; the meter takes no more after it. */
  digest(): Sha256Base64 {
    this.#digest ??= this.#finish();
    this.#only = undefined;
    return this.#digest;
  }

  #finish(): Sha256Base64 {
    if (this.#hash === undefined) return sha256Base64(this.#only ?? '');
    return this.#hash.digest('base64') as Sha256Base64; // made for SHA-256
  }

  #more(chunk: Uint8Array): void {
    this.#hash ??= createHash('sha256');
    if (this.#only !== undefined) this.#hash.update(this.#only);
    this.#only = undefined;
    this.#hash.update(chunk);
  }
}
