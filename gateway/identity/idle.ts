import type { EpochSeconds } from '../core/clock.ts';
import type { SharedTable } from '../core/shared-table.ts';
import { idleLimitOf } from './levels.ts';
import { insufficient, type UserAssertion } from './user-assertion.ts';

/** Longest idle time of any level: what was not seen for so long is over anyway. */
export const LONGEST_IDLE_MS = 1_800_000;

/**
 * When each session was last active (SP 800-63B §4.2.3, §4.3.3), at the gateway that the user talks to, whichever of its
 * workers that was. A new assertion is activity too: its issuer saw the user. A session that is not remembered, for want
 * of room, only makes its user sign in again.
 */
export class IdleWatch {
  readonly #activity: SharedTable;

  /** @param activity with values and a window of {@link LONGEST_IDLE_MS} */
  constructor(activity: SharedTable) {
    this.#activity = activity;
  }

  /**
   * @param level what counts for the limit
   * @throws Denied `assertion.insufficient` with a challenge
   */
  requireActive(user: UserAssertion, now: EpochSeconds): void {
    const key = `${user.issuer}\n${user.subject}\n${user.session ?? ''}\n${user.authTime}`;
    const seen = this.#activity.valueOf(key);
    const last = Math.max(seen, user.issuedAt);
    const limit = idleLimitOf(user.level.aal);
    if (now - last > limit) {
      throw insufficient(`idle for ${now - last} s`, {
        acrValues: user.level.aal > 0 ? [user.acr] : [],
        maxAgeSeconds: limit, // the authentication is at least as old as the last activity: this asks for a new one
        bound: user.boundBy === 'dpop',
      });
    }
    if (seen < now) this.#activity.setValue(key, now);
  }
}
