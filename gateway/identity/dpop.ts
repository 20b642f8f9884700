import { base64url, equalBytes, sha256 } from '../core/bytes.ts';
import type { EpochSeconds } from '../core/clock.ts';
import { Denied, MalformedBytes, quoted } from '../core/errors.ts';
import { isAssertionAlgorithm } from './algorithm.ts';
import { SKEW_S } from './claims.ts';
import { parseObject, type JsonObject } from './json.ts';
import { readPublicJwk, thumbprintOf, type TokenKey } from './jwk.ts';
import { hasOnly, isSignedBy, parseCompact, type CompactJws } from './jws.ts';

/** How old a proof may be, seconds. */
const MAX_AGE_S = 60;
/** The longest that a proof's `jti` can pass the clock: made by one that is fast, seen again as late as possible. */
export const PROOF_WINDOW_MS = (MAX_AGE_S + SKEW_S) * 1000;
/** An ML-DSA-65 proof carries its key, encoded twice, and its signature: 3,500 and 4,400 characters. */
const MAX_LENGTH = 9 * 1024;

const HEADER: ReadonlySet<string> = new Set(['typ', 'alg', 'jwk']);
const CLAIMS: ReadonlySet<string> = new Set(['jti', 'htm', 'htu', 'iat', 'exp', 'nbf', 'ath', 'nonce']);

/** What a proof must be about. */
export interface ProofTarget {
  readonly method: string;
  /**
   * Scheme and authority as the client called us, lower case, without a default port. Undefined at the provider's
   * gateway: under what name its peer is called is the peer's own affair, and what the peer checked.
   */
  readonly origin: string | undefined;
  /** Raw path. */
  readonly path: string;
  /** SHA-256 of the assertion as the client presented it; asked for when there is a proof. */
  readonly assertionSha256: () => Buffer;
  /** RFC 7638, from the assertion's `cnf.jkt`. */
  readonly thumbprint: string;
  /** Tells whether a nonce is one of ours. Undefined at the provider's gateway, which gives none. */
  readonly isNonce: ((nonce: string) => boolean) | undefined;
  readonly now: EpochSeconds;
}

export interface CheckedProof {
  /** Single use; unique for one key. */
  readonly jti: string;
  /** The proof's header, and the key in it: the next proof of this client has the same. */
  readonly known: KnownProofKey;
}

export interface KnownProofKey {
  readonly encodedHeader: string;
  readonly key: TokenKey;
}

/**
 * Checks a DPoP proof. The numbers are those of RFC 9449 §4.3; that there is one proof (1) was seen when the fields were
 * read, and that it is used once (§11.1) is for the caller to see to.
 * @param known key of an earlier proof for the same assertion, so that it need not be read again
 * @throws Denied `assertion.proof_invalid`, `assertion.proof_nonce`
 */
export function checkProof(
  text: string,
  target: ProofTarget,
  known: KnownProofKey | undefined,
): CheckedProof {
  if (text.length > MAX_LENGTH) throw invalid(`${text.length} characters`);
  const jws = read(() => parseCompact(text)); // (2)
  const key =
    known?.encodedHeader === jws.encodedHeader
      ? known
      : { encodedHeader: jws.encodedHeader, key: keyOf(jws, target) };
  if (!isSignedBy(key.key, jws)) throw invalid('6: signature'); // (6)
  const claims = read(() => parseObject(jws.payload));
  for (const name of Object.keys(claims))
    if (!CLAIMS.has(name)) throw invalid(`3: unknown claim ${quoted(name)}`);
  const jti = textOf(claims, 'jti'); // (3)
  if (jti.length > 200) throw invalid('3: jti is too long');
  if (textOf(claims, 'htm') !== target.method) throw invalid('8: htm is another method'); // (8)
  requireTarget(textOf(claims, 'htu'), target); // (9)
  requireNonce(claims['nonce'], target.isNonce); // (10)
  requireRecent(claims, target.now); // (11)
  const { ath } = claims; // (12)
  if (
    typeof ath !== 'string' ||
    !equalBytes(Buffer.from(ath), Buffer.from(base64url(target.assertionSha256())))
  )
    throw invalid('12: ath is not the hash of the assertion');
  return { jti, known: key };
}

/** The key that the proof carries: only here may a token bring its own, because `cnf.jkt` says which it must be. */
function keyOf({ header }: CompactJws, { thumbprint }: ProofTarget): TokenKey {
  const { typ, alg, jwk } = header;
  if (typ !== 'dpop+jwt') throw invalid('4: typ is not dpop+jwt'); // (4)
  if (typeof alg !== 'string' || !isAssertionAlgorithm(alg) || alg === 'RS256')
    throw invalid('5: alg is not accepted'); // (5)
  if (!hasOnly(header, HEADER)) throw invalid('members beside typ, alg and jwk');
  // (7): private members are among those that a public key does not have.
  const { jwk: publicJwk, publicKey } = read(() => readPublicJwk(alg, jwk), '7: ');
  const shown = thumbprintOf(publicJwk);
  if (shown !== thumbprint) throw invalid(`12: key ${shown} is not the one in cnf.jkt`); // (12)
  return { kid: shown, algorithm: alg, publicKey };
}

function textOf(claims: JsonObject, name: string): string {
  const value = claims[name];
  if (typeof value !== 'string' || value === '') throw invalid(`3: ${name} is not text`);
  return value;
}

/** `htu` without query and fragment; scheme and host know no case (RFC 3986 §6.2.2.1), the path is compared as it is. */
function requireTarget(htu: string, { origin, path }: ProofTarget): void {
  const [, scheme = '', authority = '', rest = ''] = /^([a-z]+):\/\/([^/?#]+)([^?#]*)/i.exec(htu) ?? [];
  if (scheme === '') throw invalid('9: htu is not an absolute URL');
  if ((rest === '' ? '/' : rest) !== path) throw invalid('9: htu has another path');
  if (origin !== undefined && originOf(scheme, authority) !== origin)
    throw invalid('9: htu has another origin');
}

/** Scheme and authority in the one spelling that is compared. */
export function originOf(scheme: string, authority: string): string {
  const lower = scheme.toLowerCase();
  const standard = lower === 'https' ? ':443' : ':80';
  const host = authority.toLowerCase();
  return `${lower}://${host.endsWith(standard) ? host.slice(0, -standard.length) : host}`;
}

function requireNonce(nonce: unknown, isNonce: ProofTarget['isNonce']): void {
  if (isNonce === undefined) return;
  if (typeof nonce !== 'string' || !isNonce(nonce))
    throw new Denied('assertion.proof_nonce', 'absent, or not ours any more');
}

function requireRecent(claims: JsonObject, now: EpochSeconds): void {
  const { iat, exp, nbf } = claims;
  if (typeof iat !== 'number' || !Number.isSafeInteger(iat)) throw invalid('3: iat is not whole seconds');
  if (iat > now + SKEW_S || now - iat > MAX_AGE_S) throw invalid(`11: made ${now - iat} s ago`);
  if (exp !== undefined && !(typeof exp === 'number' && now < exp + SKEW_S)) throw invalid('11: expired');
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf <= now + SKEW_S))
    throw invalid('11: not valid yet');
}

const invalid = (why: string): Denied => new Denied('assertion.proof_invalid', why);

function read<T>(parse: () => T, check = '2: '): T {
  try {
    return parse();
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
    throw new Denied('assertion.proof_invalid', check + cause.message, { cause });
  }
}

/** A proof's `jti` belongs to the key that made it. */
export const proofId = (thumbprint: string, jti: string): string =>
  base64url(sha256(`dpop\n${thumbprint}\n${jti}`));
