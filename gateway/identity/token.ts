import type { EpochSeconds } from '../core/clock.ts';
import { Denied, MalformedBytes, quoted } from '../core/errors.ts';
import type { MemberId } from '../core/ids.ts';
import { isAssertionAlgorithm } from './algorithm.ts';
import {
  issuerOf,
  readClaims,
  requireInTime,
  requireLifetime,
  userKeyOf,
  type AssertionClaims,
} from './claims.ts';
import { parseObject } from './json.ts';
import type { TokenKey } from './jwk.ts';
import { hasOnly, isSignedBy, parseCompact, type CompactJws } from './jws.ts';
import { levelOf, type AcrLevel, type Level } from './levels.ts';

/** RFC 9068 §2.1. An ID token, a logout token or a security event has another type, or none. */
const TYPE = 'at+jwt';
const HEADER: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
/** An ML-DSA-65 assertion with every claim at its longest stays below. */
export const MAX_JWS_LENGTH = 8 * 1024;

/** One identity provider, as one that speaks about the users of one member. */
export interface Issuer {
  readonly issuer: string;
  readonly member: MemberId;
  readonly acr: ReadonlyMap<string, AcrLevel>;
  readonly maxLifetimeSeconds: number;
  /** @throws Unavailable `assertion.keys_stale` when that cannot be told any more */
  key(kid: string): TokenKey | undefined;
}

export interface IssuerDirectory {
  /** The issuer, if the registry lets it speak about users of this member. */
  issuerFor(member: MemberId, issuer: string): Issuer | undefined;
  /** True when it speaks about users of any member. */
  isIssuer(issuer: string): boolean;
}

/** For whom an assertion must be. */
export interface Expectation {
  /** Whose users are spoken about: ours at the consumer's gateway, the peer's at the provider's. */
  readonly member: MemberId;
  /** `https://` and the name of the consumer's gateway: our own, or the one that the peer's live connection proved. */
  readonly audience: string;
  readonly now: EpochSeconds;
}

/**
 * Proof that an issuer of the member said this, for this audience. It is not yet a user's: whoever sent it may have
 * copied it, and its time goes on. {@link UserAssertion.prove} looks at both.
 */
export class VerifiedToken {
  declare protected readonly nominal: never;
  readonly claims: AssertionClaims;
  readonly issuer: Issuer;
  /** As signed: what is relayed, and kept sealed. */
  readonly jws: string;
  /** {@link userKeyOf}, one text for all requests: V8 hashes and flattens a text that was put together each time anew. */
  readonly userKey: string;
  /** What the authentication was worth, by how the assertion came. */
  readonly levels: { readonly plain: Level; readonly encrypted: Level };

  private constructor(jws: string, claims: AssertionClaims, issuer: Issuer) {
    this.jws = jws;
    this.claims = claims;
    this.issuer = issuer;
    this.userKey = userKeyOf(claims.issuer, claims.subject);
    const agreed = issuer.acr.get(claims.acr);
    const bound = claims.binding.kind !== 'none';
    this.levels = {
      plain: levelOf(agreed, claims.amr, { encrypted: false, bound }),
      encrypted: levelOf(agreed, claims.amr, { encrypted: true, bound }),
    };
  }

  /**
   * Header, issuer, key, algorithm, signature, and only then what was signed.
   * @throws Denied `assertion.*`; Unavailable `assertion.keys_stale`
   */
  static verify(jws: string, expected: Expectation, directory: IssuerDirectory): VerifiedToken {
    // Before anything costs: an attacker pays for every byte we look at.
    if (jws.length > MAX_JWS_LENGTH) throw new Denied('assertion.malformed', `${jws.length} characters`);
    const read = parsed(() => parseCompact(jws));
    const { kid, alg } = headerOf(read);
    const payload = parsed(() => parseObject(read.payload));
    const issuer = issuerFor(issuerOf(payload), expected.member, directory);
    const key = issuer.key(kid);
    if (key === undefined)
      throw new Denied('assertion.key_unknown', `${quoted(kid)} of ${quoted(issuer.issuer)}`);
    // The key says what it is used with. The token's word is only compared.
    if (key.algorithm !== alg)
      throw new Denied('assertion.algorithm', `${quoted(alg)} with a key for ${key.algorithm}`);
    if (!isSignedBy(key, read)) throw new Denied('assertion.signature', `key ${quoted(kid)}`);
    const claims = readClaims(payload);
    if (claims.audience !== expected.audience)
      throw new Denied('assertion.audience', `${quoted(claims.audience)} is not ${expected.audience}`);
    requireLifetime(claims, issuer.maxLifetimeSeconds);
    requireInTime(claims, expected.now);
    return new VerifiedToken(jws, claims, issuer);
  }
}

/** Exactly three members: `crit`, `b64`, `jku`, `x5u`, `x5c`, `jwk` and `zip` all lead somewhere we do not go. */
function headerOf({ header }: CompactJws): { readonly kid: string; readonly alg: string } {
  const { typ, alg, kid } = header;
  if (typ !== TYPE) throw new Denied('assertion.type', 'typ is not at+jwt');
  if (typeof alg !== 'string' || !isAssertionAlgorithm(alg))
    throw new Denied(
      'assertion.algorithm',
      `alg ${typeof alg === 'string' ? quoted(alg, 20) : 'is not text'}`,
    );
  if (!hasOnly(header, HEADER)) throw new Denied('assertion.header', 'members beside alg, kid and typ');
  // A key in a map under exactly this text; no path, no query is ever made of it.
  if (typeof kid !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(kid))
    throw new Denied('assertion.key_unknown', 'kid is not 1 to 200 printable characters');
  return { kid, alg };
}

function issuerFor(name: string, member: MemberId, directory: IssuerDirectory): Issuer {
  const issuer = directory.issuerFor(member, name);
  if (issuer !== undefined) return issuer;
  // Known, but for the users of others: a subject means something only together with its issuer.
  if (directory.isIssuer(name))
    throw new Denied('assertion.subject', `${quoted(name)} does not speak for ${member}`);
  throw new Denied('assertion.issuer', `${quoted(name)} is not registered`);
}

function parsed<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
    throw new Denied('assertion.malformed', cause.message, { cause });
  }
}
