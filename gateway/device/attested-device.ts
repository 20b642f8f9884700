import { base64url, sha256 } from '../core/bytes.ts';
import { type EpochMs, toSeconds } from '../core/clock.ts';
import { Denied, MalformedBytes } from '../core/errors.ts';
import { bindingMessage, isBound, spkiSha256 } from './binding.ts';
import { type DeviceMinimum, type KeyResidency, RESIDENCIES } from './demand.ts';
import { type EarContent, healthTier, parseEar, tpmTier, type Weaknesses } from './ear.ts';
import type { DeviceRegister } from './register.ts';
import { atLeast, type Tier } from './tier.ts';
import { openToken, type TokenKey, TokenRefused } from './token.ts';
import { compareAge } from './worse.ts';

/** A connection of the device, as TLS proved it. Nothing here may come from a header field. */
export interface DeviceConnection {
  /** SHA-256 of the device's certificate, base64url. */
  readonly certificateSha256: string;
  /** SHA-256 of its SubjectPublicKeyInfo, base64url. */
  readonly spkiSha256: string;
  /** RFC 9266 value of a full TLS 1.3 handshake; undefined where there is none (older TLS, resumed session). */
  readonly exporter: Uint8Array | undefined;
}

/** What a device presents. */
export interface PresentedResult {
  /** The attestation result. */
  readonly token: string;
  /** Signature of the binding key over the connection, base64url; may be missing. */
  readonly binding: string | undefined;
}

/** A key that may sign results about the devices in question. */
export interface AttestorKey extends TokenKey {
  /** Longest life of a result that we believe, seconds. */
  readonly maxLifeSeconds: number;
}

export interface DeviceChecks {
  readonly keys: readonly AttestorKey[];
  readonly register: DeviceRegister;
}

/** A result from the future is refused beyond this: clocks of two machines differ. */
const SKEW_SECONDS = 5;

/**
 * A device whose attestation result was verified and belongs to the connection it came over. Made once per result and
 * connection; {@link requireCurrent} is what a request costs.
 */
abstract class AttestedDevice {
  readonly device: string;
  readonly issuer: string;
  /** Whom the result was issued for. */
  readonly audience: string;
  /** SHA-256 of the certificate that it names, base64url. */
  readonly certificate: string;
  /** As it was presented. */
  readonly token: string;
  /** `jti` of the result. */
  readonly resultId: string;
  /** SHA-256 of the token, base64url: what the record of an exchange refers to. */
  readonly resultSha256: string;
  readonly tpmTier: Tier;
  readonly healthTier: Tier;
  /** Values of the four health items (AR4SI). */
  readonly health: EarContent['health'];
  /** Known weaknesses of its components; undefined: the host does not say. */
  readonly cves: Weaknesses | undefined;
  readonly residency: KeyResidency;
  /** Its TPM is a program: for laboratories only. */
  readonly softwareTpm: boolean;
  readonly policyId: string;
  /** The register had not seen this result before. */
  readonly isNews: boolean;
  readonly issuedAtMs: EpochMs;
  readonly expiresAtMs: EpochMs;
  readonly #content: EarContent;
  readonly #register: DeviceRegister;

  protected constructor({ content, token, residency, isNews }: Verified, register: DeviceRegister) {
    this.device = content.device;
    this.issuer = content.issuer;
    this.audience = content.audience;
    this.certificate = content.certificate;
    this.token = token;
    this.resultId = content.id;
    this.resultSha256 = base64url(sha256(token));
    this.tpmTier = tpmTier(content);
    this.healthTier = healthTier(content);
    this.health = content.health;
    this.cves = content.cves;
    this.residency = residency;
    this.softwareTpm = content.softwareTpm;
    this.policyId = content.policyId;
    this.isNews = isNews;
    this.issuedAtMs = content.issuedAt * 1000;
    this.expiresAtMs = content.expiresAt * 1000;
    this.#content = content;
    this.#register = register;
  }

  /**
   * Before every request, and while long answers run: no cryptography, a few look-ups. There is no grace: when the
   * attestation service is away, results end with their lifetime.
   * @throws Denied `device.expired`, `device.superseded`, `device.revoked`
   */
  requireCurrent(now: EpochMs): void {
    if (now >= this.expiresAtMs) throw new Denied('device.expired', this.device);
    this.#register.requireCurrent(this.#content);
  }

