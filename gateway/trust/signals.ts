import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { Habits } from './habits.ts';

/**
 * What is unusual about a request, for its caller. Inputs of the policy, kept with the decision, so that a replay needs
 * no history. Each is the worst of what the client system's, the user's and the machine's habits say.
 */
export interface SignalFacts {
  readonly address: 'known' | 'new';
  /** null: no machine was presented. */
  readonly device: 'known' | 'new' | null;
  /** null, here and below: too little is known to tell. */
  readonly hour: 'usual' | 'unusual' | null;
  /** Requests of this minute, in percent of the caller's norm. */
  readonly rate_percent: number | null;
  /** Of the last five to ten minutes. */
  readonly refusals: number;
  /** Content bytes of this minute, both ways, in percent of the caller's norm. */
  readonly volume_percent: number | null;
}

/** How an exchange ended, as far as habits go. */
export interface Ending {
  /** Ended well: what was new about it no longer is. */
  readonly ok: boolean;
  /** Refused for the caller's own fault; a failure of ours does not count against it. */
  readonly refused: boolean;
  readonly bytes: number;
}

/** Callers remembered by default: about a kilobyte each. */
const MAX_CALLERS = 10_000;
/** Longer names are remembered by their digest. */
const MAX_KEY = 160;

/**
 * What callers usually do, in bounded memory: one of those unseen for longest is forgotten, and is then as unknown as any
 * newcomer. Fed only with callers that were proved, so that nobody fills it with inventions. Each worker has its own and
 * compares with what it has seen itself. Windows: `habits.ts`.
 */
export class CallerSignals {
  readonly #max: number;
  /**
   * Least recent first, more or less: who is in the last quarter stays there. A Map whose entries are taken out and put
   * back for each request fills with holes, and V8 copies it to a new table again and again; the tables before, old by
   * then, are freed by full collections only.
   */
  readonly #callers = new Map<string, { readonly habits: Habits; movedAs: number }>();
  #moves = 0;

  constructor(max = MAX_CALLERS) {
    this.#max = max;
  }

  get size(): number {
    return this.#callers.size;
  }

  /**
   * A request that came in.
   * @param address of whoever connects to us: the client system, or the peer gateway
   */
  visit(address: string, now: EpochMs): Visit {
    return new Visit(address, now, this.#of);
  }

  readonly #of = (name: string): Habits => {
    const key = name.length > MAX_KEY ? base64url(sha256(name)) : name;
    const known = this.#callers.get(key);
    if (known !== undefined && this.#moves - known.movedAs < this.#max / 4) return known.habits;
    if (known !== undefined) this.#callers.delete(key);
    const caller = known ?? { habits: new Habits(), movedAs: 0 };
    caller.movedAs = this.#moves += 1;
    this.#callers.set(key, caller);
    if (this.#callers.size > this.#max) {
      const [oldest] = this.#callers.keys();
      if (oldest !== undefined) this.#callers.delete(oldest);
    }
    return caller.habits;
  };
}

/** One request in the history of those who send it. Each is named as soon as it is proved, so that what fails later counts. */
export class Visit {
  readonly #address: string;
  readonly #now: EpochMs;
  readonly #habitsOf: (name: string) => Habits;
  readonly #own: Habits[] = [];
  #device: string | undefined;

  constructor(address: string, now: EpochMs, habitsOf: (name: string) => Habits) {
    this.#address = address;
    this.#now = now;
    this.#habitsOf = habitsOf;
  }

  /** The client system; at the provider's gateway, with its peer. */
  client(name: string): void {
    this.#add(`c ${name}`);
  }

  /** @param key `userKeyOf` */
  user(key: string): void {
    this.#add(key);
  }

  device(issuer: string, device: string): void {
    this.#device = `${issuer} ${device}`;
    this.#add(`d ${this.#device}`);
  }

  /** What is unusual, as far as the policy needs to know. @param now when it is asked again later */
  facts(now: EpochMs = this.#now): SignalFacts {
    const device = this.#device;
    let knowsAddress = true;
    let knowsDevice = true;
    let hour: SignalFacts['hour'] = 'usual';
    let rate: number | null = 0;
    let refusals = 0;
    let volume: number | null = 0;
    for (const habits of this.#own) {
      knowsAddress &&= habits.knowsAddress(this.#address, now);
      if (device !== undefined) knowsDevice &&= habits.knowsDevice(device, now);
      hour = worseHour(hour, habits.hour(now));
      rate = higher(rate, habits.ratePercent(now));
      volume = higher(volume, habits.volumePercent(now));
      refusals = Math.max(refusals, habits.refusals(now));
    }
    return {
      address: knowsAddress ? 'known' : 'new',
      device: device === undefined ? null : knowsDevice ? 'known' : 'new',
      hour,
      rate_percent: rate,
      refusals,
      volume_percent: volume,
    };
  }

  ended({ ok, refused, bytes }: Ending, now: EpochMs): void {
    for (const habits of this.#own) {
      habits.moved(bytes, now);
      if (refused) habits.refused(now);
      if (ok) habits.learn(this.#address, this.#device, now);
    }
  }

  #add(name: string): void {
    const habits = this.#habitsOf(name);
    habits.asked(this.#now);
    this.#own.push(habits);
  }
}

/** Not knowing is worse than anything known. */
const worseHour = (a: SignalFacts['hour'], b: SignalFacts['hour']): SignalFacts['hour'] =>
  a === null || b === null ? null : a === 'unusual' ? a : b;

const higher = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? null : Math.max(a, b);
