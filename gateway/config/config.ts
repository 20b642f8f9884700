import type { ThreatIntelConfig } from './threat-intel.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';

/**
 * The configuration of one gateway, checked and frozen. Every path is absolute, every duration in milliseconds, every
 * size in bytes; nothing after the loader checks any of it again. Secrets are named by their file and never held here.
 */
export interface GatewayConfig {
  readonly node: NodeConfig;
  /** Threads that carry exchanges. */
  readonly workers: number;
  readonly listen: {
    /** Names clients may call this gateway by beside `localhost` and the node's own. Lower case, no port. */
    readonly hosts: readonly string[];
    readonly http?: Endpoint;
    readonly https?: HttpsListener;
  };
  readonly link: LinkConfig;
  readonly admin: Endpoint & { readonly tokenFile?: string };
  readonly registry: RegistryConfig;
  readonly keys: {
    readonly message: MessageKey;
    readonly log: { readonly file: string };
    /** What assertions may be encrypted to: more than one while a key is being replaced. */
    readonly assertion: readonly { readonly file: string }[];
  };
  readonly log: LogConfig;
  readonly policy: PolicyConfig;
  readonly subsystems: readonly SubsystemConfig[];
  readonly services: readonly ServiceConfig[];
  readonly signals: SignalsConfig;
  /** Absent: this process is the whole gateway. */
  readonly replicas?: ReplicasConfig;
  readonly threatIntel: ThreatIntelConfig;
  readonly devices: DevicesConfig;
  readonly limits: Limits;
  readonly compat: Compat;
}

export interface PolicyConfig {
  /** Folder of the bundle to begin with. */
  readonly bundle: string;
  /** Folder where the gateway keeps every bundle that decided, by digest. */
  readonly store: string;
  /** PEM files of the Ed25519 public keys that may release a policy. Empty: bundles need no signatures. */
  readonly signers: readonly string[];
  /** How many of them have to sign. */
  readonly threshold: number;
  /** Folders of bundles that are evaluated beside the one in force, and never enforced. */
  readonly shadow: readonly string[];
}

export interface Endpoint {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

export interface NodeConfig {
  /** Registered name of the gateway: the one DNS name in its link certificate. */
  readonly name: string;
  readonly member: MemberId;
  readonly instance: string;
}

export interface HttpsListener extends Endpoint {
  readonly cert: string;
  readonly key: string;
}

export interface LinkConfig extends Endpoint {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** Refuse peers that cannot do X25519MLKEM768. */
  readonly requireHybrid: boolean;
  readonly sessionsPerPeer: number;
}

export interface RegistryConfig {
  readonly file: string;
  /** PEM files of the public keys that may sign the registry. */
  readonly rootKeys: readonly string[];
  readonly reloadMs: number;
}

export interface MessageKey {
  readonly file: string;
  /** Key id in signatures; absent = `<gateway name>#<SHA-256 of the public key>`. */
  readonly kid?: string;
}

export interface LogConfig {
  readonly dir: string;
  readonly segmentBytes: number;
  /** Name of the log in checkpoints, without its epoch. */
  readonly origin: string;
}

export type ClientAccess = 'loopback' | 'https' | 'mtls';

export interface SubsystemConfig {
  readonly id: SubsystemId;
  readonly access: ClientAccess;
  /** SHA-256 of the DER of each accepted client certificate, base64url. */
  readonly certificates: readonly string[];
}

export interface ServiceConfig {
  readonly id: ServiceId;
  /** Base URL without query or fragment; the path after the service code is appended to it. */
  readonly url: string;
  /** Longest wait for the first byte of the answer, and between two bytes of it. */
  readonly timeoutMs: number;
  readonly maxRequestBytes: number;
  readonly maxResponseBytes?: number;
  readonly maxConcurrent: number;
  /** `verified` spools a request until its signature is checked; `stream` holds back only the end. */
  readonly delivery: 'stream' | 'verified';
  /** PEM file of the only authorities accepted for an https service. */
  readonly ca?: string;
}

export interface SignalsConfig {
  readonly push?: Endpoint & { readonly tls?: { readonly cert: string; readonly key: string } };
  readonly poll: readonly { readonly url: string; readonly tokenFile?: string; readonly pauseMs: number }[];
}

export interface ReplicasConfig {
  readonly store: {
    readonly host: string;
    readonly port: number;
    readonly database: number;
    readonly tls: boolean;
  };
  readonly secretFile: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly ca?: string;
  readonly timeoutMs: number;
}

export interface DevicesConfig {
  /** Unix socket of the agent that attests this host. */
  readonly agent?: string;
  /** PEM file of the authorities that certificates of attestation services come from; absent: those of the system. */
  readonly ca?: string;
  /** Pause after an attestation service could not be asked. */
  readonly retryMs: number;
  /** After so long without an answer the operator is told. */
  readonly feedSilenceMs: number;
}

export interface Limits {
  /** A request head must have arrived completely. */
  readonly headMs: number;
  /** Longest silence inside a body, in either direction. */
  readonly bodyIdleMs: number;
  /** Connection and TLS handshake to a peer or a service. */
  readonly connectMs: number;
  /** Wait at the consumer for the head of the answer; longer than any service's timeout. */
  readonly answerMs: number;
  /** A kept-alive client connection without a request. */
  readonly idleConnectionMs: number;
  /** Running exchanges may finish during an orderly stop. */
  readonly drainMs: number;
  /** One evaluation of the policy. */
  readonly policyMs: number;
  readonly maxInFlight: number;
  readonly maxConnections: number;
}

export interface Compat {
  /** Spelling of X-Road error types: CamelCase of the printed specification, snake_case from 7.8. */
  readonly errorCodes: 'camel' | 'snake';
  /** The `x-road-request-hash` of answers: to requests that go whole, to all, to none. */
  readonly requestHash: 'whole' | 'sha512' | 'off';
}
