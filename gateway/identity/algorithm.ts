import { constants, verify, type KeyObject } from 'node:crypto';
import { MalformedBytes } from '../core/errors.ts';

interface Row {
  /** Members a public JWK of this algorithm has, no others (RFC 7518 §6, RFC 8037 §2, ML-DSA for JOSE). */
  readonly jwk: {
    readonly kty: string;
    readonly fixed: Readonly<Record<string, string>>;
    readonly values: readonly string[];
  };
  /** @throws MalformedBytes for a key of the right type that is too weak or too large */
  requireStrength(key: KeyObject): void;
  verify(input: Buffer, key: KeyObject, signature: Buffer): boolean;
}

const P256_SIZE = 32;

/**
 * r and s side by side (RFC 7518 §3.4) to DER. The runtime can convert by an option, but a verification then takes 119
 * instead of 85 µs. Both values of s are taken: JOSE signers do not choose the lower, and what is used once is the `jti`.
 */
function p1363ToDer(signature: Buffer): Buffer | undefined {
  if (signature.length !== 2 * P256_SIZE) return undefined;
  const body = Buffer.concat([
    integer(signature.subarray(0, P256_SIZE)),
    integer(signature.subarray(P256_SIZE)),
  ]);
  return Buffer.concat([Buffer.of(0x30, body.length), body]);
}

/** DER INTEGER (X.690 §8.3) of an unsigned number of at most 127 bytes. */
function integer(bytes: Buffer): Buffer {
  let first = 0;
  while (first < bytes.length - 1 && bytes[first] === 0) first++;
  const digits = bytes.subarray(first);
  const padded = digits.readUInt8(0) >= 0x80;
  return Buffer.concat([Buffer.of(0x02, digits.length + Number(padded), ...(padded ? [0] : [])), digits]);
}

/** The floor keeps factoring out of reach, the ceiling keeps one verification from costing milliseconds. */
function requireRsaStrength(key: KeyObject): void {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (modulusLength < 2048 || modulusLength > 4096) throw new MalformedBytes(`RSA of ${modulusLength} bits`);
  if (publicExponent < 65_537n) throw new MalformedBytes(`RSA exponent ${publicExponent}`);
}

const RSA = { kty: 'RSA', fixed: {}, values: ['n', 'e'] } as const;
const edwards: Row = {
  jwk: { kty: 'OKP', fixed: { crv: 'Ed25519' }, values: ['x'] },
  requireStrength: () => undefined,
  verify: (input, key, signature) => signature.length === 64 && verify(null, input, key, signature),
};

/**
 * Every algorithm an assertion, a proof or a security event may be signed with (RFC 7518 §3.1, RFC 8037, RFC 9864,
 * ML-DSA for JOSE). Nothing symmetric, no `none`: a name that is not here does not lead to code. Which of them a token must use
 * is said by its key, never by the token.
 */
const ALGORITHMS = {
  ES256: {
    jwk: { kty: 'EC', fixed: { crv: 'P-256' }, values: ['x', 'y'] },
    requireStrength: () => undefined,
    verify(input, key, signature) {
      const der = p1363ToDer(signature);
      return der !== undefined && verify('sha256', input, key, der);
    },
  },
  EdDSA: edwards,
  Ed25519: edwards,
  PS256: {
    jwk: RSA,
    requireStrength: requireRsaStrength,
    verify: (input, key, signature) =>
      verify('sha256', input, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }, signature),
  },
  RS256: {
    jwk: RSA,
    requireStrength: requireRsaStrength,
    verify: (input, key, signature) => verify('sha256', input, key, signature),
  },
  'ML-DSA-65': {
    jwk: { kty: 'AKP', fixed: { alg: 'ML-DSA-65' }, values: ['pub'] },
    requireStrength: () => undefined,
    verify: (input, key, signature) => signature.length === 3309 && verify(null, input, key, signature),
  },
} as const satisfies Record<string, Row>;

export type AssertionAlgorithm = keyof typeof ALGORITHMS;
export const ASSERTION_ALGORITHMS: readonly AssertionAlgorithm[] = Object.freeze(
  Object.keys(ALGORITHMS) as AssertionAlgorithm[], // the keys of a literal are its keys
);

export const isAssertionAlgorithm = (text: string): text is AssertionAlgorithm =>
  Object.hasOwn(ALGORITHMS, text);

export const rowOf = (algorithm: AssertionAlgorithm): Row => ALGORITHMS[algorithm];
