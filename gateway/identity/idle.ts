import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochSeconds } from '../core/clock.ts';
import type { SharedTable } from '../core/shared-table.ts';
import { idleLimitOf } from './levels.ts';
import { insufficient, type UserAssertion } from './user-assertion.ts';

/** Longest idle time of any level: what was not seen for so long is over anyway. */
export const LONGEST_IDLE_MS = 1_800_000;

/** What other replicas of the gateway saw of a session. */
export interface ActivityElsewhere {
  /** @returns 0 when none has seen it lately. @throws Unavailable */
  lastActive(session: string): Promise<EpochSeconds>;
  saw(session: string, at: EpochSeconds): void;
}

/** Other replicas hear of a session's activity so often at most: they may take it for so much older. Seconds. */
const TOLD_EVERY_S = 30;

/**
 * When each session was last active (SP 800-63B §4.2.3, §4.3.3), at the gateway that the user talks to, whichever of its
 * workers that was. A new assertion is activity too: its issuer saw the user. A session that is not remembered, for want
 * of room, only makes its user sign in again.
 */
export class IdleWatch {
  readonly #activity: SharedTable;

  readonly #elsewhere: ActivityElsewhere | undefined;

  /** Bound assertions of sessions that the table has for this very second: asked again, it would say the same. */
  readonly #active = new Set<string>();
  #second: EpochSeconds = 0;

  /** @param activity with values and a window of {@link LONGEST_IDLE_MS} */
  constructor(activity: SharedTable, elsewhere?: ActivityElsewhere) {
    this.#activity = activity;
    this.#elsewhere = elsewhere;
  }

  /**
   * @param level what counts for the limit
   * @throws Denied `assertion.insufficient` with a challenge; Unavailable when other replicas cannot be asked
   */
  async requireActive(user: UserAssertion, now: EpochSeconds): Promise<void> {
    if (now !== this.#second) {
      this.#second = now;
      this.#active.clear();
    }
    if (this.#active.has(user.jws)) return;
    const key = `${user.issuer}\n${user.subject}\n${user.session ?? ''}\n${user.authTime}`;
    const seen = this.#activity.valueOf(key);
    const limit = idleLimitOf(user.level.aal);
    let last = Math.max(seen, user.issuedAt);
    // Asked only when it makes a difference.
    if (now - last > limit && this.#elsewhere !== undefined)
      last = Math.max(last, await this.#elsewhere.lastActive(idOf(key)));
    if (now - last > limit) {
      throw insufficient(`idle for ${now - last} s`, {
        acrValues: user.level.aal > 0 ? [user.acr] : [],
        maxAgeSeconds: limit, // the authentication is at least as old as the last activity: this asks for a new one
        bound: user.boundBy === 'dpop',
      });
    }
    const isKept = seen >= now || this.#activity.setValue(key, now);
    // Others were asked meanwhile: it may be a later second. What nothing binds is shown once.
    if (isKept && now === this.#second && user.boundBy !== 'none') this.#active.add(user.jws);
    if (seen >= now) return;
    if (Math.floor(seen / TOLD_EVERY_S) < Math.floor(now / TOLD_EVERY_S))
      this.#elsewhere?.saw(idOf(key), now);
  }
}

/** Nobody's name goes into a store. */
const idOf = (key: string): string => base64url(sha256(key));
