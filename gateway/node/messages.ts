import type { GatewayConfig } from '../config/config.ts';
import type { WorkerLog } from '../config/worker-logs.ts';
import type { DeviceNews } from '../exchange/device-checks.ts';
import type { Ending } from '../exchange/revoke.ts';
import type { Revocation } from '../identity/revocations.ts';
import type { FamilySnapshot } from '../telemetry/metrics.ts';
import type { Credentials } from './credentials.ts';
import type { BundleAndSigners } from './policy-files.ts';
import type { ThreatTables } from '../trust/threat.ts';
import type { SharedMemory } from './shared-memory.ts';

// What the main thread and a worker say to each other. Plain values only; a proof does not survive the way, so a worker
// verifies registry and policy itself.

/** The policy bundle in force. */
export interface PolicyFiles extends BundleAndSigners {
  /** In quarantine, and there is none to return to: it is not run again. */
  readonly apart: boolean;
  /** How it came into force, for the log: `return` is the way back from one that was set apart, `why` says for what. */
  readonly act: 'start' | 'activate' | 'return';
  readonly why: string | null;
  /** Highest version that has been in force here. */
  readonly highest: number;
}

/** A bundle that is evaluated beside it. */
export type ShadowFiles = BundleAndSigners;

/** What a worker begins with. */
export interface WorkerData {
  /** From 1. */
  readonly worker: number;
  readonly config: GatewayConfig;
  readonly log: WorkerLog;
  readonly credentials: Credentials;
  readonly shared: SharedMemory;
  /** Where the worker marks the evaluation under way. */
  readonly mark: SharedArrayBuffer;
  /** The signed file. */
  readonly registry: Uint8Array;
  /** PEM, as they were at the start. */
  readonly rootKeys: readonly string[];
  readonly policy: PolicyFiles;
  readonly shadows: readonly ShadowFiles[];
  readonly ended: readonly Revocation[];
  readonly quarantine: readonly string[];
  readonly threat: ThreatTables;
  /** Signed lists of what attestation services have taken back. */
  readonly deviceLists: readonly string[];
}

export interface WorkerStatus {
  /** Why this worker admits nothing; empty when it does. */
  readonly reasons: readonly string[];
  readonly inFlight: number;
}

/** Questions of the main thread, and the types of their answers. */
export interface Questions {
  readonly status: { readonly ask: object; readonly answer: WorkerStatus };
  readonly metrics: { readonly ask: object; readonly answer: FamilySnapshot[] };
  readonly checkpoint: { readonly ask: object; readonly answer: string };
  /** Answered when this worker decides with it; milliseconds during which its event loop did nothing else. */
  readonly policy: { readonly ask: { readonly policy: PolicyFiles }; readonly answer: number };
  /** Answered when this worker shows and signs with them. */
  readonly credentials: { readonly ask: { readonly credentials: Credentials }; readonly answer: true };
  /** Answered when nothing that the event voids runs here, or will. The number of exchanges broken off. */
  readonly end: { readonly ask: { readonly ending: Ending }; readonly answer: number };
}

export type Question = {
  readonly [Q in keyof Questions]: { readonly kind: Q; readonly id: number } & Questions[Q]['ask'];
}[keyof Questions];

export type ToWorker =
  /** Every worker's log is open, and what was seen before the start is in the shared tables. */
  | { readonly kind: 'open' }
  | { readonly kind: 'registry'; readonly bytes: Uint8Array }
  | { readonly kind: 'shadows'; readonly shadows: readonly ShadowFiles[] }
  | { readonly kind: 'quarantine'; readonly peer: string }
  | { readonly kind: 'threat'; readonly tables: ThreatTables }
  | { readonly kind: 'deviceList'; readonly text: string }
  /** Another worker has seen a newer result of a device. */
  | { readonly kind: 'device'; readonly news: DeviceNews }
  | { readonly kind: 'stop' }
  | Question;

export type FromWorker =
  | { readonly kind: 'lines'; readonly lines: string }
  /** The log is open and recovered. */
  | { readonly kind: 'recovered' }
  | { readonly kind: 'opened'; readonly linkPort: number }
  /** It could not begin. `problems` when the configuration is to blame. */
  | { readonly kind: 'failed'; readonly detail: string; readonly problems?: readonly string[] }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  /** A peer contradicted itself. */
  | { readonly kind: 'quarantine'; readonly peer: string }
  /** A result of a device that was new here: it counts for what runs in the others, too. */
  | { readonly kind: 'device'; readonly news: DeviceNews }
  /** Evaluation after evaluation of this bundle failed. */
  | { readonly kind: 'policyFailing'; readonly bundle: string; readonly detail: string }
  | { readonly kind: 'stopped' };
