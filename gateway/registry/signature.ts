// The door of jose: a registry is a JWS in general JSON serialization (RFC 7515 §7.2.1), so that several can sign it.
import { flattenedVerify, GeneralSign } from 'jose';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { base64url, sha256, utf8, view } from '../core/bytes.ts';
import { ConfigError, MalformedBytes, quoted } from '../core/errors.ts';
import { requireFewValues } from '../core/few-values.ts';

/** Says what was signed: no other JWS of the same keys can be passed off as a registry (RFC 8725 §3.11). */
const TYPE = 'troad-registry+jws';
/** Larger than a registry of every agency in the country by a factor of about ten. */
const MAX_BYTES = 128 * 1024 * 1024;
const MAX_SIGNATURES = 16;
/** Of the envelope: each signature is an object of two, and base64url has no comma. */
const MAX_VALUES = 3 * MAX_SIGNATURES + 4;

/** A public key pinned in the configuration. */
interface RootKey {
  readonly kid: string;
  readonly alg: 'EdDSA' | 'ES256';
  readonly key: KeyObject;
}

/** Proof that these bytes were signed by enough of the pinned root keys. */
export class SignedPayload {
  declare protected readonly nominal: never;
  readonly bytes: Uint8Array;
  /** SHA-256 of the bytes, base64url: what the log calls this registry. */
  readonly sha256: string;
  private constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.sha256 = base64url(sha256(bytes));
  }

  /**
   * Signatures by keys we do not know are passed over: while a root key is replaced, a registry carries both. One that
   * names a key we know must verify.
   * @param rootKeys Ed25519 or P-256 public keys
   * @param threshold how many different root keys must have signed
   * @throws MalformedBytes it is no such file; ConfigError it is not signed as it must be
   */
  static async verify(
    file: Uint8Array,
    rootKeys: readonly KeyObject[],
    threshold = 1,
  ): Promise<SignedPayload> {
    const roots = new Map(rootKeys.map((key) => rootKeyOf(key)).map((root) => [root.kid, root]));
    if (threshold < 1 || roots.size < threshold) {
      throw new ConfigError([`registry: ${roots.size} root keys cannot give ${threshold} signatures`]);
    }
    const { payload, signatures } = parseEnvelope(file);
    const signedBy = new Set<string>(); // by key: copies of one signature count once
    let bytes: Uint8Array | undefined;
    for (const { protectedHeader, signature } of signatures) {
      const { kid, alg } = parseHeader(protectedHeader);
      const root = roots.get(kid);
      if (root === undefined) continue;
      if (alg !== root.alg) throw new ConfigError([`registry: key ${kid} does not sign with ${quoted(alg)}`]);
      try {
        const jws = { payload, protected: protectedHeader, signature };
        ({ payload: bytes } = await flattenedVerify(jws, root.key, { algorithms: [root.alg] }));
      } catch {
        throw new ConfigError([`registry: the signature by key ${kid} does not verify`]);
      }
      signedBy.add(kid);
    }
    if (bytes === undefined || signedBy.size < threshold) {
      throw new ConfigError([`registry: signed by ${signedBy.size} of the root keys, needs ${threshold}`]);
    }
    return new SignedPayload(bytes);
  }
}

/** Signs a payload with each key. @returns text of the file */
export async function signPayload(payload: Uint8Array, privateKeys: readonly KeyObject[]): Promise<string> {
  const jws = new GeneralSign(payload);
  for (const privateKey of privateKeys) {
    const { kid, alg } = rootKeyOf(createPublicKey(privateKey));
    jws.addSignature(privateKey).setProtectedHeader({ alg, kid, typ: TYPE });
  }
  return `${JSON.stringify(await jws.sign())}\n`;
}

function rootKeyOf(key: KeyObject): RootKey {
  const spki = key.export({ type: 'spki', format: 'der' });
  const kid = base64url(sha256(spki));
  if (key.asymmetricKeyType === 'ed25519') return { kid, alg: 'EdDSA', key };
  if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return { kid, alg: 'ES256', key };
  throw new ConfigError(['registry: a root key is neither Ed25519 nor P-256']);
}

interface Envelope {
  readonly payload: string;
  readonly signatures: readonly { readonly protectedHeader: string; readonly signature: string }[];
}

function parseEnvelope(file: Uint8Array): Envelope {
  if (file.length > MAX_BYTES) throw new MalformedBytes(`registry: ${file.length} bytes`);
  try {
    requireFewValues(file, MAX_VALUES); // whoever brings the file is not believed yet
  } catch (cause) {
    throw new MalformedBytes('registry: holds more than a payload and its signatures', { cause });
  }
  const { payload, signatures } = record(parseJson(file), ['payload', 'signatures'], 'registry');
  if (typeof payload !== 'string' || !Array.isArray(signatures) || signatures.length > MAX_SIGNATURES) {
    throw new MalformedBytes('registry: not a JWS with a list of signatures');
  }
  return {
    payload,
    signatures: signatures.map((item) => {
      const { protected: protectedHeader, signature } = record(item, ['protected', 'signature'], 'signature');
      if (typeof protectedHeader !== 'string' || typeof signature !== 'string') {
        throw new MalformedBytes('registry: a signature without its header');
      }
      return { protectedHeader, signature };
    }),
  };
}

/** Exactly three parameters. `crit`, `b64`, `jwk`, `jku`, `x5c` and whatever else could lead elsewhere are refused. */
function parseHeader(encoded: string): { kid: string; alg: string } {
  const { kid, alg, typ } = record(
    parseJson(Buffer.from(encoded, 'base64url')),
    ['alg', 'kid', 'typ'],
    'header',
  );
  if (typeof kid !== 'string' || typeof alg !== 'string' || typ !== TYPE) {
    throw new MalformedBytes('registry: header of a signature is not {alg, kid, typ}');
  }
  return { kid, alg };
}

/** An object with exactly these keys. */
function record<K extends string>(raw: unknown, keys: readonly K[], what: string): Record<K, unknown> {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw new MalformedBytes(`registry: ${what} is not an object`);
  }
  const found = Object.keys(raw);
  if (found.length !== keys.length || !keys.every((key) => Object.hasOwn(raw, key))) {
    throw new MalformedBytes(`registry: ${what} must have exactly ${keys.join(', ')}`);
  }
  return raw as Record<K, unknown>; // just checked
}

/** UTF-8 without replacement characters, then JSON. @throws MalformedBytes */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(view(bytes)));
  } catch (cause) {
    throw new MalformedBytes('registry: not JSON in UTF-8', { cause });
  }
}

export const formatJson = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
