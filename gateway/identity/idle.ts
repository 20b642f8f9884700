import type { EpochSeconds } from '../core/clock.ts';
import { idleLimitOf } from './levels.ts';
import { insufficient, type UserAssertion } from './user-assertion.ts';

/** Longest idle time of any level: what was not seen for so long is over anyway. */
const LONGEST_S = 1800;

/**
 * When each session was last active (SP 800-63B §4.2.3, §4.3.3), at the gateway that the user talks to. A new assertion is
 * activity too: its issuer saw the user. Forgetting a session only makes its user sign in again.
 */
export class IdleWatch {
  readonly #capacity: number;
  #young = new Map<string, EpochSeconds>();
  #old = new Map<string, EpochSeconds>();
  #turnAt = 0;

  /** @param capacity sessions in each of two generations */
  constructor(capacity = 100_000) {
    this.#capacity = capacity;
  }

  /**
   * @param level what counts for the limit
   * @throws Denied `assertion.insufficient` with a challenge
   */
  requireActive(user: UserAssertion, now: EpochSeconds): void {
    if (now >= this.#turnAt || this.#young.size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#turnAt = now + LONGEST_S;
    }
    const key = `${user.issuer}\n${user.subject}\n${user.session ?? ''}\n${user.authTime}`;
    const seen = this.#young.get(key) ?? this.#old.get(key) ?? 0;
    const last = Math.max(seen, user.issuedAt);
    const limit = idleLimitOf(user.level.aal);
    if (now - last > limit) {
      throw insufficient(`idle for ${now - last} s`, {
        acrValues: user.level.aal > 0 ? [user.acr] : [],
        maxAgeSeconds: limit, // the authentication is at least as old as the last activity: this asks for a new one
        bound: user.boundBy === 'dpop',
      });
    }
    this.#young.set(key, now);
  }
}
