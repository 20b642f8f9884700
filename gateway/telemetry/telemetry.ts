import { withoutPort } from '../core/address.ts';
import type { Clock } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import { isRefusalCode, REFUSALS, type RefusalCode } from '../core/refusals.ts';
import type { LogStats } from '../evidence/contract.ts';
import type { ExchangeObserver, ExchangeOutcome } from '../exchange/gateway.ts';
import type { LinkEvent, LinkSession } from '../link/link.ts';
import type { Emit, LinkSide } from './events.ts';
import { workerMetrics, type ShadowCounts, type WorkerSources } from './gateway-metrics.ts';
import type { FamilySnapshot } from './metrics.ts';
import { SecurityLog } from './security-log.ts';

export interface TelemetryOptions {
  readonly emit: Emit;
  readonly clock: Clock;
  readonly sources: WorkerSources;
}

/** What the parts of one worker report to, and what the admin listener shows of it. */
export class Telemetry {
  readonly emit: Emit;
  readonly exchanges: ExchangeObserver;
  readonly evidence: LogStats;
  /** Told of every signature, and how many messages it serves. */
  readonly signed: (messages: number) => void;
  /** A result about a TPM that is a program has counted: loud, once for each service that vouches for such. */
  readonly softwareTpm: (issuer: string) => void;
  readonly #metrics: WorkerMetrics;
  readonly #meters: Readonly<Record<'c' | 'p', RoleMeters>>;
  readonly #security: SecurityLog;
  #evidenceOk = true;
  #inFlight = 0;

  constructor({ emit, clock, sources }: TelemetryOptions) {
    this.emit = emit;
    this.#metrics = workerMetrics(sources);
    this.#meters = { c: metersOf('consumer', this.#metrics), p: metersOf('provider', this.#metrics) };
    this.#security = new SecurityLog(emit, clock);
    this.#metrics.evidenceAvailable.set({}, 1);
    this.exchanges = {
      started: (role) => this.#started(role),
      finished: (outcome) => this.#finished(outcome),
      rechecked: (goesOn) => this.#metrics.rechecks.add({ outcome: goesOn ? 'goes_on' : 'ended' }),
      refusedUnknown: (code, remote, detail) => this.refusedUnknown(code, remote, detail),
      trouble: (exchange, code, detail) => emit('exchange.trouble', { exchange, code, detail }),
    };
    this.signed = (messages) => this.#metrics.batches.observe({}, messages);
    const labs = new Set<string>();
    this.softwareTpm = (issuer) => {
      this.#metrics.softwareTpms.set({}, 1);
      if (!labs.has(issuer)) emit('device.lab', { issuer });
      labs.add(issuer);
    };
    this.evidence = {
      committed: ({ records, bytes, elapsedMs }) => {
        this.#metrics.records.add({}, records);
        this.#metrics.recordBytes.add({}, bytes);
        this.#metrics.commitSeconds.observe({}, elapsedMs / 1000);
      },
      checkpoint: (size) => this.#metrics.checkpointSize.set({}, Number(size)),
      health: (health) => {
        this.#metrics.evidenceAvailable.set({}, Number(health.ok));
        if (health.ok === this.#evidenceOk) return;
        this.#evidenceOk = health.ok;
        if (health.ok) emit('evidence.available', {});
        else emit('evidence.unavailable', { detail: health.reason });
      },
    };
  }

  /** Exchanges running now, both roles. */
  get inFlight(): number {
    return this.#inFlight;
  }

  get shadows(): ShadowCounts {
    return this.#metrics.shadows;
  }

  /** All counts as they are now. */
  snapshot(): FamilySnapshot[] {
    return this.#metrics.page.snapshot();
  }

  /** A request, or a connection, that was refused before anyone was identified. */
  refusedUnknown(code: RefusalCode, remote: string, detail: string): void {
    this.#metrics.unidentified.add({ code });
    this.#security.refused(code, remote, detail);
  }

  /** Takes the events of one side of the link. */
  link(side: LinkSide): (event: LinkEvent) => void {
    const { sessions, sessionsOpened, sessionsBroken, peersRefused } = this.#metrics;
    return (event) => {
      switch (event.kind) {
        case 'session.opened':
          sessions.add({ side }, 1);
          sessionsOpened.add({ side, hybrid: isHybrid(event.session.tls.g) });
          this.emit('link.session_opened', sessionFacts(side, event.session));
          return;
        case 'session.closed':
          sessions.add({ side }, -1);
          this.emit('link.session_closed', sessionFacts(side, event.session));
          return;
        case 'session.broken':
          sessionsBroken.add({ side });
          this.emit('link.session_broken', {
            ...sessionFacts(side, event.session),
            detail: describe(event.cause),
          });
          return;
        case 'peer.refused':
          peersRefused.add({ side });
          this.refusedUnknown(peerCode(event.cause), withoutPort(event.remote), describe(event.cause));
      }
    };
  }

  /** To be called every few seconds: ends the windows of the rate limits. */
  tick(): void {
    this.#security.tick();
  }

  /** Before the end of the process. */
  close(): void {
    this.#security.flush();
  }

  #started(role: 'c' | 'p'): void {
    this.#inFlight += 1;
    this.#meters[role].inFlight(1);
  }

