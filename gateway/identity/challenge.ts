import type { Field } from '../core/fields.ts';

/** What a client has to come back with. */
export interface Challenge {
  readonly error?:
    'invalid_token' | 'insufficient_user_authentication' | 'use_dpop_nonce' | 'invalid_dpop_proof';
  /** Any of these will do. From the registry, never from a token. */
  readonly acrValues: readonly string[];
  readonly maxAgeSeconds?: number;
  /** A proof of possession is wanted: DPoP's own scheme (RFC 9449 §7.1). */
  readonly bound: boolean;
  /** Fresh nonce for the next proof. */
  readonly nonce?: string;
}

/** `WWW-Authenticate` of RFC 6750 §3 and RFC 9470 §3, and `DPoP-Nonce` of RFC 9449 §8.2. */
export function challengeFields({ error, acrValues, maxAgeSeconds, bound, nonce }: Challenge): Field[] {
  const parameters = [
    ...(error === undefined ? [] : [`error="${error}"`]),
    ...(acrValues.length === 0 ? [] : [`acr_values="${acrValues.join(' ')}"`]),
    ...(maxAgeSeconds === undefined ? [] : [`max_age=${maxAgeSeconds}`]),
    ...(bound ? ['algs="ES256 EdDSA Ed25519 PS256 ML-DSA-65"'] : []),
  ];
  const scheme = bound ? 'DPoP' : 'Bearer';
  const authenticate: Field = ['www-authenticate', [scheme, parameters.join(', ')].join(' ').trim()];
  return nonce === undefined ? [authenticate] : [authenticate, ['dpop-nonce', nonce]];
}
