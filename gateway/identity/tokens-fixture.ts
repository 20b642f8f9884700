/** An identity provider for tests: real keys, and tokens that jose signs, so that what we read is what others write. */
import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto';
import { CompactEncrypt, SignJWT } from 'jose';
import { base64url, sha256 } from '../core/bytes.ts';
import type { MemberId } from '../core/ids.ts';
import type { AssertionAlgorithm } from './algorithm.ts';
import { readPublicJwk, thumbprintOf, type PublicJwk, type TokenKey } from './jwk.ts';
import type { AcrLevel } from './levels.ts';
import { VerifiedToken, type Expectation, type Issuer, type IssuerDirectory } from './token.ts';

export const NOW = 1_795_305_600;
export const ISSUER = 'https://idp.a11.example';
export const AUDIENCE = 'https://gw.a11.tw.troad.example';
export const MEMBER = 'TW/GOV/A11' as MemberId; // spelled as core/ids.ts would accept it
export const EXPECTED: Expectation = { member: MEMBER, audience: AUDIENCE, now: NOW };

export interface KeyPair {
  readonly kid: string;
  readonly algorithm: AssertionAlgorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: PublicJwk;
}

function generate(algorithm: AssertionAlgorithm): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (algorithm) {
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'EdDSA':
    case 'Ed25519':
      return generateKeyPairSync('ed25519');
    case 'PS256':
    case 'RS256':
      return generateKeyPairSync('rsa', { modulusLength: 2048 });
    case 'ML-DSA-65':
      return generateKeyPairSync('ml-dsa-65');
  }
}

export function keyPair(algorithm: AssertionAlgorithm, kid = `${algorithm}-1`): KeyPair {
  const { privateKey, publicKey } = generate(algorithm);
  const { jwk } = readPublicJwk(algorithm, publicKey.export({ format: 'jwk' }));
  return { kid, algorithm, privateKey, publicKey, jwk };
}

export const KEY = keyPair('ES256');

export const issuerWith = (
  keys: readonly TokenKey[] = [KEY],
  changes: Partial<Omit<Issuer, 'key'>> = {},
): Issuer => ({
  issuer: ISSUER,
  member: MEMBER,
  acr: new Map<string, AcrLevel>([
    ['aal1', { ial: 2, aal: 1 }],
    ['aal2', { ial: 2, aal: 2 }],
    ['aal3', { ial: 2, aal: 3 }],
  ]),
  maxLifetimeSeconds: 3600,
  key: (kid) => keys.find((key) => key.kid === kid),
  ...changes,
});

export const directoryOf = (...issuers: readonly Issuer[]): IssuerDirectory => ({
  issuerFor: (member, name) => issuers.find((issuer) => issuer.member === member && issuer.issuer === name),
  isIssuer: (name) => issuers.some(({ issuer }) => issuer === name),
});

export const DIRECTORY = directoryOf(issuerWith());

export const claimsOf = (changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => {
  const claims: Record<string, unknown> = {
    iss: ISSUER,
    sub: 'u-4711',
    aud: AUDIENCE,
    iat: NOW - 10,
    exp: NOW + 200,
    auth_time: NOW - 60,
    jti: 'c3f0a1b2c3d4e5f60718',
    acr: 'aal3',
    amr: ['hwk', 'pin'],
    ...changes,
  };
  for (const [name, value] of Object.entries(claims)) if (value === undefined) delete claims[name];
  return claims;
};

/** A good assertion with changes; `undefined` takes a member away. */
export function assertion(
  changes: Readonly<Record<string, unknown>> = {},
  { key = KEY, header = {} }: { key?: KeyPair; header?: Readonly<Record<string, unknown>> } = {},
): Promise<string> {
  const protectedHeader = { alg: key.algorithm, kid: key.kid, typ: 'at+jwt', ...header };
  return new SignJWT(claimsOf(changes)).setProtectedHeader(protectedHeader).sign(key.privateKey);
}

/** Signs any two texts: what no library would make. */
export function rawJws(
  header: string | object,
  payload: string | object,
  sign: (input: Buffer) => Uint8Array,
): string {
  const part = (value: string | object): string =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  const input = `${part(header)}.${part(payload)}`;
  return `${input}.${base64url(sign(Buffer.from(input)))}`;
}

export const verified = async (changes: Readonly<Record<string, unknown>> = {}): Promise<VerifiedToken> =>
  VerifiedToken.verify(await assertion(changes), EXPECTED, DIRECTORY);

export function encryptTo(
  publicKey: KeyObject,
  jws: string,
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  return new CompactEncrypt(Buffer.from(jws))
    .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', cty: 'at+jwt', ...header })
    .encrypt(publicKey);
}

export const ORIGIN = 'https://gw.a11.tw.troad.example:8443';
export const PATH = '/r1/TW/GOV/B07/housing/registry/people/7';
export const CLIENT_KEY = keyPair('ES256');
export const THUMBPRINT = thumbprintOf(CLIENT_KEY.jwk);

/** A good DPoP proof for {@link PATH} with changes. */
export function proofFor(
  presented: string,
  changes: Readonly<Record<string, unknown>> = {},
  { key = CLIENT_KEY, header = {} }: { key?: KeyPair; header?: Readonly<Record<string, unknown>> } = {},
): Promise<string> {
  const claims: Record<string, unknown> = {
    jti: base64url(randomBytes(16)),
    htm: 'GET',
    htu: ORIGIN + PATH,
    iat: NOW,
    ath: base64url(sha256(presented)),
    nonce: 'nonce-1',
    ...changes,
  };
  for (const [name, value] of Object.entries(claims)) if (value === undefined) delete claims[name];
  const protectedHeader = { typ: 'dpop+jwt', alg: key.algorithm, jwk: key.jwk, ...header };
  return new SignJWT(claims).setProtectedHeader(protectedHeader).sign(key.privateKey);
}
