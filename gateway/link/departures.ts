import type { Clock } from '../core/clock.ts';
import { Rate } from './rate.ts';

/** An exchange that we gave up. */
export interface Departure {
  /** It ended before its turn came. */
  readonly over: boolean;
  reset(): void;
}

/**
 * Breaks off what our clients do not wait for any more, and stays far below what the other side takes for a rapid reset
 * (CVE-2023-44487): its guard ends the whole session, with the exchanges of everybody else. What is over the pace runs
 * out unread: a small answer ends by itself, soon; anything else is reset when its turn comes. It keeps its room in
 * the session until then, so no more than one session's exchanges can wait here.
 */
export class Departures {
  readonly #rate: Rate;
  #waiting: Departure[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(clock: Clock, perSecond: number) {
    this.#rate = new Rate(clock, perSecond, perSecond);
  }

  add(departure: Departure): void {
    if (this.#waiting.length === 0 && this.#rate.take()) {
      departure.reset();
      return;
    }
    this.#waiting.push(departure);
    this.#wait();
  }

  /** The session is closed: nothing is left to break off. */
  stop(): void {
    this.#waiting = [];
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(): void {
    this.#timer ??= setTimeout(() => this.#turn(), Math.ceil(this.#rate.wait)).unref();
  }

  #turn(): void {
    this.#timer = undefined;
    const waiting = this.#waiting.filter(({ over }) => !over);
    this.#waiting = [];
    let turns = 0;
    while (turns < waiting.length && this.#rate.take()) waiting[turns++]?.reset();
    // A reset can have let go of others.
    this.#waiting.unshift(...waiting.slice(turns));
    if (this.#waiting.length > 0) this.#wait();
  }
}
