import type { EpochMs } from '../core/clock.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';
import type { DeviceDemand } from '../device/demand.ts';
import type { DeviceClass } from '../device/ear.ts';
import type { AssertionAlgorithm } from '../identity/algorithm.ts';
import type { PublicJwk } from '../identity/jwk.ts';
import type { Assurance, AssertionDemand } from '../identity/levels.ts';

export const FORMAT = 'troad-registry-v1';

/** The signed directory of an instance, as it is written. Parsed by `parse.ts`; looked things up in by `registry.ts`. */
export interface RegistryDocument {
  readonly format: typeof FORMAT;
  /** First part of every identifier, for example `TW`. */
  readonly instance: string;
  /** Grows by at least one with every change. */
  readonly version: number;
  readonly issuedAt: EpochMs;
  /** From here on nothing is carried on its word. */
  readonly expiresAt: EpochMs;
  readonly members: readonly MemberRow[];
  readonly gateways: readonly GatewayRow[];
  readonly subsystems: readonly SubsystemRow[];
  readonly services: readonly ServiceRow[];
  readonly agreements: readonly AgreementRow[];
  /** CA certificates (PEM) that link certificates must chain to. */
  readonly linkAnchors: readonly string[];
  /** Who may say who a user is. Absent: nobody, and no agreement can demand an assertion. */
  readonly identityProviders?: readonly IdentityProviderRow[];
  /** Who may say what a device is. Absent: nobody, and no agreement can demand a device. */
  readonly attestors?: readonly AttestorRow[];
}

/** A name for people to read. */
export interface Names {
  readonly en: string;
  readonly zh: string;
}

export interface MemberRow {
  readonly id: MemberId;
  readonly name: Names;
}

export interface GatewayRow {
  /** DNS name, lower case: the one name in its link certificate. */
  readonly name: string;
  readonly member: MemberId;
  /** `host:port` of its link listener. */
  readonly address: string;
  /** SHA-256 of SubjectPublicKeyInfo, base64url. Two while a key is being replaced. */
  readonly link: readonly { readonly spki: string }[];
  readonly messageKeys: readonly MessageKeyRow[];
  readonly logs: readonly LogRow[];
}

export type MessageAlgorithm = 'ed25519' | 'ecdsa-p256-sha256' | 'rsa-pss-sha512';

export interface MessageKeyRow {
  /** `<gateway name>#<base64url SHA-256 of SubjectPublicKeyInfo>`: the same key cannot stand under two ids. */
  readonly kid: string;
  readonly alg: MessageAlgorithm;
  /** SubjectPublicKeyInfo, DER, base64. */
  readonly spki: string;
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;
  readonly status: 'active' | 'revoked';
}

export interface LogRow {
  /** C2SP origin; begins with the gateway's name. */
  readonly origin: string;
  /** C2SP signed-note verifier key, named like the origin. */
  readonly vkey: string;
}

export interface SubsystemRow {
  readonly id: SubsystemId;
  readonly gateway: string;
}

export interface ServiceRow {
  readonly id: ServiceId;
  readonly title: Names;
  readonly type: 'REST' | 'OPENAPI';
}

/** Leave for one consumer subsystem to use one service. */
export interface AgreementRow {
  readonly id: string;
  /** How much is at stake, in a word of the policy's data. Absent: `general`. */
  readonly class?: string;
  readonly consumer: SubsystemId;
  readonly service: ServiceId;
  /** HTTP methods; `*` alone for all. */
  readonly methods: readonly string[];
  /** Patterns over the raw path after the service code: `*` one segment, `**` as the last one any rest. */
  readonly paths: readonly string[];
  readonly fromMs: EpochMs;
  readonly untilMs: EpochMs;
  readonly enabledByProvider: boolean;
  readonly enabledByConsumer: boolean;
  /** What is demanded of the user assertion; `none`, in as many words, where systems talk without a user. */
  readonly assertion: 'none' | AssertionDemand;
  /** What is demanded of the machines; `none`, in as many words, where any machine will do. */
  readonly device: 'none' | DeviceDemand;
  readonly purpose?: string;
}

/** Leave for one issuer to speak about the users of one member. An issuer of several members has a row for each. */
export interface IdentityProviderRow {
  /** What stands in `iss`, byte for byte: an https URL. */
  readonly issuer: string;
  readonly member: MemberId;
  /** Keys that sign assertions. May be empty where `jwks` is set. */
  readonly keys: readonly IdentityKeyRow[];
  /** Where gateways fetch further keys. The only URL that is ever asked; nothing in a token leads anywhere. */
  readonly jwks?: { readonly url: string; readonly algorithms: readonly AssertionAlgorithm[] };
  /** What was agreed that each `acr` value stands for. A value that is not here stands for nothing. */
  readonly acr: readonly AcrRow[];
  /** Longest `exp` − `iat` that is accepted, at most 3600. */
  readonly maxLifetimeSeconds: number;
  /** Keys that sign shared signals (RFC 8417). Absent: those of `keys`. Here RS256 is common, as CAEP asks for it. */
  readonly signalKeys?: readonly IdentityKeyRow[];
}

export interface IdentityKeyRow {
  readonly kid: string;
  /** The only algorithm this key may be used with. */
  readonly alg: AssertionAlgorithm;
  /** The public members and no others: `kty`, `crv`, `x`, `y` for ES256 (RFC 7518 §6). */
  readonly jwk: PublicJwk;
}

export interface AcrRow {
  readonly value: string;
  readonly ial: Assurance;
  /** 3 counts only together with `amr` that names a hardware key. */
  readonly aal: Assurance;
}

/** Leave for one attestation service to speak about devices. */
export interface AttestorRow {
  /** What stands in `iss` of its results, byte for byte. */
  readonly issuer: string;
  /** Members whose devices it may speak about. */
  readonly members: readonly MemberId[];
  readonly classes: readonly DeviceClass[];
  /** Keys that sign results. */
  readonly keys: readonly AttestorKeyRow[];
  /** Longest `exp` − `iat` that is accepted, 5 to 300. */
  readonly maxLifetimeSeconds: number;
  /** Where gateways ask what it has taken back. Absent: a result counts until it expires. */
  readonly revocations?: {
    readonly url: string;
    /** Keys that sign the list. Absent: those of `keys`. */
    readonly keys?: readonly AttestorKeyRow[];
  };
}

/** A P-256 key: attestation services sign with ES256 and nothing else. */
export interface AttestorKeyRow {
  readonly kid: string;
  /** `kty`, `crv`, `x`, `y` (RFC 7518 §6.2.1) and no others. */
  readonly jwk: PublicJwk;
}
