/** What a write may take and be waited for again at once: little more than the trip to the thread pool and back. */
const QUICK_MS = 1;
/** Larger ones take their time on the quickest disk. */
const MAX_BYTES = 256 << 10;
/** So many times as long as a slow write took, none is waited for. */
const PAUSE_FACTOR = 20;

/**
 * Says which writes the event loop waits for itself. The thread pool costs more than a quick write does; but a disk that is slow
 * must not hold up all that needs no disk. So each slow write is followed by a pause in proportion, in which all go to the pool:
 * slow writes hold up the loop a twentieth of the time at most, and a disk that hangs holds it up once.
 */
export class DiskPace {
  readonly #monotonic: () => number;
  #pausedUntil = -Infinity;

  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /** True when the event loop may wait for a write of that size. */
  allows(bytes: number): boolean {
    return bytes <= MAX_BYTES && this.#monotonic() >= this.#pausedUntil;
  }

  /** Does the write, and notes how long it took: also one that failed. */
  timed(write: () => number): number {
    const startedAt = this.#monotonic();
    try {
      return write();
    } finally {
      const endedAt = this.#monotonic();
      const tookMs = endedAt - startedAt;
      if (tookMs > QUICK_MS) this.#pausedUntil = endedAt + PAUSE_FACTOR * tookMs;
    }
  }
}
