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
