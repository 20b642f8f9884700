import type { Clock } from '../core/clock.ts';
import type { RefusalCode, XRoadSpelling } from '../core/refusals.ts';
import type { ExchangeId, MemberId, ServiceId } from '../core/ids.ts';
import type { EvidenceLog } from '../evidence/log.ts';
import type { ExchangeFacts } from '../evidence/record.ts';
import type { SubsystemDirectory } from '../identity/client-system.ts';
import type { PeerDirectory } from '../identity/peer.ts';
import type { LinkClient } from '../link/link.ts';
import type { ReplayTable } from '../message/replay-table.ts';
import type { SigningQueue } from '../message/signing-queue.ts';
import type { SharedOnce } from '../message/single-use.ts';
import type { VerifierContext } from '../message/verification.ts';
import type { Registry } from '../registry/registry.ts';
import type { ServiceHop } from '../service/hop.ts';
import type { Decision } from '../trust/decision.ts';
import type { Evaluator } from '../trust/grant.ts';
import type { CallerSignals } from '../trust/signals.ts';
import type { DeviceTrust } from './device-checks.ts';
import type { ThreatIntel } from '../trust/threat.ts';
import type { RunningGrants } from './running-grants.ts';
import type { UserChecks } from './user-checks.ts';

/** Everything the message path needs, wired by hand in `node.ts`. */
export interface Gateway {
  /** Registered name: SAN of the link certificate, `@authority` of every message to us. */
  readonly name: string;
  readonly member: MemberId;
  readonly instance: string;
  /** Host names that clients may call us by, lower case, without port. */
  readonly hosts: ReadonlySet<string>;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly log: EvidenceLog;
  /** The registry in force now. @throws Unavailable `registry.expired` */
  readonly registry: () => Registry;
  /** Its gateways, and who of them is set apart. */
  readonly directory: PeerDirectory;
  /** The policy in force now. An exchange keeps the decision it got until it is decided again. */
  readonly policy: () => Evaluator;
  /** Told of each exchange's decision, after it was made. Never throws, and takes no time. */
  readonly decided: (exchange: ExchangeId, decision: Decision) => void;
  /** What is publicly known of weaknesses now. */
  readonly threat: () => ThreatIntel;
  /** What callers usually do. */
  readonly callers: CallerSignals;
  /** Of the message key in use now. What begins with one ends with it. */
  readonly signing: () => SigningQueue;
  readonly verifier: VerifierContext;
  readonly replay: ReplayTable;
  /** Undefined where this process is all there is of the gateway. */
  readonly replicas: SharedOnce | undefined;
  readonly link: LinkClient;
  readonly services: ReadonlyMap<ServiceId, LocalService>;
  readonly subsystems: SubsystemDirectory;
  readonly users: UserChecks;
  readonly devices: DeviceTrust;
  /** What runs, and is decided on again. */
  readonly grants: RunningGrants;
  /** Peers that contradicted themselves. Added to by {@link witness}, read by the registry's directory. */
  readonly quarantine: Set<string>;
  readonly limits: ExchangeLimits;
  /** Told of the bytes of bodies that go through ({@link RelayTerms}). */
  readonly passed?: (bytes: number, lent: boolean) => void;
  readonly spelling: XRoadSpelling;
  /** Which answers carry X-Road's hash of the request. */
  readonly requestHash: 'whole' | 'sha512' | 'off';
  readonly observer: ExchangeObserver;
  /** Why nothing can be admitted now, or undefined. Asked before anything else, so that no byte is forwarded. */
  readonly notReady: () => RefusalCode | undefined;
}

/** A service of ours, as configured. */
export interface LocalService {
  readonly id: ServiceId;
  readonly hop: ServiceHop;
  readonly delivery: 'stream' | 'verified';
  readonly timeoutMs: number;
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
}

export interface ExchangeLimits {
  readonly bodyIdleMs: number;
  /** Wait at the consumer for the head of the answer. */
  readonly answerMs: number;
  /** Longest body that `delivery: verified` takes; longer ones are refused with 413. */
  readonly spoolBytes: number;
  readonly spoolDir: string;
}

/** How telemetry hears of exchanges: ids, codes, counts and times; never a path, a header value or a person. */
export interface ExchangeObserver {
  started(role: 'c' | 'p'): void;
  finished(outcome: ExchangeOutcome): void;
  /** An exchange was decided on again: it goes on, or is ended. */
  rechecked(goesOn: boolean): void;
  /** Refused before anyone was identified: counted and rate-limited, not in the signed log. */
  refusedUnknown(code: RefusalCode, remote: string, detail: string): void;
  /** A thrown value nobody expected, or one whose detail the operator needs. */
  trouble(exchange: ExchangeId, code: RefusalCode, detail: string): void;
}

export interface ExchangeOutcome {
  readonly exchange: ExchangeId;
  readonly role: 'c' | 'p';
  readonly out: ExchangeFacts['out'];
  readonly status: number | undefined;
  readonly peer: string | undefined;
  readonly client: string | undefined;
  readonly service: string | undefined;
  readonly elapsedMs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
}
