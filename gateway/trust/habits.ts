import type { EpochMs } from '../core/clock.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** An address or device not seen for so long is new again. */
const FAMILIAR_MS = 30 * DAY_MS;
/** How many of each are remembered; the one unused for longest makes room. */
const FAMILIAR = 8;
/** The norm is an average over minutes with requests, in which the newest has this share. */
const NORM_SHARE = 1 / 16;
/** So many such minutes make a norm; before, there is none to compare with. */
const NORM_MINUTES = 5;
/** Nobody is unusual below these: a norm of one request a minute would make three a burst. */
const LEAST_NORM = { requests: 60, bytes: 16 << 20 } as const;
/** More would not be told apart. */
const MAX_PERCENT = 100_000;
/** Percents are told in steps of this, in steps twice as wide above eight of them, and so on. */
const STEP_PERCENT = 25;
/** Refusals are counted in steps of this, the running one and the one before: the last five to ten minutes. */
const REFUSALS_MS = 5 * MINUTE_MS;
/** Days with requests before an hour can be unusual. At {@link HOURS_DAYS} the counts are halved: the old fades. */
const HOURS_KNOWN_DAYS = 5;
const HOURS_DAYS = 64;
/** An hour is usual when it, or one beside it, was active on at least one of so many days. */
const HOURS_RARE = 8;

/** What one caller (a system, a user, a machine) usually does. All of it is bounded; nothing here is kept on disk. */
export class Habits {
  readonly #addresses = new Familiar();
  readonly #devices = new Familiar();
  readonly #requests = new Norm(LEAST_NORM.requests);
  readonly #bytes = new Norm(LEAST_NORM.bytes);
  readonly #hours = new Uint8Array(24);
  #days = 0;
  #lastHour = -1;
  #refusalsFrom = 0;
  #refusals = 0;
  #refusalsBefore = 0;

  /** Counts a request. What it does beyond that is learnt when it has ended well. */
  asked(now: EpochMs): void {
    this.#requests.add(1, now);
  }

  /** Requests of this minute, in percent of the norm; null while there is none. */
  ratePercent(now: EpochMs): number | null {
    return this.#requests.percent(now);
  }

  volumePercent(now: EpochMs): number | null {
    return this.#bytes.percent(now);
  }

  knowsAddress(address: string, now: EpochMs): boolean {
    return this.#addresses.has(address, now);
  }

  knowsDevice(device: string, now: EpochMs): boolean {
    return this.#devices.has(device, now);
  }

  /** Null while there are too few days to tell. */
  hour(now: EpochMs): 'usual' | 'unusual' | null {
    if (this.#days < HOURS_KNOWN_DAYS) return null;
    const hour = Math.floor(now / HOUR_MS) % 24;
    const at = (offset: number): number => this.#hours[(hour + offset + 24) % 24] ?? 0;
    return Math.max(at(-1), at(0), at(1)) * HOURS_RARE >= this.#days ? 'usual' : 'unusual';
  }

  refusals(now: EpochMs): number {
    this.#turnRefusals(now);
    return this.#refusals + this.#refusalsBefore;
  }

  refused(now: EpochMs): void {
    this.#turnRefusals(now);
    this.#refusals += 1;
  }

  /** Bytes count however an exchange ended. */
  moved(bytes: number, now: EpochMs): void {
    this.#bytes.add(bytes, now);
  }

  /** An exchange ended well: where from, on what and when is now familiar. */
  learn(address: string, device: string | undefined, now: EpochMs): void {
    this.#addresses.add(address, now);
    if (device !== undefined) this.#devices.add(device, now);
    const hour = Math.floor(now / HOUR_MS);
    if (hour === this.#lastHour) return;
    if (Math.floor(hour / 24) !== Math.floor(this.#lastHour / 24)) this.#newDay();
    this.#lastHour = hour;
    this.#hours[hour % 24] = (this.#hours[hour % 24] ?? 0) + 1; // at most once a day, so never above HOURS_DAYS
  }

  #newDay(): void {
    this.#days += 1;
    if (this.#days < HOURS_DAYS) return;
    this.#days = Math.ceil(this.#days / 2);
    for (const [hour, count] of this.#hours.entries()) this.#hours[hour] = Math.ceil(count / 2);
  }

  #turnRefusals(now: EpochMs): void {
    const from = Math.floor(now / REFUSALS_MS);
    if (from === this.#refusalsFrom) return;
    this.#refusalsBefore = from === this.#refusalsFrom + 1 ? this.#refusals : 0;
    this.#refusals = 0;
    this.#refusalsFrom = from;
  }
}

/** A few values and when each was last seen, the least recent first. */
class Familiar {
  readonly #seen = new Map<string, EpochMs>();
  #newest: string | undefined;

  has(value: string, now: EpochMs): boolean {
    const at = this.#seen.get(value);
    return at !== undefined && now - at <= FAMILIAR_MS;
  }

  add(value: string, now: EpochMs): void {
    if (value !== this.#newest) this.#seen.delete(value);
    this.#newest = value;
    this.#seen.set(value, now);
    if (this.#seen.size <= FAMILIAR) return;
    const [oldest] = this.#seen.keys();
    if (oldest !== undefined) this.#seen.delete(oldest);
  }
}

/** How much happens in a minute, against how much usually does. */
class Norm {
  readonly #least: number;
  #minute = -1;
  #now = 0;
  #norm = 0;
  #minutes = 0;

  constructor(least: number) {
    this.#least = least;
  }

  add(amount: number, now: EpochMs): void {
    this.#turn(now);
    this.#now += amount;
  }

  percent(now: EpochMs): number | null {
    this.#turn(now);
    if (this.#minutes < NORM_MINUTES) return null;
    const percent = (this.#now / Math.max(this.#norm, this.#least)) * 100;
    return Math.min(stepAbove(Math.floor(percent)), MAX_PERCENT);
  }

  /** A minute without anything says nothing about how much is usual when there is something. */
  #turn(now: EpochMs): void {
    const minute = Math.floor(now / MINUTE_MS);
    if (minute === this.#minute) return;
    if (this.#now > 0) {
      this.#norm = this.#minutes === 0 ? this.#now : this.#norm + (this.#now - this.#norm) * NORM_SHARE;
      this.#minutes = Math.min(this.#minutes + 1, NORM_MINUTES);
    }
    this.#now = 0;
    this.#minute = minute;
  }
}

/**
 * The end of the step that a percent lies in: 25, 50, … 200, 250, … 400, 500, … 800, 1000, … Told to the percent, each
 * request of a busy minute would be a question of its own to the policy. A step is 25 wide, or a quarter of its percent at most,
 * and its end is the worse one: nobody looks better for it.
 */
function stepAbove(percent: number): number {
  let step = STEP_PERCENT;
  while (percent > 8 * step) step *= 2;
  return Math.ceil(percent / step) * step;
}
