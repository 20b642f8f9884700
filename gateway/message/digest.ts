import { createHash } from 'node:crypto';

/** Counts and digests one body as it passes. The bytes are read where they lie, never copied. */
export class BodyMeter {
  #hash = createHash('sha256');
  #length = 0;
  #digest: Buffer | undefined;

  get length(): number {
    return this.#length;
  }

  update(chunk: Uint8Array): void {
    this.#length += chunk.length;
    this.#hash.update(chunk);
  }

  /** SHA-256 of all bytes so far; the meter takes no more after it. */
  digest(): Buffer {
    this.#digest ??= this.#hash.digest();
    return this.#digest;
  }
}
