import { base64url } from '../core/bytes.ts';
import { Refused } from './refused.ts';

/** Values that are good once and for a short time: nonces, open enrolments. Bounded; taken before they are looked at. */
export class Tickets<T> {
  readonly #all = new Map<string, { readonly value: T; readonly expires: number }>();
  readonly #lifeMs: number;
  readonly #max: number;

  constructor(lifeMs: number, max: number) {
    this.#lifeMs = lifeMs;
    this.#max = max;
  }

  /**
   * @param make the value, given the ticket's number
   * @returns the number
   * @throws Refused `request.overloaded` when too many are out
   */
  issue(nowMonotonic: number, random: (bytes: number) => Buffer, make: (key: string) => T): string {
    for (const [key, { expires }] of this.#all) {
      if (expires > nowMonotonic) break; // all live equally long: the first is the oldest
      this.#all.delete(key);
    }
    if (this.#all.size >= this.#max) throw new Refused('request.overloaded', `${this.#max} tickets are out`);
    const key = base64url(random(32));
    this.#all.set(key, { value: make(key), expires: nowMonotonic + this.#lifeMs });
    return key;
  }

  /** Gives the value and destroys the ticket, also an expired one: two uses at once have one winner. */
  take(key: string, nowMonotonic: number): T | 'expired' | undefined {
    const found = this.#all.get(key);
    this.#all.delete(key);
    if (found === undefined) return undefined;
    return found.expires > nowMonotonic ? found.value : 'expired';
  }
}
