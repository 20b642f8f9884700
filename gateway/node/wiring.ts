import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { makeFolder } from '../evidence/make-folder.ts';
import { openLog, type EvidenceLog } from '../evidence/log.ts';
import { directoryOf } from '../exchange/peers.ts';
import type { ExchangeObserver, Gateway } from '../exchange/gateway.ts';
import { RunningGrants } from '../exchange/running-grants.ts';
import { PeerGateway } from '../identity/peer.ts';
import { createLinkClient } from '../link/client.ts';
import { VerifiedBatches } from '../message/message-signature.ts';
import { SigningQueue } from '../message/signing-queue.ts';
import { JwksCache } from '../registry/jwks.ts';
import type { Registry } from '../registry/registry.ts';
import { fetchJwks } from '../server/fetch-bounded.ts';
import { LineRelay } from '../telemetry/line-relay.ts';
import { openOperatorLog } from '../telemetry/log.ts';
import { Telemetry } from '../telemetry/telemetry.ts';
import { CallerSignals } from '../trust/signals.ts';
import { clock, nanoseconds, SOFTWARE } from './clock.ts';
import { ThreatIntel } from '../trust/threat.ts';
import { openDevices, withFarewell } from './devices.ts';
import { refusalOf, threadFacts, type Readiness } from './health.ts';
import type { FromWorker, WorkerData } from './messages.ts';
import { readPrivateKey } from './key-files.ts';
import { localService, signingKeyOf, subsystemsOf } from './parts.ts';
import type { PolicyInForce } from './policy.ts';
import { RegistryCopy } from './registry-copy.ts';
import { openSharedStore } from './replicas.ts';
import { Shadows } from './shadows.ts';
import { ASSERTION_WINDOW_MS, onceOf, rememberSeen } from './shared-memory.ts';
import { pooledRandom } from './random.ts';
import { reclaimer } from './reclaimer.ts';
import { openUsers } from './users.ts';

const SPOOL_BYTES = 1024 ** 3;

/** Peers set apart here, which the other workers have to hear of. */
class Quarantine extends Set<string> {
  readonly #onAdded: (peer: string) => void;

  constructor(known: readonly string[], onAdded: (peer: string) => void) {
    super();
    this.#onAdded = onAdded;
    for (const peer of known) super.add(peer);
  }

  override add(peer: string): this {
    if (!this.has(peer)) this.#onAdded(peer);
    return super.add(peer);
  }

  /** Another worker has told. */
  hear(peer: string): void {
    super.add(peer);
  }
}

/** The queue of the message key in use. One that is replaced serves those who began with it. */
class Signing {
  readonly #queueOf: (pem: string) => SigningQueue;
  now: SigningQueue;

  constructor(pem: string, queueOf: (pem: string) => SigningQueue) {
    this.#queueOf = queueOf;
    this.now = queueOf(pem);
  }

  renew(pem: string): void {
    this.now = this.#queueOf(pem);
  }
}

export type Parts = Awaited<ReturnType<typeof wire>>;

