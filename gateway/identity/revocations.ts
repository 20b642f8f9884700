import type { EpochSeconds } from '../core/clock.ts';
import { Denied, Unavailable } from '../core/errors.ts';
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
  /** By user or session: the latest moment, and the event that set it. */
  readonly #ended = new Map<string, Revocation>();
  readonly #seen = new Map<string, EpochSeconds>();

  /** @param capacity events at one time; only registered identity providers can add any */
  constructor(capacity = 100_000) {
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
    const id = `${event.issuer}\n${event.jti}`;
    if (this.#seen.has(id)) return false;
    if (this.#seen.size >= this.#capacity)
      throw new Unavailable('gateway.overloaded', 'too many security events');
    this.#seen.set(id, event.issuedAt);
    if (event.effect === 'ended') this.#put(revocationOf(event));
    return true;
  }

  /** What was kept from before a restart, or was verified by another thread. */
  restore(kept: readonly Revocation[], now?: EpochSeconds): void {
    if (now !== undefined) this.#forget(now);
    for (const revocation of kept) {
      this.#seen.set(`${revocation.issuer}\n${revocation.jti}`, revocation.at);
      this.#put(revocation);
    }
  }

  /** For keeping. */
  list(): readonly Revocation[] {
    return [...this.#ended.values()];
  }

  /** @throws Denied `assertion.revoked` */
  requireValid({ claims }: { readonly claims: Authenticated }): void {
    if (this.#ended.size === 0) return;
    const { issuer, subject, session, authTime } = claims;
    const ofUser = this.#ended.get(userKeyOf(issuer, subject));
    const ofSession = session === undefined ? undefined : this.#ended.get(sessionKey(issuer, session));
    if (Math.max(ofUser?.at ?? 0, ofSession?.at ?? 0) >= authTime)
      throw new Denied('assertion.revoked', `authenticated at ${authTime}`);
  }

  #put(revocation: Revocation): void {
    const { issuer, subject, session, device } = revocation;
    // With both named, the event is about that one session of the user (SSF 1.0 §3.2: a complex subject is their meet).
    const ofUser = session === undefined ? userKeyOf(issuer, subject ?? '') : sessionKey(issuer, session);
    const key = device === undefined ? ofUser : deviceKey(device);
    const before = this.#ended.get(key);
    if (before === undefined || before.at < revocation.at) this.#ended.set(key, revocation);
  }

  #forget(now: EpochSeconds): void {
    // Events come seldom, and in the order of their times more or less: from the front until one is young enough.
    for (const [key, { at }] of this.#ended) {
      if (now - at <= KEPT_S) break;
      this.#ended.delete(key);
    }
    for (const [key, at] of this.#seen) {
      if (now - at <= KEPT_S) break;
      this.#seen.delete(key);
    }
  }
}

const sessionKey = (issuer: string, session: string): string => `s\n${issuer}\n${session}`;
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
