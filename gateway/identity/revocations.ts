import type { EpochSeconds } from '../core/clock.ts';
import { Denied, quoted, Unavailable } from '../core/errors.ts';
import { MAX_AUTHENTICATION_AGE_S } from './levels.ts';
import type { NamedDevice, SecurityEvent } from './security-event.ts';
import { userKeyOf, type AssertionClaims } from './claims.ts';

/** What is asked of an authentication here. */
type Authenticated = Pick<AssertionClaims, 'issuer' | 'subject' | 'session' | 'authTime'>;

/** One event as it is kept over a restart. */
export interface Revocation {
  readonly issuer: string;
  readonly subject?: string;
  readonly session?: string;
  /** Kept here, and carried out by those who know machines. */
  readonly device?: NamedDevice;
  readonly at: EpochSeconds;
  readonly jti: string;
}

/** An older authentication is refused for its age: the event has done its work. */
const KEPT_S = MAX_AUTHENTICATION_AGE_S + 60;

/**
 * What identity providers have ended. Whoever authenticated at or before the moment of an event is out; a new
 * authentication is not touched by it.
 */
export class Revocations {
  readonly #capacity: number;
  /** By user or session: the latest moment, and the event that set it. In the order of their coming. */
  readonly #ended = new Map<string, Revocation>();
  /** By issuer and `jti`: when it came, and in that order. */
  readonly #seen = new Map<string, Map<string, EpochSeconds>>();

  /** @param capacity events at one time, of which one issuer gets half at most; only registered ones can add any */
  constructor(capacity = 200_000) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#ended.size;
  }

  /**
   * @returns false when an event of that id was seen before
   * @throws Unavailable `gateway.overloaded`: not taken, to be delivered again
   */
  add(event: SecurityEvent, now: EpochSeconds): boolean {
    this.#forget(now);
    const seen = this.#seenOf(event.issuer);
    if (seen.has(event.jti)) return false;
    let free = this.#capacity;
    for (const { size } of this.#seen.values()) free -= size;
    // No more than it leaves free: however many issuers pour out events, the sign-outs of another one are heard.
    if (seen.size >= free)
      throw new Unavailable('gateway.overloaded', `too many security events of ${quoted(event.issuer)}`);
    seen.set(event.jti, now);
    if (event.effect === 'ended') this.#put(revocationOf(event));
    return true;
  }

  /** What was kept from before a restart, or was verified by another thread. */
  restore(kept: readonly Revocation[], now?: EpochSeconds): void {
    if (now !== undefined) this.#forget(now);
    for (const revocation of kept) {
      this.#seenOf(revocation.issuer).set(revocation.jti, now ?? revocation.at);
      this.#put(revocation);
    }
  }

  /** For keeping. */
  list(): readonly Revocation[] {
    return [...new Set(this.#ended.values())];
  }

  /** @throws Denied `assertion.revoked` */
  requireValid({ claims }: { readonly claims: Authenticated }): void {
    if (this.#ended.size === 0) return;
    const { issuer, subject, session, authTime } = claims;
    const ofUser = this.#ended.get(userKeyOf(issuer, subject));
    const ofSession = this.#ended.get(
      session === undefined ? namelessKey(issuer, subject) : sessionKey(issuer, session),
    );
    if (Math.max(ofUser?.at ?? 0, ofSession?.at ?? 0) >= authTime)
      throw new Denied('assertion.revoked', `authenticated at ${authTime}`);
  }

  #put(revocation: Revocation): void {
    const { issuer, subject, session, device } = revocation;
    if (device !== undefined) return this.#set(deviceKey(device), revocation);
    if (session === undefined) return this.#set(userKeyOf(issuer, subject ?? ''), revocation);
    // With both named, the event is about that one session of the user (SSF 1.0 §3.2: a complex subject is their meet).
    this.#set(sessionKey(issuer, session), revocation);
    if (subject !== undefined) this.#set(namelessKey(issuer, subject), revocation);
  }

  #set(key: string, revocation: Revocation): void {
    const before = this.#ended.get(key);
    if (before !== undefined && before.at >= revocation.at) return;
    this.#ended.delete(key); // behind all others again: none of them waits for it to be forgotten
    this.#ended.set(key, revocation);
  }

  #seenOf(issuer: string): Map<string, EpochSeconds> {
    let seen = this.#seen.get(issuer);
    if (seen === undefined) this.#seen.set(issuer, (seen = new Map()));
    return seen;
  }

  #forget(now: EpochSeconds): void {
    for (const [key, { at }] of this.#ended) {
      if (now - at <= KEPT_S) break;
      this.#ended.delete(key);
    }
    for (const [issuer, seen] of this.#seen) {
      for (const [jti, at] of seen) {
        if (now - at <= KEPT_S) break;
        seen.delete(jti);
      }
      if (seen.size === 0) this.#seen.delete(issuer);
    }
  }
}

const sessionKey = (issuer: string, session: string): string => `s\n${issuer}\n${session}`;
/** A user's sessions that have no `sid`: which of them ended cannot be told, so each did. */
const namelessKey = (issuer: string, subject: string): string => `n\n${issuer}\n${subject}`;
const deviceKey = ({ attestor, name }: NamedDevice): string => `d\n${attestor}\n${name}`;

/** As it is kept, and as other threads hear of it. */
export const revocationOf = ({
  issuer,
  subject,
  session,
  device,
  at,
  jti,
}: Pick<SecurityEvent, 'issuer' | 'subject' | 'session' | 'device' | 'at' | 'jti'>): Revocation => ({
  issuer,
  at,
  jti,
  ...(subject === undefined ? {} : { subject }),
  ...(session === undefined ? {} : { session }),
  ...(device === undefined ? {} : { device }),
});
