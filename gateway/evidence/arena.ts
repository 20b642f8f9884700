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

/** Bytes to be written; texts in UTF-8. Pieces of a text are written one behind the other: put together first, they would be copied twice. */
export type Writable = Uint8Array | string | readonly string[];

/** Most bytes it can take up: a text three for each of its UTF-16 units. */
export function mostBytes(data: Writable): number {
  if (typeof data === 'string') return 3 * data.length;
  if (data instanceof Uint8Array) return data.length;
  let most = 0;
  for (const piece of data) most += 3 * piece.length;
  return most;
}

/** @returns where it ends */
export function writeInto(bytes: Buffer, at: number, data: Writable): number {
  if (typeof data === 'string') return at + bytes.write(data, at);
  if (data instanceof Uint8Array) {
    bytes.set(data, at);
    return at + data.length;
  }
  let end = at;
  for (const piece of data) end += bytes.write(piece, end);
  return end;
}
