import { createHmac } from 'node:crypto';
import { base64url, equalBytes, sha256, utf8 } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';
import { ALG, HASH } from '../tpm/algorithm.ts';
import { parseAttest } from '../tpm/attest.ts';
import { makeCredential } from '../tpm/credential.ts';
import { u16 } from '../tpm/cursor.ts';
import {
  ATTRIBUTE,
  childQualifiedName,
  HIERARCHY,
  parsePublic,
  primaryQualifiedName,
  type PublicArea,
} from '../tpm/public.ts';
import { requireSignature } from '../tpm/signature.ts';
import { RESIDENT } from '../tpm/templates.ts';
import type { DeviceRecord, Devices } from './devices.ts';
import { type EkTrust, TrustedEk } from './ek-chain.ts';
import { Refused, refusing } from './refused.ts';
import { Shape } from './shape.ts';
import { Tickets } from './tickets.ts';

/** A device that is known before it comes: it is active as soon as it is enrolled. */
export interface ExpectedDevice {
  /** SHA-256 of the EK's public key, base64url. */
  readonly ek: string;
  readonly name: string;
  readonly class: DeviceRecord['class'];
  readonly gateway: string | undefined;
}

export interface EnrolmentOptions {
  readonly trust: EkTrust;
  readonly expected: readonly ExpectedDevice[];
  readonly devices: Devices;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
}

/** What both sides have seen, in one hash. */
export function enrolmentTranscript(parts: {
  readonly ekCertificate: Uint8Array;
  readonly ek: Uint8Array;
  readonly ak: Uint8Array;
  readonly bindingKey: Uint8Array;
  readonly name: string;
  readonly enrolment: string;
}): Buffer {
  const { ekCertificate, ek, ak, bindingKey, name, enrolment } = parts;
  const all = [ekCertificate, ek, ak, bindingKey, utf8(name), utf8(enrolment)];
  return sha256('troad-enrol-v1\0', ...all.flatMap((part) => [u16(part.length), part]));
}

/** Shows that the credential was opened, without showing what was in it. */
export const enrolmentProof = (secret: Uint8Array, transcript: Uint8Array): Buffer =>
  createHmac('sha256', secret).update('enrol').update(transcript).digest();

/** What the attestation key signs with the binding key. */
export const certifyData = (transcript: Uint8Array): Buffer => sha256('certify', transcript);

interface Open {
  readonly ek: TrustedEk;
  readonly ak: PublicArea;
  readonly bindingKey: PublicArea;
  readonly name: string;
  /** Of the secret in the credential: the secret itself is forgotten as soon as it is sent. */
  readonly proof: Buffer;
  readonly transcript: Buffer;
}

const OPEN_MS = 60_000;
/** More than the service has connections, each of which begins one at a time. */
const MAX_OPEN = 5000;
export const NAME = /^[a-z0-9][a-z0-9.-]{0,62}$/;

/** Takes devices in: endorsement key to a vendor's root, attestation key into that TPM, binding key beside it. */
export class Enrolment {
  readonly #options: EnrolmentOptions;
  readonly #open = new Tickets<Open>(OPEN_MS, MAX_OPEN, 1);

  constructor(options: EnrolmentOptions) {
    this.#options = options;
  }

