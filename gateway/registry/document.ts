import type { EpochMs } from '../core/clock.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';

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
  /**
   * User assertion and device attestation demanded. No other word is accepted as long as nothing would check it: an
   * agreement must not promise what is not done.
   */
  readonly assertion: 'none';
  readonly device: 'none';
  readonly purpose?: string;
}
