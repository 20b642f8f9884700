import { Lending, type Lent } from '../core/lending.ts';

/**
 * Where the connections to services are read into. Short answers all share one piece of memory: a read is over before
 * the next begins, and what is kept of it is copied. A body that fills it gets memory of its own for each read, which
 * goes on as it is and comes back.
 */
class ReadMemory {
  readonly common: Buffer;
  readonly #lending: Lending;
  /** How many connections may wait with memory of their own for their next read. */
  readonly #most: number;
  #armed = 0;

  constructor(commonBytes: number, lentBytes: number, most: number) {
    this.common = Buffer.allocUnsafeSlow(commonBytes);
    this.#lending = new Lending(lentBytes, most);
    this.#most = most;
  }

  /** Memory for one connection's next read; undefined = the common one, when many have some already. */
  arm(): Lent | undefined {
    if (this.#armed === this.#most) return undefined;
    this.#armed += 1;
    return this.#lending.take();
  }

  /** It was read into, or never will be. Whoever armed it holds it still. */
  disarm(): void {
    this.#armed -= 1;
  }
}

export type { ReadMemory };

// One for all connections of a worker.
export const PLAIN_READS = new ReadMemory(64 * 1024, 256 * 1024, 32);
/** A TLS record holds no more than 16 KiB. */
export const TLS_READS = new ReadMemory(16 * 1024, 16 * 1024, 128);
