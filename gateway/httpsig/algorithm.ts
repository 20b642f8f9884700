import { Buffer } from 'node:buffer';
import { constants, sign, verify, type KeyObject } from 'node:crypto';
import { view } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { P256, P384, type SignatureForm } from './ecdsa.ts';

// A key goes to `node:crypto` bare wherever it can: wrapped in an options object, each call costs 12 µs more.

interface Row {
  /** @throws MalformedBytes for a key that this algorithm may not be used with */
  requireKey(key: KeyObject): void;
  sign(base: Buffer, key: KeyObject): Buffer;
  /** False for any bytes that are not the signature, of whatever length. */
  verify(base: Buffer, key: KeyObject, signature: Buffer): boolean;
  /** As other programs read it from a file. Undefined for what cannot be a signature. */
  exported(signature: Buffer): Buffer | undefined;
}

function requireType(key: KeyObject, ...types: readonly string[]): void {
  const type = key.asymmetricKeyType ?? key.type;
  if (!types.includes(type)) throw new MalformedBytes(`${type} key where ${types.join(' or ')} is needed`);
}

/** Algorithms that hash in their own way. Signatures of another length are refused by the runtime. */
const selfContained = (type: string): Row => ({
  requireKey: (key) => requireType(key, type),
  sign: (base, key) => sign(null, base, key),
  verify: (base, key, signature) => verify(null, base, key, signature),
  exported: (signature) => signature,
});

const ecdsa = (namedCurve: string, hash: string, form: SignatureForm): Row => ({
  requireKey(key) {
    requireType(key, 'ec');
    const curve = key.asymmetricKeyDetails?.namedCurve;
    if (curve !== namedCurve) throw new MalformedBytes(`curve ${curve} where ${namedCurve} is needed`);
  },
  sign: (base, key) => form.fromDer(sign(hash, base, key)),
  verify(base, key, signature) {
    const der = form.toDer(signature);
    return der !== undefined && verify(hash, base, key, der);
  },
  exported: (signature) => form.toDer(signature),
});

/** RFC 9421 §3.3.1: MGF1 with SHA-512 and a salt of exactly 64 bytes. */
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 64 };

const rsaPss: Row = {
  requireKey(key) {
    requireType(key, 'rsa', 'rsa-pss');
    const details = { modulusLength: 0, publicExponent: 0n, ...key.asymmetricKeyDetails };
    const { modulusLength, publicExponent } = details;
    // The floor keeps factoring out of reach, the ceiling keeps one verification from costing milliseconds.
    if (modulusLength < 2048 || modulusLength > 4096)
      throw new MalformedBytes(`RSA of ${modulusLength} bits`);
    if (publicExponent < 65_537n) throw new MalformedBytes(`RSA exponent ${publicExponent}`);
    // Keys of the type rsa-pss may be bound to parameters (RFC 4055 §3.1).
    const { hashAlgorithm = 'sha512', mgf1HashAlgorithm = 'sha512', saltLength = 64 } = details;
    if (hashAlgorithm !== 'sha512' || mgf1HashAlgorithm !== 'sha512' || saltLength > 64) {
      throw new MalformedBytes(`RSA-PSS key for ${hashAlgorithm}, ${mgf1HashAlgorithm}, salt ${saltLength}`);
    }
  },
  sign: (base, key) => sign('sha512', base, { key, ...PSS }),
  // RFC 8017 §8.1.2: as long as the modulus. The runtime also takes one whose leading zeros are missing, a second spelling.
  verify: (base, key, signature) =>
    signature.length === Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8) &&
    verify('sha512', base, { key, ...PSS }, signature),
  exported: (signature) => signature,
};

/**
 * Every algorithm a message key may be registered for, under its name in the HTTP Signature Algorithms registry
 * (`ml-dsa-65`: C2SP httpsig-pq). No HMAC: a shared secret proves nothing to a third party.
 */
const ALGORITHMS = {
  ed25519: selfContained('ed25519'),
  'ecdsa-p256-sha256': ecdsa('prime256v1', 'sha256', P256),
  'ecdsa-p384-sha384': ecdsa('secp384r1', 'sha384', P384),
  'rsa-pss-sha512': rsaPss,
  'ml-dsa-65': selfContained('ml-dsa-65'),
} as const satisfies Record<string, Row>;

export type AlgorithmName = keyof typeof ALGORITHMS;
export const ALGORITHM_NAMES: readonly AlgorithmName[] = Object.freeze(
  Object.keys(ALGORITHMS) as AlgorithmName[], // the keys of a literal are its keys
);

export const isAlgorithmName = (text: string): text is AlgorithmName => Object.hasOwn(ALGORITHMS, text);

/** Keys are few and live long: each is looked at once. */
const fitting = new WeakMap<KeyObject, AlgorithmName>();

/**
 * Checks that a key, public or private, may be used with an algorithm: type, curve, size. Call it where keys are
 * registered; signing and verifying insist on it too.
 * @throws MalformedBytes
 */
export function requireKey(algorithm: AlgorithmName, key: KeyObject): void {
  if (fitting.get(key) === algorithm) return;
  ALGORITHMS[algorithm].requireKey(key);
  fitting.set(key, algorithm);
}

/**
 * Signs a signature base. ECDSA, RSA-PSS and ML-DSA give other bytes every time.
 * @throws MalformedBytes when the key is not for this algorithm
 */
export function signBase(algorithm: AlgorithmName, privateKey: KeyObject, base: string): Uint8Array {
  requireKey(algorithm, privateKey);
  return ALGORITHMS[algorithm].sign(Buffer.from(base, 'utf8'), privateKey);
}

/**
 * True when the signature is the key's over the base. One message has one signature: the second spelling that ECDSA
 * allows anybody to make is refused, so is RSA's without its leading zeros, as the
 * runtime refuses S ≥ L and keys of small order in Ed25519.
 * @param algorithm what the registry says about the key, never what the message says
 * @throws MalformedBytes when the key is not for this algorithm; never because of the signature
 */
export function verifyBase(
  algorithm: AlgorithmName,
  publicKey: KeyObject,
  base: string,
  signature: Uint8Array,
): boolean {
  requireKey(algorithm, publicKey);
  return ALGORITHMS[algorithm].verify(Buffer.from(base, 'utf8'), publicKey, view(signature));
}

/**
 * A signature as OpenSSL and other programs read it from a file: ECDSA's in DER (RFC 3279 §2.2.3), the others as they
 * are on the wire.
 * @throws MalformedBytes for an ECDSA signature that {@link verifyBase} would refuse for its form
 */
export function exportSignature(algorithm: AlgorithmName, signature: Uint8Array): Uint8Array {
  const exported = ALGORITHMS[algorithm].exported(view(signature));
  if (exported === undefined) throw new MalformedBytes(`not the form of an ${algorithm} signature`);
  return exported;
}
