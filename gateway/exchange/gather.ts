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
 */
export function gather(inflow: Inflow, length: number | undefined, bounds: GatherBounds): Promise<Gathered> {
  if (length === 0) return Promise.resolve(EMPTY);
  if (length !== undefined && length > bounds.maxBytes) return Promise.resolve({ kind: 'stream', inflow });
  return new Promise((resolve, reject) => {
    const started = new Resumable(inflow);
    const known = length !== undefined;
    let over = false;
    let timer: NodeJS.Timeout | undefined;
    const settle = (): void => {
      over = true;
      clearTimeout(timer);
    };
    const toStream = (): void => {
      settle();
      started.hold();
      resolve({ kind: 'stream', inflow: started });
    };
    const late = (): void => {
      if (!known) return toStream();
      const cause = new Denied(bounds.stalled, `${started.size} of ${length} bytes`);
      inflow.destroy(cause);
      reject(cause);
    };
    started.watch({
      grown: () => {
        if (started.size > bounds.maxBytes) toStream();
      },
      end: (trailers) => {
        settle();
        resolve({ kind: 'whole', bytes: started.take(), trailers });
      },
      error: (cause) => {
        settle();
        reject(cause);
      },
    });
    // A body that came with its head, as most do, is delivered by now, or before this microtask: no timer for it.
    queueMicrotask(() => {
      if (!over) timer = setTimeout(late, known ? bounds.idleMs : bounds.waitMs);
    });
  });
}

interface Watcher {
  grown(): void;
  end(trailers: Fields): void;
  error(cause: Error): void;
}

/** An inflow that was started once to look at its beginning and can be started again by whoever takes the rest. */
class Resumable implements Inflow, Sink {
  readonly #source: Inflow;
  #chunks: Buffer[] = [];
  #size = 0;
  #watcher: Watcher | undefined;
  #sink: Sink | undefined;
  #last: ((sink: Sink) => void) | undefined;

  constructor(source: Inflow) {
    this.#source = source;
  }

  get size(): number {
    return this.#size;
  }

  watch(watcher: Watcher): void {
    this.#watcher = watcher;
    this.#source.start(this);
  }

  hold(): void {
    this.#watcher = undefined;
    this.#source.pause();
  }

  take(): Buffer {
    const [only] = this.#chunks;
    return this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks);
  }

  data(chunk: Buffer, loan?: Loan): void {
    if (this.#sink !== undefined) {
      this.#sink.data(chunk, loan);
      return;
    }
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    this.#watcher?.grown();
  }

  end(trailers: Fields): void {
    if (this.#watcher !== undefined) this.#watcher.end(trailers);
    else
      this.#finally((sink) => {
        sink.end(trailers);
      });
  }

  error(cause: Error): void {
    if (this.#watcher !== undefined) this.#watcher.error(cause);
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
