import type { Clock } from '../core/clock.ts';

/** Something that runs on a Grant and is looked at from time to time. */
export interface Running {
  /** When to look, on the monotonic clock, milliseconds; Infinity: only when something changes. */
  readonly dueAt: number;
  /** Never throws. */
  look(): void;
}

/** Coarseness of the wheel: obligations count in seconds. */
const TICK_MS = 50;
/** When many are due at once, they are looked at in turns: so long, and then others have so long. A fifth of the time. */
const TURN_MS = 2;
const REST_MS = 8;

/**
 * Exchanges under way, and when each has to be looked at: one timer for all of them, however many. One that is never
 * due costs an entry in a map; a thousand that are due at once are spread over time, so that no message waits for them.
 */
export class RunningGrants {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** With the tick it is due at. */
  readonly #all = new Map<Running, number>();
  readonly #wheel = new Map<number, Set<Running>>();
  /** Due, the longest waiting first. */
  readonly #due = new Set<Running>();
  #timer: NodeJS.Timeout | undefined;
  #turn: NodeJS.Timeout | undefined;
  /** What is due up to here was moved to the queue. */
  #tick = 0;
  #changes = 0;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#all.size;
  }

  /** How often something has changed that all decisions rest on. */
  get changes(): number {
    return this.#changes;
  }

  add(running: Running): void {
    if (running.dueAt === Infinity) this.#all.set(running, Infinity);
    else this.#schedule(running);
  }

  delete(running: Running): void {
    this.#leave(running);
    this.#all.delete(running);
    this.#due.delete(running);
  }

  /** Something has changed that its decision rests on: looks at it as soon as it can. */
  hasten(running: Running): void {
    if (!this.#all.has(running)) return;
    this.#leave(running);
    this.#due.add(running);
    this.#soon(0);
  }

  /** The same with all of them: another policy, another registry. */
  hastenAll(): void {
    this.#changes += 1;
    for (const running of this.#all.keys()) this.hasten(running);
  }

  close(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#turn);
    this.#all.clear();
    this.#wheel.clear();
    this.#due.clear();
  }

  #schedule(running: Running): void {
    if (this.#timer === undefined) {
      this.#tick = Math.floor(this.#clock.monotonic() / TICK_MS);
      this.#timer = setInterval(() => this.#turnWheel(), TICK_MS);
      this.#timer.unref();
    }
    // Never early; never in a tick that is over.
    const tick = Math.max(this.#tick + 1, Math.ceil(running.dueAt / TICK_MS));
    const slot = this.#wheel.get(tick);
    if (slot === undefined) this.#wheel.set(tick, new Set([running]));
    else slot.add(running);
    this.#all.set(running, tick);
  }

  #leave(running: Running): void {
    const tick = this.#all.get(running) ?? Infinity;
    if (tick === Infinity) return;
    const slot = this.#wheel.get(tick);
    slot?.delete(running);
    if (slot?.size === 0) this.#wheel.delete(tick);
    this.#all.set(running, Infinity);
  }

  #turnWheel(): void {
    const now = Math.floor(this.#clock.monotonic() / TICK_MS);
    while (this.#tick < now && this.#wheel.size > 0) {
      this.#tick += 1;
      const slot = this.#wheel.get(this.#tick);
      if (slot === undefined) continue;
      this.#wheel.delete(this.#tick);
      for (const running of slot) {
        this.#all.set(running, Infinity);
        this.#due.add(running);
      }
    }
    this.#tick = now;
    if (this.#due.size > 0) this.#look();
    else if (this.#wheel.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #soon(afterMs: number): void {
    this.#turn ??= setTimeout(() => this.#look(), afterMs);
  }

  #look(): void {
    clearTimeout(this.#turn);
    this.#turn = undefined;
    const until = this.#clock.monotonic() + TURN_MS;
    for (const running of this.#due) {
      this.#due.delete(running);
      running.look();
      if (this.#all.has(running) && running.dueAt !== Infinity) this.#schedule(running);
      if (this.#clock.monotonic() >= until) break;
    }
    if (this.#due.size > 0) this.#soon(REST_MS);
  }
}
