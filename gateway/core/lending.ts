import type { Loan } from './flow.ts';

/**
 * A few large buffers that sockets read into and that come back when the bytes went on: a stream of any length then
 * needs no memory that has to be collected. A buffer comes back only when every holder has said so. One who never says
 * it costs a new buffer and nothing else: what is not given back is garbage like any other memory, never overwritten.
 */
export class Lending {
  readonly #bufferBytes: number;
  /** How many buffers are kept for the next reader. */
  readonly #kept: number;
  readonly #free: Buffer[] = [];

  constructor(bufferBytes: number, kept: number) {
    this.#bufferBytes = bufferBytes;
    this.#kept = kept;
  }

  /** A buffer for one read. Its reader is the first holder. */
  take(): Lent {
    return new Lent(this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bufferBytes), this.#returned);
  }

  readonly #returned = (bytes: Buffer): void => {
    if (this.#free.length < this.#kept) this.#free.push(bytes);
  };
}

/** One buffer that is out. */
export class Lent implements Loan {
  readonly bytes: Buffer;
  readonly #returned: (bytes: Buffer) => void;
  /** Whoever may still read the bytes, the one who read them in from the socket included. */
  #holders = 1;

  constructor(bytes: Buffer, returned: (bytes: Buffer) => void) {
    this.bytes = bytes;
    this.#returned = returned;
  }

  share(): this {
    if (this.#holders === 0) throw new Error('a buffer was shared after it was given back');
    this.#holders += 1;
    return this;
  }

  done(): void {
    if (this.#holders === 0) throw new Error('a buffer was given back twice');
    this.#holders -= 1;
    if (this.#holders === 0) this.#returned(this.bytes);
  }
}

/**
 * Memory that a socket's stream read into, lent like any other: with its last holder it goes back to the system at once.
 * Left to the collector, a stream's chunks look like a heap that grows, and the collector goes through all of it.
 */
export const lentChunk = (chunk: Buffer): Lent => new Lent(chunk, release);

/**
 * Gives the memory of a chunk back to the system at once. The chunk is empty for whoever still looks at it. Memory that
 * others have a part of is left alone.
 */
export function release({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