  /** Was it issued after another result of the same device? */
  isNewerThan(other: AttestedDevice): boolean {
    return compareAge(this.#content, other.#content) > 0;
  }

  /** @throws Denied `device.insufficient` */
  requireAtLeast(minimum: DeviceMinimum): void {
    const fits =
      atLeast(this.tpmTier, minimum.tpm) &&
      atLeast(this.healthTier, minimum.health) &&
      RESIDENCIES.indexOf(this.residency) >= RESIDENCIES.indexOf(minimum.residency);
    if (fits) return;
    const state = `${this.tpmTier}, health ${this.healthTier}, key ${this.residency}`;
    throw new Denied('device.insufficient', `${this.device}: ${state}`);
  }
}

/** Proof of the machine that a user or client system sits on. */
export class EndpointDevice extends AttestedDevice {
  declare protected readonly nominal: never;
  private constructor(verified: Verified, register: DeviceRegister) {
    super(verified, register);
  }

  /**
   * @param audience the gateway that the device connects to: at the consumer's gateway itself, at the provider's the
   *   peer, which relays what it saw of the connection
   * @throws Denied `device.result`, `device.expired`, `device.binding`, `device.superseded`, `device.revoked`
   */
  static verify(
    presented: PresentedResult,
    connection: DeviceConnection,
    audience: string,
    checks: DeviceChecks,
    now: EpochMs,
  ): EndpointDevice {
    const verified = verifyResult(presented, connection, audience, checks, now);
    if (verified.content.class !== 'endpoint')
      throw new Denied('device.result', 'not the result of an endpoint');
    return new EndpointDevice(verified, checks.register);
  }
}

/** Proof of the host that a peer gateway runs on. */
export class NodeDevice extends AttestedDevice {
  declare protected readonly nominal: never;
  readonly gateway: string;
  private constructor(verified: Verified, register: DeviceRegister, gateway: string) {
    super(verified, register);
    this.gateway = gateway;
  }

  /**
   * @param peer name that the link's certificate proved: another gateway's host says nothing about this one
   * @param audience our own name
   * @throws Denied as {@link EndpointDevice.verify}
   */
  static verify(
    presented: PresentedResult,
    connection: DeviceConnection,
    peer: string,
    audience: string,
    checks: DeviceChecks,
    now: EpochMs,
  ): NodeDevice {
    const verified = verifyResult(presented, connection, audience, checks, now);
    if (verified.content.gateway !== peer) throw new Denied('device.result', `not the result of ${peer}`);
    return new NodeDevice(verified, checks.register, peer);
  }
}

interface Verified {
  readonly content: EarContent;
  readonly token: string;
  readonly residency: KeyResidency;
  readonly isNews: boolean;
}

function verifyResult(
  { token, binding }: PresentedResult,
  connection: DeviceConnection,
  audience: string,
  checks: DeviceChecks,
  now: EpochMs,
): Verified {
  const { content, maxLifeSeconds } = readResult(token, checks.keys);
  const refuse = (why: string): Denied => new Denied('device.result', why);
  if (content.audience !== audience) throw refuse('issued for another gateway');
  const seconds = toSeconds(now);
  const life = content.expiresAt - content.issuedAt;
  if (life <= 0 || life > maxLifeSeconds) throw refuse(`lives ${life} s`);
  if (content.issuedAt > seconds + SKEW_SECONDS) throw refuse('issued in the future');
  if (seconds >= content.expiresAt) throw new Denied('device.expired', content.device);
  // RFC 8705 §3.1, with the certificate from the TLS layer only: a stolen result does not work from elsewhere.
  if (content.certificate !== connection.certificateSha256) throw refuse('issued for another certificate');
  const residency = residencyOf(content, connection, binding);
  return { content, token, residency, isNews: checks.register.admit(content, seconds) };
}

function readResult(
  token: string,
  keys: readonly AttestorKey[],
): { readonly content: EarContent; readonly maxLifeSeconds: number } {
  try {
    const { key, payload } = openToken('ear+jwt', token, keys);
    return { content: parseEar(payload), maxLifeSeconds: key.maxLifeSeconds };
  } catch (cause) {
    if (!(cause instanceof TokenRefused || cause instanceof MalformedBytes)) throw cause;
    throw new Denied('device.result', cause.message, { cause });
  }
}

function residencyOf(
  { bindingKey, device }: EarContent,
  { certificateSha256, exporter, spkiSha256: shown }: DeviceConnection,
  binding: string | undefined,
): KeyResidency {
  let key: string;
  try {
    key = spkiSha256(bindingKey);
  } catch (cause) {
    throw new Denied('device.result', 'the binding key is no key', { cause });
  }
  if (key === shown) return 'tpm';
  if (binding === undefined) return 'software';
  // A wrong signature is not "none": somebody tried.
  if (exporter === undefined || !isBound(bindingKey, bindingMessage(exporter, certificateSha256), binding)) {
    throw new Denied('device.binding', device);
  }
  return 'bound';
}
