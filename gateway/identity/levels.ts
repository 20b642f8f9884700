import type { EpochSeconds } from '../core/clock.ts';

/** NIST SP 800-63 levels. 0: nothing was claimed, which is less than level 1 and meets no demand. */
export type Assurance = 0 | 1 | 2 | 3;

/** How sure we are of who the user is, that it was the user, and that the statement is genuine (SP 800-63A, B, C). */
export interface Level {
  readonly ial: Assurance;
  readonly aal: Assurance;
  readonly fal: Assurance;
}

/** What an agreement demands of the user assertion. */
export interface AssertionDemand extends Level {
  /** Longest time since the user authenticated, seconds. */
  readonly maxAgeSeconds: number;
  /** `required`: only with proof of possession (DPoP or a client certificate), each request anew. */
  readonly proof: 'required' | 'optional';
}

/** What an issuer and the instance agreed that one `acr` value stands for. */
export interface AcrLevel {
  readonly ial: Assurance;
  readonly aal: Assurance;
}

/**
 * SP 800-63B §4.2.3, §4.3.3: sessions end 12 hours after the authentication, and when nothing happened for 30 minutes at
 * AAL2, for 15 at AAL3.
 */
export const MAX_AUTHENTICATION_AGE_S = 12 * 3600;
const IDLE_S: Readonly<Record<Assurance, number>> = { 0: 1800, 1: 1800, 2: 1800, 3: 900 };

export const idleLimitOf = (aal: Assurance): EpochSeconds => IDLE_S[aal];

// RFC 8176 §2, by factor. Values that are not here say nothing to us.
const KNOWLEDGE = new Set(['pwd', 'pin', 'kba']);
const POSSESSION = new Set(['hwk', 'swk', 'otp', 'sc', 'sms', 'tel', 'pop']);
const INHERENCE = new Set(['fpt', 'face', 'iris', 'retina', 'vbm']);

/**
 * The highest authenticator level that these methods can stand for, whatever the `acr` says. AAL3: a hardware key (`hwk`)
 * that was unlocked by something the user knows or is, or pressed by a user who was present while the issuer vouches for
 * several factors (`user` with `mfa`). A software key (`swk`: a passkey that is synced, or may be) cannot be hardware,
 * and `mfa` alone names no method at all.
 */
export function ceilingOf(amr: readonly string[]): Assurance {
  const has = (factor: ReadonlySet<string>): boolean => amr.some((method) => factor.has(method));
  const knows = has(KNOWLEDGE);
  const is = has(INHERENCE);
  const owns = has(POSSESSION);
  const several = amr.includes('mfa');
  if (amr.includes('hwk') && !amr.includes('swk')) {
    if (amr.includes('pin') || is || (amr.includes('user') && several)) return 3;
  }
  const factors = Number(knows) + Number(is) + Number(owns);
  if (factors >= 2 || (factors === 1 && several)) return 2;
  return factors === 1 ? 1 : 0;
}

const NOTHING: AcrLevel = Object.freeze({ ial: 0, aal: 0 });

/**
 * Level of one authentication: what the agreed `acr` stands for, bounded by what the methods can bear. An `acr` nobody
 * agreed on stands for nothing.
 */
export function levelOf(
  agreed: AcrLevel | undefined,
  amr: readonly string[],
  sent: { readonly encrypted: boolean; readonly bound: boolean },
): Level {
  const { ial, aal } = agreed ?? NOTHING;
  const ceiling = ceilingOf(amr);
  // SP 800-63C-3 §4: signed; signed and encrypted to us; and with it a key that the user shows possession of.
  const fal = !sent.encrypted ? 1 : sent.bound ? 3 : 2;
  return { ial, aal: aal < ceiling ? aal : ceiling, fal };
}
