import { constants, sign, verify, type KeyObject, type SigningOptions } from 'node:crypto';
import { view } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { P256, P384, type CurveOrder } from './low-s.ts';

interface Row {
  /** Digest name for node:crypto; the scheme's own where there is none. */
  readonly hash: string | null;
  readonly options?: SigningOptions;
  /** @throws MalformedBytes for a key that this algorithm may not be used with */
  requireKey(key: KeyObject): void;
  /** Bytes of every signature by this key. */
  signatureLength(key: KeyObject): number;
  /** ECDSA only: brings s into the lower half, where the verifier wants it. */
  readonly order?: CurveOrder;
}

const fixed = (bytes: number) => (): number => bytes;

function requireType(key: KeyObject, ...types: readonly string[]): void {
  if (!types.includes(key.asymmetricKeyType ?? key.type)) {
    throw new MalformedBytes(
      `${key.asymmetricKeyType ?? key.type} key where ${types.join(' or ')} is needed`,
    );
  }
}

function ecdsa(namedCurve: string, hash: string, order: CurveOrder): Row {
  return {
    hash,
    options: { dsaEncoding: 'ieee-p1363' }, // RFC 9421 §3.3.4: r and s side by side, not DER
    requireKey(key) {
      requireType(key, 'ec');
      const curve = key.asymmetricKeyDetails?.namedCurve;
      if (curve !== namedCurve) throw new MalformedBytes(`curve ${curve} where ${namedCurve} is needed`);
    },
    signatureLength: fixed(2 * order.bytes),
    order,
  };
}

const modulusBits = (key: KeyObject): number => key.asymmetricKeyDetails?.modulusLength ?? 0;

/** RFC 9421 §3.3.1: MGF1 with SHA-512, salt of 64 bytes, exactly. */
const RSA_PSS: Row = {
  hash: 'sha512',
  options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 64 },
  requireKey(key) {
    requireType(key, 'rsa', 'rsa-pss');
    const {
      publicExponent = 0n,
      hashAlgorithm = 'sha512',
      mgf1HashAlgorithm = 'sha512',
      saltLength = 64,
    } = key.asymmetricKeyDetails ?? {};
    // The floor keeps factoring out of reach, the ceiling keeps one verification from costing milliseconds.
    if (modulusBits(key) < 2048 || modulusBits(key) > 4096)
      throw new MalformedBytes(`RSA of ${modulusBits(key)} bits`);
    if (publicExponent < 65_537n) throw new MalformedBytes(`RSA exponent ${publicExponent}`);
    if (hashAlgorithm !== 'sha512' || mgf1HashAlgorithm !== 'sha512' || saltLength > 64) {
      throw new MalformedBytes(`RSA-PSS key for ${hashAlgorithm}, ${mgf1HashAlgorithm}, salt ${saltLength}`);
    }
  },
  signatureLength: (key) => Math.ceil(modulusBits(key) / 8),
};

/**
 * Every algorithm a message key may be registered for, under its name in the HTTP Signature Algorithms registry
 * (`ml-dsa-65`: C2SP httpsig-pq). No HMAC: a shared secret proves nothing to a third party.
 */
const ALGORITHMS = {
  ed25519: {
    hash: null,
    requireKey: (key) => requireType(key, 'ed25519'),
    signatureLength: fixed(64),
  },
  'ecdsa-p256-sha256': ecdsa('prime256v1', 'sha256', P256),
  'ecdsa-p384-sha384': ecdsa('secp384r1', 'sha384', P384),
  'rsa-pss-sha512': RSA_PSS,
  'ml-dsa-65': {
    hash: null,
    requireKey: (key) => requireType(key, 'ml-dsa-65'),
    signatureLength: fixed(3309),
  },
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
  if (key.type === 'secret') throw new MalformedBytes('secret key where a key pair is needed');
  const row: Row = ALGORITHMS[algorithm];
  row.requireKey(key);
  fitting.set(key, algorithm);
}

/**
 * Signs a signature base. ECDSA and RSA-PSS give other bytes every time.
 * @throws MalformedBytes when the key is not for this algorithm
 */
export function signBase(algorithm: AlgorithmName, privateKey: KeyObject, base: string): Uint8Array {
  requireKey(algorithm, privateKey);
  const row: Row = ALGORITHMS[algorithm];
  const signature = sign(row.hash, Buffer.from(base, 'utf8'), { key: privateKey, ...row.options });
  return row.order === undefined ? signature : row.order.lower(signature);
}

/**
 * True when the signature is the key's over the base. One message has one signature: the second spelling that ECDSA
 * allows anybody to make (n − s for s) is refused, as the runtime refuses S ≥ L and keys of small order in Ed25519.
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
  const row: Row = ALGORITHMS[algorithm];
  if (signature.length !== row.signatureLength(publicKey)) return false;
  if (row.order !== undefined && !row.order.isLow(view(signature))) return false;
  return verify(row.hash, Buffer.from(base, 'utf8'), { key: publicKey, ...row.options }, signature);
}
