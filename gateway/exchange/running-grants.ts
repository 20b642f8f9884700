import type { Clock } from '../core/clock.ts';
import { Roster, type Place } from '../core/passing.ts';

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

/** One that runs, until it is deleted. */
export interface Entry {
  readonly running: Running;
  /** Undefined when it is over. */
  among: Place | undefined;
  /** Its place in the queue, or in the wheel's slot of that tick. */
  awaited: Place | undefined;
  tick: number;
}

/**
 * Exchanges under way, and when each has to be looked at: one timer for all of them, however many. One that is never
 * due costs an entry in a map; a thousand that are due at once are spread over time, so that no message waits for them.
 */
export class RunningGrants {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #all = new Roster<Entry>();
  readonly #wheel = new Map<number, Roster<Entry>>();
  /** Due, the longest waiting first. */
  readonly #due = new Roster<Entry>();
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

  add(running: Running): Entry {
    const entry: Entry = { running, among: undefined, awaited: undefined, tick: Infinity };
    entry.among = this.#all.add(entry);
    if (running.dueAt !== Infinity) this.#schedule(entry);
    return entry;
  }

  delete(entry: Entry): void {
    this.#leave(entry);
    entry.among?.leave();
    entry.among = undefined;
  }

  /** Something has changed that its decision rests on: looks at it as soon as it can. */
  hasten(entry: Entry): void {
    if (entry.among === undefined) return;
    this.#await(entry);
    this.#soon(0);
  }

  /** The same with all of them: another policy, another registry. */
  hastenAll(): void {
    this.#changes += 1;
    for (const entry of this.#all.list()) this.hasten(entry);
  }

  close(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#turn);
    for (const entry of this.#all.list()) this.delete(entry);
  }

  #schedule(entry: Entry): void {
    if (this.#timer === undefined) {
      this.#tick = Math.floor(this.#clock.monotonic() / TICK_MS);
      this.#timer = setInterval(() => this.#turnWheel(), TICK_MS);
      this.#timer.unref();
    }
    // Never early; never in a tick that is over.
    const tick = Math.max(this.#tick + 1, Math.ceil(entry.running.dueAt / TICK_MS));
    let slot = this.#wheel.get(tick);
    if (slot === undefined) this.#wheel.set(tick, (slot = new Roster()));
    entry.awaited = slot.add(entry);
    entry.tick = tick;
  }

  /** To the end of the queue, unless it is there. */
  #await(entry: Entry): void {
    if (entry.awaited !== undefined && entry.tick === Infinity) return;
    this.#leave(entry);
    entry.awaited = this.#due.add(entry);
  }

  #leave(entry: Entry): void {
    entry.awaited?.leave();
    entry.awaited = undefined;
    if (this.#wheel.get(entry.tick)?.size === 0) this.#wheel.delete(entry.tick);
    entry.tick = Infinity;
  }

  #turnWheel(): void {
    const now = Math.floor(this.#clock.monotonic() / TICK_MS);
    while (this.#tick < now && this.#wheel.size > 0) {
      this.#tick += 1;
      for (const entry of this.#wheel.get(this.#tick)?.list() ?? []) this.#await(entry);
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
    for (let entry = this.#due.first; entry !== undefined; entry = this.#due.first) {
      this.#leave(entry);
      entry.running.look();
      const { among, awaited, running } = entry;
      if (among !== undefined && awaited === undefined && running.dueAt !== Infinity) this.#schedule(entry);
      if (this.#clock.monotonic() >= until) break;
    }
    if (this.#due.size > 0) this.#soon(REST_MS);
  }
}
