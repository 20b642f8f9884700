import { Denied, Unavailable } from '../core/errors.ts';
import type { Clock, EpochMs } from '../core/clock.ts';
import type { RefusalCode } from '../core/refusals.ts';

/**
 * Message ids seen, each kept until its signature can no longer be valid. Two generations: ids of the older one are
 * all expired when it is thrown away, so forgetting costs nothing per id.
 */
export class ReplayStore {
  readonly #clock: Clock;
  readonly #windowMs: number;
  readonly #capacity: number;
  readonly #code: RefusalCode;
  #young = new Set<string>();
  #old = new Set<string>();
  #turnAt: EpochMs;

  /**
   * @param windowMs the longest time a signature can be accepted after it was first seen: lifetime + skew on both sides
   * @param capacity ids in both generations together; beyond it new messages are refused, none is forgotten early
   * @param code what an id is refused with that was seen before
   */
  constructor(clock: Clock, windowMs: number, capacity = 2_000_000, code: RefusalCode = 'message.replayed') {
    this.#clock = clock;
    this.#windowMs = windowMs;
    this.#capacity = capacity;
    this.#code = code;
    this.#turnAt = clock.now() + windowMs;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /**
   * Takes an id for its first and only use. One atomic step: two copies that arrive together cannot both win.
   * @throws Denied with the store's code; Unavailable `gateway.overloaded` when the store is full
   */
  claim(sender: string, nonce: string): void {
    this.#turn();
    const key = `${sender} ${nonce}`;
    if (this.#young.has(key) || this.#old.has(key)) throw new Denied(this.#code, nonce);
    if (this.size >= this.#capacity) throw new Unavailable('gateway.overloaded', 'replay store is full');
    this.#young.add(key);
  }

  /** Puts back what the log says was seen before a restart. */
  remember(sender: string, nonce: string): void {
    this.#young.add(`${sender} ${nonce}`);
  }

  #turn(): void {
    const now = this.#clock.now();
    if (now < this.#turnAt) return;
    // Whoever is in `young` was added at most one window ago: it stays a whole window more.
    this.#old = now < this.#turnAt + this.#windowMs ? this.#young : new Set();
    this.#young = new Set();
    this.#turnAt = now + this.#windowMs;
  }
}