  /**
   * First half: everything that can be seen from outside is checked, and a credential is made that only the right TPM
   * opens.
   * @param connection another one begun on it is given up
   * @throws Refused, MalformedBytes
   */
  start(body: Readonly<Record<string, unknown>>, connection: object): object {
    const asked = Shape.receive(body, 'enrolment', (shape) => ({
      ekCertificates: shape.bytesList('ekCertificates', 8192, 7),
      ek: shape.bytes('ek', 1024),
      ak: shape.bytes('ak', 1024),
      bindingKey: shape.bytes('bindingKey', 1024),
      name: shape.text('name', NAME),
    }));
    const { trust, clock, random } = this.#options;
    const [leaf, ...brought] = asked.ekCertificates;
    if (leaf === undefined) throw new Refused('ek.certificate', 'none sent');
    const area = (bytes: Uint8Array): PublicArea =>
      refusing('enrol.key_malformed', ['MalformedBytes'], () => parsePublic(bytes));
    const ek = TrustedEk.verify(leaf, brought, area(asked.ek), trust, clock.now());
    const ak = requireAk(area(asked.ak));
    const bindingKey = requireBindingKey(area(asked.bindingKey));
    this.#requireMayEnrol(ek, ak, asked.name);

    const secret = random(32);
    const ticket = this.#open.issue(connection, clock.monotonic(), random, (enrolment) => {
      const transcript = enrolmentTranscript({ ...asked, ekCertificate: leaf, enrolment });
      return { ek, ak, bindingKey, name: asked.name, proof: enrolmentProof(secret, transcript), transcript };
    });
    const credential = makeCredential(ek.area, ak.name, secret);
    return {
      enrolment: ticket,
      credential: { blob: base64url(credential.blob), secret: base64url(credential.secret) },
    };
  }

  /**
   * Second half: the TPM opened the credential, and its attestation key vouches for the binding key.
   * @throws Refused, MalformedBytes
   */
  async finish(body: Readonly<Record<string, unknown>>): Promise<DeviceRecord> {
    const asked = Shape.receive(body, 'enrolment', (shape) => ({
      enrolment: shape.text('enrolment', /^[A-Za-z0-9_-]{43}$/),
      proof: shape.bytes('proof', 32),
      attest: shape.bytes('attest', 2048),
      signature: shape.bytes('signature', 1024),
    }));
    const { clock, devices, expected } = this.#options;
    const open = this.#open.take(asked.enrolment, clock.monotonic());
    if (open === 'expired') throw new Refused('enrol.expired', 'more than a minute ago');
    if (open === undefined) throw new Refused('enrol.unknown', 'never begun, or finished already');
    if (!equalBytes(asked.proof, open.proof))
      throw new Refused('enrol.proof', 'the credential was not opened');
    requireCertified(open, asked);
    // Again: two enrolments that were open at once have one winner.
    this.#requireMayEnrol(open.ek, open.ak, open.name);
    const before = devices.get(open.ek.fingerprint);
    const known = expected.find(({ ek }) => ek === open.ek.fingerprint);
    const record: DeviceRecord = {
      id: open.ek.fingerprint,
      name: open.name,
      state: known === undefined ? 'pending' : 'active',
      class: known?.class ?? 'endpoint',
      gateway: known?.gateway,
      epoch: (before?.epoch ?? 0) + 1,
      software: open.ek.isSoftware,
      manufacturer: open.ek.manufacturer,
      ak: base64url(open.ak.raw),
      akQualifiedName: base64url(qualifiedName(open.ek.area, open.ak)),
      bindingKey: base64url(open.bindingKey.raw),
      mayReEnrol: false,
      enrolledAt: clock.now(),
      boot: undefined,
      unsafeSince: undefined,
    };
    await devices.put(record);
    return record;
  }

  /** The connection has ended: what was begun on it is given up. */
  release(connection: object): void {
    this.#open.release(connection);
  }

  #requireMayEnrol(ek: TrustedEk, ak: PublicArea, name: string): void {
    const { devices, expected, trust } = this.#options;
    const known = expected.find((device) => device.ek === ek.fingerprint);
    if (trust.allowed.size > 0 && !trust.allowed.has(ek.fingerprint)) {
      throw new Refused('ek.not_allowed', ek.fingerprint);
    }
    if (known !== undefined && known.name !== name)
      throw new Refused('enrol.name_taken', `expected as ${known.name}`);
    const owner = devices.byName(name);
    const reserved = expected.find((device) => device.name === name)?.ek ?? ek.fingerprint;
    if ((owner !== undefined && owner.id !== ek.fingerprint) || reserved !== ek.fingerprint) {
      throw new Refused('enrol.name_taken', `${name} is another TPM`);
    }
    const akOwner = devices.byAk(base64url(ak.raw));
    if (akOwner !== undefined) throw new Refused('enrol.ak_taken', akOwner);
    const before = devices.get(ek.fingerprint);
    if (before !== undefined && !before.mayReEnrol) {
      throw new Refused('enrol.device_exists', `${before.name}: an administrator must allow it`);
    }
  }
}

/** Attributes that a key must have and must not have, on the public area whose Name goes into the credential. */
function hasExactly(area: PublicArea, wanted: number, unwanted: number): boolean {
  return (area.attributes & wanted) === wanted && (area.attributes & unwanted) === 0;
}

const { restricted, sign, decrypt } = ATTRIBUTE;

/**
 * An attestation key: made in the TPM, never leaving it, signing only what the TPM says. Without `restricted` it would
 * sign forged quotes; a software key passes credential activation and is stopped only here.
 */
function requireAk(area: PublicArea): PublicArea {
  if (!hasExactly(area, RESIDENT | restricted | sign, decrypt)) {
    throw new Refused('enrol.ak_attributes', area.attributes.toString(16));
  }
  return requireScheme(area);
}

/** The binding key signs what it is given, so it must not pass for an attestation key. */
function requireBindingKey(area: PublicArea): PublicArea {
  if (!hasExactly(area, RESIDENT | sign, restricted | decrypt)) {
    throw new Refused('enrol.binding_attributes', area.attributes.toString(16));
  }
  const { key, scheme } = area;
  if (
    key.type !== 'ecc' ||
    key.curve.name !== 'P-256' ||
    scheme?.alg !== ALG.ecdsa ||
    scheme.hash !== HASH.sha256
  ) {
    throw new Refused('enrol.ak_scheme', 'a binding key is P-256 with ECDSA and SHA-256');
  }
  return area;
}

function requireScheme(area: PublicArea): PublicArea {
  const { key, scheme, nameAlg } = area;
  const strong = [HASH.sha256, HASH.sha384, HASH.sha512] as const;
  const good =
    scheme !== undefined &&
    scheme.alg !== ALG.oaep &&
    scheme.alg !== ALG.ecdh &&
    strong.some((hash) => hash === scheme.hash) &&
    strong.some((hash) => hash === nameAlg) &&
    (key.type === 'ecc' || key.bits >= 2048);
  if (!good)
    throw new Refused('enrol.ak_scheme', 'needs a fixed scheme with SHA-256 or longer, RSA of 2048 bits');
  return area;
}

const qualifiedName = (ek: PublicArea, area: PublicArea): Buffer =>
  childQualifiedName(primaryQualifiedName(HIERARCHY.endorsement, ek), area);

function requireCertified(
  { ek, ak, bindingKey, transcript }: Open,
  { attest, signature }: { readonly attest: Uint8Array; readonly signature: Uint8Array },
): void {
  const kinds = ['MalformedBytes', 'SignatureMismatch'];
  const certified = refusing('enrol.certify', kinds, () => {
    requireSignature(ak, attest, signature);
    return parseAttest(attest);
  });
  const good =
    certified.type === 'certify' &&
    equalBytes(certified.qualifiedSigner, qualifiedName(ek.area, ak)) &&
    equalBytes(certified.extraData, certifyData(transcript)) &&
    equalBytes(certified.name, bindingKey.name) &&
    equalBytes(certified.qualifiedName, qualifiedName(ek.area, bindingKey));
  if (!good)
    throw new Refused(
      'enrol.certify',
      'not of this binding key, by this attestation key, for this enrolment',
    );
}
