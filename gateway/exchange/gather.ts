import { NO_FIELDS, type Fields } from '../core/fields.ts';
import type { Inflow, Loan, Sink } from '../core/flow.ts';
import { Denied } from '../core/errors.ts';
import type { RefusalCode } from '../core/refusals.ts';

/** A body that ended within the bounds of `full` mode, or one that did not and goes on as a stream. */
export type Gathered =
  | { readonly kind: 'whole'; readonly bytes: Buffer; readonly trailers: Fields }
  | { readonly kind: 'stream'; readonly inflow: Inflow };

/** How long to look whether a body of unknown length ends by itself within `full` mode. Milliseconds. */
export const GATHER_MS = 10;

export interface GatherBounds {
  readonly maxBytes: number;
  /** How long to wait for the end of a body of unknown length. A body of known length is waited for `idleMs`. */
  readonly waitMs: number;
  readonly idleMs: number;
  readonly stalled: RefusalCode;
}

const EMPTY: Gathered = { kind: 'whole', bytes: Buffer.alloc(0), trailers: NO_FIELDS };

/**
 * Reads a body as far as `full` mode reaches. What was read of a longer one is delivered first by the inflow that
 * comes back, so nothing is lost and nothing is copied.
 * @param length content length in bytes when it is known; 0 = there is no body and the inflow is not started
 * @returns a promise only where something has to be waited for: a body that came with its head is here
 */
export function gather(
  inflow: Inflow,
  length: number | undefined,
  bounds: GatherBounds,
): Gathered | Promise<Gathered> {
  if (length === 0) return EMPTY;
  if (length !== undefined && length > bounds.maxBytes) return { kind: 'stream', inflow };
  return new Gathering(inflow, length, bounds).begin();
}

/**
 * An inflow that was started once to look at its beginning. It is the one that goes on when the body is too long, and can
 * then be started again by whoever takes the rest.
 */
class Gathering implements Inflow, Sink {
  readonly #source: Inflow;
  readonly #length: number | undefined;
  readonly #bounds: GatherBounds;
  #chunks: Buffer[] = [];
  #size = 0;
  /** What came of it. Until then chunks are looked at here. */
  #outcome: Gathered | Error | undefined;
  #waiting: { resolve(gathered: Gathered): void; reject(cause: Error): void } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #sink: Sink | undefined;
  #last: ((sink: Sink) => void) | undefined;

  constructor(source: Inflow, length: number | undefined, bounds: GatherBounds) {
    this.#source = source;
    this.#length = length;
    this.#bounds = bounds;
  }

  begin(): Gathered | Promise<Gathered> {
    this.#source.start(this);
    const outcome = this.#outcome;
    if (outcome instanceof Error) return Promise.reject(outcome);
    if (outcome !== undefined) return outcome;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      // A body that came with its head may be delivered before this microtask: no timer for it.
      queueMicrotask(() => {
        const { waitMs, idleMs } = this.#bounds;
        if (this.#outcome === undefined)
          this.#timer = setTimeout(() => this.#late(), this.#length === undefined ? waitMs : idleMs);
      });
    });
  }

  #settle(outcome: Gathered | Error): void {
    this.#outcome = outcome;
    clearTimeout(this.#timer);
    if (outcome instanceof Error) this.#waiting?.reject(outcome);
    else this.#waiting?.resolve(outcome);
  }

  #toStream(): void {
    this.#source.pause();
    this.#settle({ kind: 'stream', inflow: this });
  }

  #late(): void {
    if (this.#length === undefined) {
      this.#toStream();
      return;
    }
    const cause = new Denied(this.#bounds.stalled, `${this.#size} of ${this.#length} bytes`);
    this.#settle(cause);
    this.#source.destroy(cause);
  }

  data(chunk: Buffer, loan?: Loan): void {
    if (this.#sink !== undefined) {
      this.#sink.data(chunk, loan);
      return;
    }
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#outcome === undefined && this.#size > this.#bounds.maxBytes) this.#toStream();
  }

  end(trailers: Fields): void {
    if (this.#outcome === undefined) {
      const [only] = this.#chunks;
      const bytes = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks);
      this.#settle({ kind: 'whole', bytes, trailers });
    } else
      this.#finally((sink) => {
        sink.end(trailers);
      });
  }

  error(cause: Error): void {
    if (this.#outcome === undefined) this.#settle(cause);
    else
      this.#finally((sink) => {
        sink.error(cause);
      });
  }

  #finally(tell: (sink: Sink) => void): void {
    if (this.#sink === undefined) this.#last = tell;
    else tell(this.#sink);
  }

  start(sink: Sink): void {
    const chunks = this.#chunks;
    this.#chunks = [];
    for (const chunk of chunks) sink.data(chunk);
    this.#sink = sink;
    if (this.#last !== undefined) this.#last(sink);
    else this.#source.resume();
  }

  pause(): void {
    this.#source.pause();
  }

  resume(): void {
    this.#source.resume();
  }

  destroy(cause: Error): void {
    this.#source.destroy(cause);
  }
}