/** Wires one worker by hand. */
export async function wire(
  {
    worker,
    config,
    log: logOptions,
    credentials,
    shared,
    registry: registryBytes,
    rootKeys,
    ended,
    quarantine: apart,
    threat: tables,
  }: WorkerData,
  policy: PolicyInForce,
  send: (message: FromWorker) => void,
) {
  const { name, member, instance } = config.node;
  const relay = new LineRelay((lines) => send({ kind: 'lines', lines }));
  const operatorLog = openOperatorLog(clock, relay, config.workers > 1 ? { worker } : null);
  const registryCopy = await RegistryCopy.open(registryBytes, rootKeys);
  const registry = (): Registry => {
    registryCopy.current.requireFresh(clock.now());
    return registryCopy.current;
  };
  const replicas = openSharedStore(config, shared, operatorLog.emit);
  const readiness: Readiness = { log: undefined, stopping: false, replicas };
  const telemetry = new Telemetry({
    emit: operatorLog.emit,
    clock,
    sources: { thread: threadFacts(), logSize: () => readiness.log?.size ?? 0n },
  });
  const log = await openWorkerLog(logOptions, config.keys.log.file, config.log.segmentBytes, telemetry);
  readiness.log = log;
  const once = onceOf(shared);
  rememberSeen(once, await log.recentExchanges(ASSERTION_WINDOW_MS), clock.now());
  const shadows = new Shadows({
    clock,
    nanoseconds,
    log,
    emit: operatorLog.emit,
    counts: telemetry.shadows,
  });
  const spoolDir = join(config.log.dir, '..', 'spool');
  makeFolder(spoolDir);

  const met = new Set<string>();
  const observer: ExchangeObserver = {
    ...telemetry.exchanges,
    finished: (outcome) => {
      if (outcome.peer !== undefined) met.add(outcome.peer);
      telemetry.exchanges.finished(outcome);
    },
  };
  const threat = { now: new ThreatIntel(tables) };
  const quarantine = new Quarantine(apart, (peer) => send({ kind: 'quarantine', peer }));
  const directory = directoryOf({ registry, quarantine });
  const devices = openDevices(config, registry, directory, operatorLog.emit, {
    share: (news) => send({ kind: 'device', news }),
    softwareTpm: telemetry.softwareTpm,
  });
  const linkOptions = linkOptionsOf(config);
  const link = createLinkClient({
    greet: (conversation) => devices.greetings.begin(conversation),
    ...linkOptions,
    credentials: credentials.link,
    random: Math.random,
    verifyPeer: (leaf) => {
      PeerGateway.identify(leaf, 'server', directory, clock.now());
    },
    onEvent: withFarewell(telemetry.link('client'), devices),
  });
  const jwks = new JwksCache({
    fetch: fetchJwks,
    clock,
    onProblem: (detail) => operatorLog.emit('identity.problem', { detail }),
  });
  const signing = new Signing(credentials.message, (pem) => {
    const paces = { soon: setImmediate, record: (close: () => void) => log.whenFree(close) };
    return new SigningQueue(signingKeyOf(config, pem), paces, telemetry.signed);
  });
  const gateway: Gateway = {
    name,
    member,
    instance,
    hosts: new Set(['localhost', '127.0.0.1', '[::1]', name, ...config.listen.hosts]),
    clock,
    random: pooledRandom(),
    log,
    registry,
    directory,
    policy: () => policy.now.evaluator,
    decided: (exchange, decision) => shadows.offer(exchange, decision),
    callers: new CallerSignals(),
    threat: () => threat.now,
    signing: () => signing.now,
    verifier: {
      me: name,
      clock,
      messageKey: (of, kid, at) => registry().messageKey(of, kid, at),
      batches: new VerifiedBatches(),
    },
    replay: once.messages,
    replicas,
    link,
    services: new Map(config.services.map((service) => [service.id, localService(service, config)])),
    subsystems: subsystemsOf(config),
    users: openUsers(config, registry, jwks, shared, ended, replicas),
    devices,
    grants: new RunningGrants(clock),
    quarantine,
    passed: reclaimer(),
    limits: {
      bodyIdleMs: config.limits.bodyIdleMs,
      answerMs: config.limits.answerMs,
      spoolBytes: SPOOL_BYTES,
      spoolDir,
    },
    spelling: config.compat.errorCodes,
    requestHash: config.compat.requestHash,
    observer,
    notReady: () =>
      refusalOf(readiness) ??
      (telemetry.inFlight > config.limits.maxInFlight ? 'gateway.overloaded' : undefined),
  };
  return {
    gateway,
    operatorLog,
    registry: registryCopy,
    readiness,
    telemetry,
    log,
    replicas,
    link,
    shadows,
    linkOptions,
    signing,
    jwks,
    met,
    quarantine,
    threat,
  };
}

function openWorkerLog(
  { dir, origin }: WorkerData['log'],
  keyFile: string,
  segmentBytes: number,
  telemetry: Telemetry,
): Promise<EvidenceLog> {
  return openLog({
    dir,
    origin,
    signingKey: readPrivateKey('/keys/log', keyFile),
    clock,
    random: randomBytes,
    software: SOFTWARE,
    pid: process.pid,
    segmentBytes,
    stats: telemetry.evidence,
  });
}

const linkOptionsOf = ({ link, limits }: WorkerData['config']) => ({
  clock,
  requireHybrid: link.requireHybrid,
  limits: {
    sessionsPerPeer: link.sessionsPerPeer,
    connectMs: limits.connectMs,
    drainMs: limits.drainMs,
  },
});
