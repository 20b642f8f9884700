import type { EpochMs } from '../core/clock.ts';
import { ConfigError, Unavailable } from '../core/errors.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';
import type { AttestorKey } from '../device/attested-device.ts';
import type { DeviceClass } from '../device/ear.ts';
import type { AgreementRow, MemberRow, RegistryDocument } from './document.ts';
import type { Attestor, Gateway, IdentityProvider, MessageKey, Service, Subsystem } from './entries.ts';
import { parseDocument } from './parse.ts';
import { BAD, Problems } from './problems.ts';
import { resolve, type Resolved } from './resolve.ts';
import { parseJson, type SignedPayload } from './signature.ts';

const NONE: readonly never[] = Object.freeze([]);

/**
 * Who is on T-Road, as one signed document says: an immutable snapshot. Every look-up is one or two Map accesses with
 * the exact bytes of the identifier.
 */
export class Registry {
  declare protected readonly nominal: never;
  readonly instance: string;
  readonly version: number;
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
  /** SHA-256 of the signed document, base64url. */
  readonly sha256: string;
  /** CA certificates for the link, PEM one after the other: TLS `ca`. */
  readonly linkAnchorsPem: string;
  readonly document: RegistryDocument;
  readonly #resolved: Resolved;

  private constructor(document: RegistryDocument, sha256: string, resolved: Resolved) {
    this.instance = document.instance;
    this.version = document.version;
    this.issuedAt = document.issuedAt;
    this.expiresAt = document.expiresAt;
    this.sha256 = sha256;
    this.linkAnchorsPem = document.linkAnchors.map((pem) => (pem.endsWith('\n') ? pem : `${pem}\n`)).join('');
    this.document = document;
    this.#resolved = resolved;
  }

  /**
   * Reads a document whose signatures were checked. Not a word about time: see `load.ts`.
   * @param reuse an earlier registry, whose key objects are taken over where the key is the same
   * @throws MalformedBytes not JSON; ConfigError with every problem of the content
   */
  static read(payload: SignedPayload, reuse?: Registry): Registry {
    const problems = new Problems();
    const document = parseDocument(parseJson(payload.bytes), problems);
    problems.throwIfAny();
    // Cannot be: BAD without a problem. If it were, refuse.
    if (document === BAD) throw new ConfigError(['registry: not readable']);
    const resolved = resolve(document, problems, reuse === undefined ? undefined : reuse.#resolved);
    problems.throwIfAny();
    return new Registry(document, payload.sha256, resolved);
  }

  /** @throws Unavailable `registry.expired` */
  requireFresh(now: EpochMs): void {
    if (now >= this.expiresAt) {
      throw new Unavailable('registry.expired', `version ${this.version} expired at ${this.expiresAt}`);
    }
  }

  gateway(name: string): Gateway | undefined {
    return this.#resolved.gateways.get(name);
  }

  member(id: MemberId): MemberRow | undefined {
    return this.#resolved.members.get(id);
  }

  subsystem(id: SubsystemId): Subsystem | undefined {
    return this.#resolved.subsystems.get(id);
  }

  service(id: ServiceId): Service | undefined {
    return this.#resolved.services.get(id);
  }

  /** Services of one subsystem, in the order of the document. */
  servicesOf(subsystem: SubsystemId): readonly Service[] {
    return this.#resolved.servicesBySubsystem.get(subsystem) ?? NONE;
  }

  /** Agreements between the two, in force or not: the policy judges dates, switches, methods and paths. */
  agreementsFor(consumer: SubsystemId, service: ServiceId): readonly AgreementRow[] {
    return this.#resolved.agreements.get(consumer)?.get(service) ?? NONE;
  }

  /** The gateway's key of that id if it may be used at that time; undefined when unknown, revoked, too early or late. */
  messageKey(gateway: string, kid: string, at: EpochMs): MessageKey | undefined {
    const key = this.#resolved.gateways.get(gateway)?.messageKeys.get(kid);
    if (key === undefined || key.row.status !== 'active') return undefined;
    return at >= key.row.notBefore && at < key.row.notAfter ? key : undefined;
  }

  /** The issuer as the one that may speak about users of this member; undefined when it may not. */
  identityProvider(member: MemberId, issuer: string): IdentityProvider | undefined {
    return this.#resolved.identityProviders.get(member)?.get(issuer);
  }

  /** Everybody who may speak about users of this member, in the order of the document. */
  identityProvidersOf(member: MemberId): readonly IdentityProvider[] {
    return [...(this.#resolved.identityProviders.get(member)?.values() ?? NONE)];
  }

  /** Every row of an issuer: one for each member it speaks for. */
  identityProvidersNamed(issuer: string): readonly IdentityProvider[] {
    return this.#resolved.byIssuer.get(issuer) ?? NONE;
  }

  /** Keys that may sign what a device of this member is; none when nobody may. */
  attestorKeys(kind: DeviceClass, member: MemberId): readonly AttestorKey[] {
    return this.#resolved.attestorKeys[kind].get(member) ?? NONE;
  }

  /** Every attestation service, in the order of the document. */
  get attestors(): readonly Attestor[] {
    return [...this.#resolved.attestors.values()];
  }

  attestor(issuer: string): Attestor | undefined {
    return this.#resolved.attestors.get(issuer);
  }
}
