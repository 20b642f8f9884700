// What look-ups in a registry give: rows joined with what they refer to. Frozen, and one object as long as the registry lives.
import type { KeyObject } from 'node:crypto';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';
import type { AttestorKey } from '../device/attested-device.ts';
import type { TokenKey as DeviceTokenKey } from '../device/token.ts';
import type { TokenKey } from '../identity/jwk.ts';
import type { AcrLevel } from '../identity/levels.ts';
import type {
  AttestorRow,
  IdentityProviderRow,
  LogRow,
  MessageAlgorithm,
  MessageKeyRow,
  Names,
} from './document.ts';

export interface MessageKey {
  readonly kid: string;
  readonly algorithm: MessageAlgorithm;
  readonly publicKey: KeyObject;
  /** SHA-256 of SubjectPublicKeyInfo, base64url. */
  readonly spkiSha256: string;
  /** With validity and status. */
  readonly row: MessageKeyRow;
}

export interface Gateway {
  readonly name: string;
  readonly member: MemberId;
  /** SHA-256 of each SubjectPublicKeyInfo it may use on the link, base64url. */
  readonly linkSpki: readonly string[];
  /** Where and as whom to reach it. */
  readonly target: {
    readonly name: string;
    readonly host: string;
    readonly port: number;
    readonly spki: readonly string[];
  };
  readonly messageKeys: ReadonlyMap<string, MessageKey>;
  readonly logs: readonly LogRow[];
}

export interface Subsystem {
  readonly id: SubsystemId;
  readonly gateway: Gateway;
}

export interface Service {
  readonly id: ServiceId;
  readonly code: string;
  readonly subsystem: SubsystemId;
  readonly gateway: Gateway;
  readonly title: Names;
  readonly type: 'REST' | 'OPENAPI';
}

export interface IdentityProvider {
  readonly issuer: string;
  readonly member: MemberId;
  readonly keys: ReadonlyMap<string, TokenKey>;
  readonly signalKeys: ReadonlyMap<string, TokenKey>;
  readonly acr: ReadonlyMap<string, AcrLevel>;
  readonly maxLifetimeSeconds: number;
  /** SHA-256 of the row, base64url: another one when anything of it changes. */
  readonly revision: string;
  readonly row: IdentityProviderRow;
}

export interface Attestor {
  readonly issuer: string;
  readonly keys: readonly AttestorKey[];
  readonly revocationKeys: readonly DeviceTokenKey[];
  readonly row: AttestorRow;
}
