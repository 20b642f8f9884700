const INITIAL_BYTES = 16 << 10;
/** What a rush has left behind is not kept for the quiet hours. */
const KEPT_BYTES = 1 << 20;

/** Memory that is filled from its beginning, grows, and is used again: small buffers in their thousands cost the collector more than their making. */
export class Arena {
  #bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  /** Where the next byte goes. */
  end = 0;

  get bytes(): Buffer {
    return this.#bytes;
  }

  /** The memory, with room for that many bytes more. What was taken from it before is of the old memory. */
  reserve(more: number): Buffer {
    const needed = this.end + more;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length));
      this.#bytes.copy(grown, 0, 0, this.end);
      this.#bytes = grown;
    }
    return this.#bytes;
  }

  clear(): void {
    this.end = 0;
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  }
}

/** Most bytes a text can take up in UTF-8: three for each of its UTF-16 units. */
export const mostBytes = (data: string | Uint8Array): number =>
  typeof data === 'string' ? 3 * data.length : data.length;

/** @returns how many bytes it took */
export function writeInto(bytes: Buffer, at: number, data: string | Uint8Array): number {
  if (typeof data === 'string') return bytes.write(data, at);
  bytes.set(data, at);
  return data.length;
}
