import { base64url } from '../core/bytes.ts';
import { Refused } from './refused.ts';

/**
 * Values that are good once and for a short time: nonces, open enrolments. Bounded; taken before they are looked at. Each
 * belongs to the connection that asked, which loses its oldest for a new one, and all when it ends: asking costs a stranger
 * nothing, and must not use up everybody's.
 */
export class Tickets<T> {
  readonly #all = new Map<string, { readonly value: T; readonly expires: number }>();
  readonly #lifeMs: number;
  readonly #max: number;
  readonly #maxOfOne: number;
  readonly #ofOne = new WeakMap<object, string[]>();

  /** @param maxOfOne that one connection may hold */
  constructor(lifeMs: number, max: number, maxOfOne: number) {
    this.#lifeMs = lifeMs;
    this.#max = max;
    this.#maxOfOne = maxOfOne;
  }

  /**
   * @param connection whose it is
   * @param make the value, given the ticket's number
   * @returns the number
   * @throws Refused `request.overloaded` when too many are out
   */
  issue(
    connection: object,
    nowMonotonic: number,
    random: (bytes: number) => Buffer,
    make: (key: string) => T,
  ): string {
    for (const [key, { expires }] of this.#all) {
      if (expires > nowMonotonic) break; // all live equally long: the first is the oldest
      this.#all.delete(key);
    }
    const mine = (this.#ofOne.get(connection) ?? []).filter((known) => this.#all.has(known));
    if (mine.length >= this.#maxOfOne) this.#all.delete(mine.shift() ?? '');
    if (this.#all.size >= this.#max) throw new Refused('request.overloaded', `${this.#max} tickets are out`);
    const key = base64url(random(32));
    this.#all.set(key, { value: make(key), expires: nowMonotonic + this.#lifeMs });
    this.#ofOne.set(connection, [...mine, key]);
    return key;
  }

  /** The connection has ended. */
  release(connection: object): void {
    for (const key of this.#ofOne.get(connection) ?? []) this.#all.delete(key);
    this.#ofOne.delete(connection);
  }

  /** Gives the value and destroys the ticket, also an expired one: two uses at once have one winner. */
  take(key: string, nowMonotonic: number): T | 'expired' | undefined {
    const found = this.#all.get(key);
    this.#all.delete(key);
    if (found === undefined) return undefined;
    return found.expires > nowMonotonic ? found.value : 'expired';
  }
}
