import type { Clock } from '../core/clock.ts';
import type { Fields } from '../core/fields.ts';
import type { Inflow, Loan, Sink } from '../core/flow.ts';

/**
 * Bytes are let through at least so often, so that nobody takes a slow stream for one that stopped. All timers are of
 * this one duration: the runtime keeps such in one list under one timer of the system.
 */
export const BEAT_MS = 50;
/** What a stream may catch up on after it was idle, or after a late timer. */
const BURST_MS = 250;

/** How fast content may go. It is looked at with each chunk: a decision on the run may have changed it. */
export interface Pace {
  /** undefined: as fast as it comes. */
  readonly bytesPerSecond: number | undefined;
}

/**
 * An inflow at no more than a rate: a token bucket over the chunks as they come. A chunk that is too long for now is
 * delivered in parts of the same memory, never copied, and the transport is paused meanwhile: what waits here is what
 * it had under way. Without a rate it costs one comparison a chunk.
 */
export class PacedInflow implements Inflow, Sink {
  readonly #source: Inflow;
  readonly #pace: Pace;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #waiting: Buffer[] = [];
  #sink: Sink | undefined;
  #last: ((sink: Sink) => void) | undefined;
  /** The receiver asked for it. */
  #paused = false;
  /** The transport was asked for it. */
  #held = false;
  #over = false;
  #allowance = 0;
  #countedAt: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(source: Inflow, pace: Pace, clock: Pick<Clock, 'monotonic'>) {
    this.#source = source;
    this.#pace = pace;
    this.#clock = clock;
    this.#countedAt = clock.monotonic();
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.#source.start(this);
  }

  pause(): void {
    this.#paused = true;
    this.#hold();
  }

  resume(): void {
    this.#paused = false;
    if (this.#timer === undefined) this.#go();
  }

  destroy(cause: Error): void {
    this.#drop();
    this.#source.destroy(cause);
  }

  data(chunk: Buffer, loan?: Loan): void {
    if (this.#over) return;
    if (this.#waiting.length === 0 && this.#pace.bytesPerSecond === undefined) {
      this.#sink?.data(chunk, loan);
      return;
    }
    if (chunk.length === 0) return;
    this.#waiting.push(chunk);
    if (this.#timer === undefined && !this.#paused) this.#go();
    else this.#hold(); // it may have been started again by its own beginning
  }

  end(trailers: Fields): void {
    const tell = (sink: Sink): void => {
      sink.end(trailers);
    };
    if (this.#waiting.length > 0) this.#last = tell;
    else if (this.#sink !== undefined) tell(this.#sink);
  }

  /** What waits has no end any more: nobody gets it. */
  error(cause: Error): void {
    this.#drop();
    this.#sink?.error(cause);
  }

  /** Lets go what may go now; the rest when its time has come. */
  #go(): void {
    for (let chunk = this.#waiting[0]; chunk !== undefined; chunk = this.#waiting[0]) {
      const most = this.#take(chunk.length);
      if (most === chunk.length) this.#waiting.shift();
      else this.#waiting[0] = chunk.subarray(most);
      if (most > 0) this.#sink?.data(chunk.subarray(0, most));
      if (this.#over || this.#paused) return;
      if (most < chunk.length) {
        this.#hold();
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          if (!this.#paused) this.#go();
        }, BEAT_MS);
        return;
      }
    }
    const tell = this.#last;
    this.#last = undefined;
    if (tell !== undefined && this.#sink !== undefined) tell(this.#sink);
    else if (this.#held && !this.#over) {
      this.#held = false;
      this.#source.resume();
    }
  }

  /** @returns how many of so many bytes may go */
  #take(wanted: number): number {
    const rate = this.#pace.bytesPerSecond;
    if (rate === undefined) return wanted;
    const now = this.#clock.monotonic();
    const earned = ((now - this.#countedAt) * rate) / 1000;
    this.#countedAt = now;
    this.#allowance = Math.min(this.#allowance + earned, (rate * BURST_MS) / 1000);
    const taken = Math.min(wanted, Math.floor(this.#allowance));
    this.#allowance -= taken;
    return taken;
  }

  #hold(): void {
    this.#held = true;
    this.#source.pause();
  }

  #drop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.length = 0;
    this.#last = undefined;
  }
}
