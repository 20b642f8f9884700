import { fromBase64url } from '../core/bytes.ts';
import type { EpochSeconds } from '../core/clock.ts';
import { Denied, quoted } from '../core/errors.ts';
import { isObject, type JsonObject } from './json.ts';

/** How far two clocks may differ, seconds. */
export const SKEW_S = 30;
/** Longest life of an assertion that nothing binds: as long as its `jti` has to be remembered. */
export const UNBOUND_LIFETIME_S = 300;

/** What an assertion says, well-formed; docs/identity.md is the table. */
export interface AssertionClaims {
  readonly issuer: string;
  readonly subject: string;
  readonly audience: string;
  readonly issuedAt: EpochSeconds;
  readonly notBefore: EpochSeconds;
  readonly expiresAt: EpochSeconds;
  readonly authTime: EpochSeconds;
  readonly jti: string;
  readonly acr: string;
  readonly amr: readonly string[];
  /** Thumbprint of a key (RFC 9449 §6.1) or a certificate (RFC 8705 §3.1), base64url of 32 bytes; or nothing. */
  readonly binding: Binding;
  readonly session: string | undefined;
}

/** A user in tables that hold others than users, too. */
export const userKeyOf = (issuer: string, subject: string): string => `u\n${issuer}\n${subject}`;

export type Binding =
  { readonly kind: 'dpop' | 'certificate'; readonly thumbprint: string } | { readonly kind: 'none' };

const REQUIRED = ['iss', 'sub', 'aud', 'exp', 'iat', 'auth_time', 'jti', 'acr', 'amr'] as const;
/** Members that providers add to access tokens (RFC 9068 §2.2, OpenID Connect). Texts; nothing is decided by them. */
const TEXTS = ['client_id', 'azp', 'scope', 'sid', 'typ'] as const;
const KNOWN: ReadonlySet<string> = new Set([...REQUIRED, ...TEXTS, 'nbf', 'cnf']);

/** @throws Denied `assertion.claims`, `assertion.issuer`, `assertion.audience`, `assertion.time` */
export function readClaims(payload: JsonObject): AssertionClaims {
  for (const name of Object.keys(payload))
    if (!KNOWN.has(name)) throw new Denied('assertion.claims', `unknown claim ${quoted(name)}`);
  for (const name of TEXTS) if (payload[name] !== undefined) text(payload, name, 1000);
  const issuedAt = time(payload, 'iat');
  return {
    issuer: issuerOf(payload),
    subject: text(payload, 'sub', 255),
    audience: audienceOf(payload),
    issuedAt,
    notBefore: payload['nbf'] === undefined ? issuedAt : time(payload, 'nbf'),
    expiresAt: time(payload, 'exp'),
    authTime: time(payload, 'auth_time'),
    jti: jtiOf(payload),
    acr: word(payload['acr']),
    amr: methods(payload['amr']),
    binding: bindingOf(payload['cnf']),
    session: payload['sid'] === undefined ? undefined : text(payload, 'sid', 255),
  };
}

/** @throws Denied `assertion.issuer` */
export function issuerOf(payload: JsonObject): string {
  const { iss } = payload;
  if (typeof iss !== 'string' || iss === '') throw new Denied('assertion.issuer', 'iss is not one text');
  return iss;
}

/** One text. A list could hold us and others: whoever else may read it could send it on (SP 800-63C §2.3). */
function audienceOf({ aud }: JsonObject): string {
  if (typeof aud !== 'string') throw new Denied('assertion.audience', 'aud is not one text');
  return aud;
}

function text(payload: JsonObject, name: string, maxLength: number): string {
  const value = payload[name];
  if (typeof value !== 'string' || value === '' || value.length > maxLength || /[\p{Cc}\p{Cs}]/u.test(value))
    throw new Denied('assertion.claims', `${name} is not a text of 1 to ${maxLength} characters`);
  return value;
}

/** It is told to the service in a field, and repeated in challenges. */
function word(acr: unknown): string {
  if (typeof acr !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(acr))
    throw new Denied('assertion.claims', 'acr is not one word');
  return acr;
}

function jtiOf(payload: JsonObject): string {
  const jti = text(payload, 'jti', 200);
  if (jti.length < 16) throw new Denied('assertion.claims', 'jti could be guessed');
  return jti;
}

function time(payload: JsonObject, name: string): EpochSeconds {
  const value = payload[name];
  // Text, fractions and numbers beyond a double's whole ones compare in surprising ways.
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new Denied('assertion.time', `${name} is not a whole number of seconds`);
  return value;
}

function methods(amr: unknown): readonly string[] {
  const listed =
    Array.isArray(amr) &&
    amr.length > 0 &&
    amr.length <= 16 &&
    amr.every((method: unknown) => typeof method === 'string' && /^[\x21-\x7e]{1,64}$/.test(method));
  if (!listed) throw new Denied('assertion.claims', 'amr is not a list of 1 to 16 words');
  return Object.freeze([...amr] as string[]); // every one of them is text
}

function bindingOf(cnf: unknown): Binding {
  if (cnf === undefined) return { kind: 'none' };
  const [only, ...more] = isObject(cnf) ? Object.entries(cnf) : [];
  // Two would let each reader believe in another one; a `jwk` or `kid` here is a binding we would not check.
  if (only === undefined || more.length > 0)
    throw new Denied('assertion.claims', 'cnf has not exactly one member');
  const [name, thumbprint] = only;
  const kind = name === 'jkt' ? 'dpop' : name === 'x5t#S256' ? 'certificate' : undefined;
  if (kind === undefined || typeof thumbprint !== 'string' || fromBase64url(thumbprint)?.length !== 32)
    throw new Denied('assertion.claims', 'cnf is neither jkt nor x5t#S256');
  return { kind, thumbprint };
}

/**
 * @param maxLifetimeSeconds of the issuer's row
 * @throws Denied `assertion.time`
 */
export function requireLifetime(claims: AssertionClaims, maxLifetimeSeconds: number): void {
  const { issuedAt, expiresAt, authTime, binding } = claims;
  const longest =
    binding.kind === 'none' ? Math.min(maxLifetimeSeconds, UNBOUND_LIFETIME_S) : maxLifetimeSeconds;
  const lifetime = expiresAt - issuedAt;
  if (lifetime <= 0 || lifetime > longest)
    throw new Denied('assertion.time', `valid for ${lifetime} s, at most ${longest} s are accepted`);
  if (authTime > issuedAt + SKEW_S) throw new Denied('assertion.time', 'auth_time is after iat');
}

/** Every time an assertion is shown, from a cache or not. @throws Denied `assertion.time` */
export function requireInTime(claims: AssertionClaims, now: EpochSeconds): void {
  if (claims.issuedAt > now + SKEW_S) throw new Denied('assertion.time', 'iat is in the future');
  if (claims.authTime > now + SKEW_S) throw new Denied('assertion.time', 'auth_time is in the future');
  if (claims.notBefore > now + SKEW_S) throw new Denied('assertion.time', 'nbf is in the future');
  if (now >= claims.expiresAt + SKEW_S) throw new Denied('assertion.time', 'expired');
}
