import { createPublicKey, type KeyObject } from 'node:crypto';
import { base64url, fromBase64url, sha256 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { rowOf, type AssertionAlgorithm } from './algorithm.ts';

/** A public JSON Web Key (RFC 7517): text members only, and only those that its algorithm's keys have. */
export type PublicJwk = Readonly<Record<string, string>>;

/** A key that tokens may be signed with, and the one algorithm it is for. */
export interface TokenKey {
  readonly kid: string;
  readonly algorithm: AssertionAlgorithm;
  readonly publicKey: KeyObject;
}

/** Longer than any member of a key we take: an ML-DSA-65 public key is 2,603 characters. */
const MAX_MEMBER = 2700;

/**
 * Reads a JWK for one algorithm. Private and symmetric members, `x5u`, `x5c` and whatever else is there make it no key of
 * ours; so does a point off the curve or an RSA modulus outside 2048 to 4096 bits.
 * @throws MalformedBytes
 */
export function readPublicJwk(
  algorithm: AssertionAlgorithm,
  value: unknown,
): { jwk: PublicJwk; publicKey: KeyObject } {
  const row = rowOf(algorithm);
  const { kty, fixed, values } = row.jwk;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MalformedBytes('jwk: not an object');
  const members = new Map<string, unknown>(Object.entries(value));
  const jwk: Record<string, string> = { kty, ...fixed };
  for (const name of values) {
    const text = members.get(name);
    if (typeof text !== 'string' || text.length > MAX_MEMBER || fromBase64url(text) === undefined)
      throw new MalformedBytes(`jwk: ${name} is not base64url`);
    jwk[name] = text;
  }
  for (const [name, text] of members) {
    if (!Object.hasOwn(jwk, name) || jwk[name] !== text)
      throw new MalformedBytes(`jwk: not a key for ${algorithm}`);
  }
  if (members.size !== Object.keys(jwk).length) throw new MalformedBytes(`jwk: not a key for ${algorithm}`);
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key: jwk, format: 'jwk' });
  } catch (cause) {
    throw new MalformedBytes('jwk: not a public key', { cause }); // for example a point that is not on the curve
  }
  row.requireStrength(publicKey);
  return { jwk, publicKey };
}

/** RFC 7638 thumbprint of a key that {@link readPublicJwk} gave: SHA-256 over its members in alphabetical order, base64url. */
export function thumbprintOf(jwk: PublicJwk): string {
  const ordered = Object.entries(jwk).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return base64url(sha256(JSON.stringify(Object.fromEntries(ordered))));
}
