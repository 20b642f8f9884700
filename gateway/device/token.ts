// Compact JWS (RFC 7515 §3.1) with ES256 and nothing else: what the attestation service says about devices.
import { sign, verify, type KeyObject } from 'node:crypto';
import { base64url, fromBase64url, utf8 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';

/** What a token is for. Fixed in the header, so that no token of one kind can be used as another (RFC 8725 §3.11). */
export type TokenType = 'ear+jwt' | 'troad-device-revocations+jwt';

/** A key that verifies tokens of one issuer. */
export interface TokenKey {
  readonly issuer: string;
  readonly kid: string;
  /** ECDSA P-256. */
  readonly publicKey: KeyObject;
}

export interface TokenSigner {
  readonly issuer: string;
  readonly kid: string;
  readonly privateKey: KeyObject;
}

/** A token cannot be believed: wrong form, unknown key, wrong signature. */
export class TokenRefused extends Error {
  override readonly name = 'TokenRefused';
}

/** Holds a token of ours many times over; whoever sends more wants us to work. */
const MAX_CHARACTERS: Readonly<Record<TokenType, number>> = {
  'ear+jwt': 8192,
  'troad-device-revocations+jwt': 4 * 1024 * 1024,
};

/** @returns the token; its payload must name the signer's issuer */
export function signToken(type: TokenType, payload: object, signer: TokenSigner): string {
  const header = { alg: 'ES256', kid: signer.kid, typ: type };
  const input = `${encoded(header)}.${encoded(payload)}`;
  const key = { key: signer.privateKey, dsaEncoding: 'ieee-p1363' } as const;
  return `${input}.${base64url(sign('sha256', utf8(input), key))}`;
}

const encoded = (value: object): string => base64url(utf8(JSON.stringify(value)));

/**
 * The payload of a token that one of these keys signed. Exactly three header parameters: whatever could lead elsewhere
 * (`jwk`, `jku`, `x5c`, `crit`, `b64`, `zip`) is refused, and the algorithm is not the token's to choose.
 * @throws TokenRefused
 */
export function openToken<K extends TokenKey>(
  type: TokenType,
  token: string,
  keys: readonly K[],
): { readonly key: K; readonly payload: Readonly<Record<string, unknown>> } {
  if (token.length > MAX_CHARACTERS[type]) throw new TokenRefused(`${token.length} characters`);
  const [protectedHeader = '', body = '', tail = '', ...more] = token.split('.');
  const signature = fromBase64url(tail);
  if (signature?.length !== 64 || more.length > 0) throw new TokenRefused('not a compact JWS of ES256');
  const { alg, kid, typ, ...others } = parsed(protectedHeader);
  if (alg !== 'ES256' || typ !== type || Object.keys(others).length > 0) {
    throw new TokenRefused(`header is not {alg: ES256, kid, typ: ${type}}`);
  }
  const key = keys.find((known) => known.kid === kid);
  if (key === undefined) throw new TokenRefused('signed with a key we do not know');
  const options = { key: key.publicKey, dsaEncoding: 'ieee-p1363' } as const;
  if (!verify('sha256', utf8(`${protectedHeader}.${body}`), options, signature)) {
    throw new TokenRefused('the signature does not verify');
  }
  const payload = parsed(body);
  if (payload['iss'] !== key.issuer) throw new TokenRefused('the key is not one of the issuer it names');
  return { key, payload };
}

/** A JSON object in its one spelling: written again it is the same, so no member stood there twice. */
function parsed(part: string): Readonly<Record<string, unknown>> {
  const bytes = fromBase64url(part);
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
    if (JSON.stringify(value) !== text) throw new MalformedBytes('two spellings');
  } catch (cause) {
    throw new TokenRefused('not JSON as we write it', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TokenRefused('not a JSON object');
  }
  return value as Readonly<Record<string, unknown>>; // just checked
}