  #finished(outcome: ExchangeOutcome): void {
    const { exchange, role, out, status, peer, client, service, requestBytes, responseBytes } = outcome;
    const meters = this.#meters[role];
    const elapsedMs = Math.round(outcome.elapsedMs * 1000) / 1000;
    const facts = { exchange, role, status, peer, client, service, elapsedMs, requestBytes, responseBytes };
    this.#inFlight -= 1;
    meters.inFlight(-1);
    meters.requestBytes(requestBytes);
    meters.responseBytes(responseBytes);
    if (out === 'ok') {
      meters.completed(1);
      meters.completedSeconds(outcome.elapsedMs / 1000);
      this.emit('exchange.completed', facts);
      return;
    }
    const { fault, mark } = REFUSALS[out];
    this.#metrics.exchanges.add({ role: roleName(role), out });
    this.#metrics.exchangeSeconds.observe({ role: roleName(role), end: fault }, outcome.elapsedMs / 1000);
    this.emit(mark === 'abort' ? 'exchange.aborted' : 'exchange.refused', { ...facts, code: out });
  }
}

type WorkerMetrics = ReturnType<typeof workerMetrics>;
type RoleMeters = ReturnType<typeof metersOf>;

/** What exchanges of one role count when all goes well. */
const metersOf = (role: 'consumer' | 'provider', metrics: WorkerMetrics) => ({
  inFlight: metrics.inFlight.of({ role }),
  completed: metrics.exchanges.of({ role, out: 'ok' }),
  completedSeconds: metrics.exchangeSeconds.of({ role, end: 'ok' }),
  requestBytes: metrics.bytes.of({ role, direction: 'request' }),
  responseBytes: metrics.bytes.of({ role, direction: 'response' }),
});

const roleName = (role: 'c' | 'p'): 'consumer' | 'provider' => (role === 'c' ? 'consumer' : 'provider');

function isHybrid(group: string): 'yes' | 'no' | 'unknown' {
  if (group === 'unknown') return 'unknown';
  return group.includes('MLKEM') ? 'yes' : 'no';
}

function sessionFacts(side: LinkSide, { id, protocol, tls }: LinkSession) {
  return { side, session: id, certificate: tls.peer, protocol, suite: tls.suite, group: tls.g };
}

/** A refusal by our own check has its code; whatever TLS itself refused had no certificate we accept. */
function peerCode(cause: Error): RefusalCode {
  const code = 'code' in cause ? String(cause.code) : '';
  return isRefusalCode(code) ? code : 'peer.certificate';
}
