import { Buffer } from 'node:buffer';

const DRAWN_BYTES = 4096;

/** Random bytes, each given away once; drawn in bulk, because a draw costs as much as a hash. */
export class RandomPool {
  readonly #random: (bytes: number) => Buffer;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(random: (bytes: number) => Buffer) {
    this.#random = random;
  }

  fill(target: Buffer, at: number, length: number): void {
    if (this.#at + length > this.#bytes.length) {
      this.#bytes = this.#random(DRAWN_BYTES);
      this.#at = 0;
    }
    this.#bytes.copy(target, at, this.#at, this.#at + length);
    this.#at += length;
  }

  take(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    this.fill(bytes, 0, length);
    return bytes;
  }
}
