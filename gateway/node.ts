import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from './config/load.ts';
import type { GatewayConfig } from './config/config.ts';
import type { Clock } from './core/clock.ts';
import { newExchangeId, toUuid } from './core/ids.ts';
import { openLog, type EvidenceLog } from './evidence/log.ts';
import { directoryOf } from './exchange/admit.ts';
import { consumer } from './exchange/consume.ts';
import type { ExchangeObserver, Gateway } from './exchange/gateway.ts';
import { linkDoor } from './exchange/link-door.ts';
import { answerFor } from './exchange/respond.ts';
import { showCheckpoint } from './exchange/witness.ts';
import { PeerGateway } from './identity/peer.ts';
import { createLinkClient } from './link/client.ts';
import { createLinkServer } from './link/server.ts';
import { REPLAY_WINDOW_MS } from './message/profile.ts';
import { ReplayStore } from './message/replay.ts';
import { metricSources, reasonsOf, refusalOf, type Readiness } from './node/health.ts';
import { openSignals } from './node/signals.ts';
import { openUsers, ASSERTION_WINDOW_MS } from './node/users.ts';
import { addressesOf, localService, readBundle, readSigningKey, subsystemsOf } from './node/parts.ts';
import { RegistryFile } from './registry/file.ts';
import { JwksCache } from './registry/jwks.ts';
import type { Registry } from './registry/registry.ts';
import { fetchJwks } from './server/fetch-bounded.ts';
import { AdminListener, parseToken } from './server/admin.ts';
import { Front, type FrontOptions } from './server/front.ts';
import { openOperatorLog } from './telemetry/log.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import { Bundle } from './trust/bundle.ts';
import { PolicyEngine } from './trust/engine.ts';

const SOFTWARE = 'troad 0.1.0';
/** How often peers are looked at again, and those met lately are shown the head of our log. */
const HOUSEKEEPING_MS = 5_000;
const SPOOL_BYTES = 1024 ** 3;

/** The only clock of the program. */
const clock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** Runs one gateway until SIGTERM or SIGINT. @returns the exit status */
export async function runGateway(configFile: string): Promise<number> {
  const node = await startNode(loadConfig(configFile));
  const reason = await Promise.race([
    once(process, 'SIGTERM').then(() => 'SIGTERM'),
    once(process, 'SIGINT').then(() => 'SIGINT'),
  ]);
  await node.stop(reason);
  return 0;
}

/** Wires one agency node: reads what it needs, opens its log, and only then opens a door. */
async function startNode(config: GatewayConfig): Promise<{ stop(reason: string): Promise<void> }> {
  const { name, member, instance } = config.node;
  const operatorLog = openOperatorLog(clock, 1);
  const { emit } = operatorLog;
  const registryFile = await RegistryFile.open({
    file: config.registry.file,
    trust: { rootKeys: config.registry.rootKeys.map((file) => createPublicKey(readFileSync(file))) },
    clock,
    cache: join(config.log.dir, '..', 'registry.cache'),
    onProblem: (detail) => emit('registry.problem', { detail }),
    onChange: (registry) => {
      recordTrust(registry);
    },
  });
  const registry = (): Registry => {
    registryFile.current.requireFresh(clock.now());
    return registryFile.current;
  };
  const bundle = Bundle.parse(readBundle(config.policy.bundle));
  const engine = PolicyEngine.load(bundle);
  const readiness: Readiness = { log: undefined, stopping: false };
  const telemetry = new Telemetry({
    emit,
    clock,
    sources: metricSources(readiness, registryFile, bundle, clock, SOFTWARE),
  });
  const log = await openLog({
    dir: config.log.dir,
    origin: `${config.log.origin}/1`,
    signingKey: createPrivateKey(readFileSync(config.keys.log.file)),
    clock,
    random: randomBytes,
    software: SOFTWARE,
    pid: process.pid,
    segmentBytes: config.log.segmentBytes,
    stats: telemetry.evidence,
  });
  readiness.log = log;
  const spoolDir = join(config.log.dir, '..', 'spool');
  await mkdir(spoolDir, { recursive: true, mode: 0o700 });

  const met = new Set<string>();
  const observer: ExchangeObserver = {
    ...telemetry.exchanges,
    finished: (outcome) => {
      if (outcome.peer !== undefined) met.add(outcome.peer);
      telemetry.exchanges.finished(outcome);
    },
  };
  const quarantine = new Set<string>();
  const directory = directoryOf({ registry, quarantine });
  const linkOptions = {
    credentials: {
      key: readFileSync(config.link.key),
      cert: readFileSync(config.link.cert),
      ca: readFileSync(config.link.ca),
    },
    clock,
    requireHybrid: config.link.requireHybrid,
    limits: {
      sessionsPerPeer: config.link.sessionsPerPeer,
      connectMs: config.limits.connectMs,
      drainMs: config.limits.drainMs,
    },
  };
  const link = createLinkClient({
    ...linkOptions,
    random: Math.random,
    verifyPeer: (leaf) => {
      PeerGateway.identify(leaf, 'server', directory, clock.now());
    },
    onEvent: telemetry.link('client'),
  });
  const services = new Map(config.services.map((service) => [service.id, localService(service, config)]));
  const jwks = new JwksCache({
    fetch: fetchJwks,
    clock,
    onProblem: (detail) => emit('identity.problem', { detail }),
  });
  const users = openUsers(config, clock, registry, jwks, await log.recentExchanges(ASSERTION_WINDOW_MS));
  const gateway: Gateway = {
    name,
    member,
    instance,
    hosts: new Set(['localhost', '127.0.0.1', '[::1]', name, ...config.listen.hosts]),
    clock,
    random: randomBytes,
    log,
    registry,
    policy: () => engine,
    signingKey: readSigningKey(config),
    verifier: { me: name, clock, messageKey: (of, kid, at) => registry().messageKey(of, kid, at) },
    replay: await replayFrom(log),
    link,
    services,
    subsystems: subsystemsOf(config),
    users,
    quarantine,
    limits: {
      bodyIdleMs: config.limits.bodyIdleMs,
      answerMs: config.limits.answerMs,
      spoolBytes: SPOOL_BYTES,
      spoolDir,
    },
    spelling: config.compat.errorCodes,
    requestHash: config.compat.requestHash === 'sha512',
    observer,
    notReady: () =>
      refusalOf(readiness) ??
      (telemetry.inFlight > config.limits.maxInFlight ? 'gateway.overloaded' : undefined),
  };
  function recordTrust({ sha256, version, expiresAt }: Registry): void {
    emit('registry.loaded', { version, expiresAt });
    const record = { k: 'trust', at: clock.now(), registry: sha256, version, expires: expiresAt } as const;
    // A log that cannot take this has already turned readiness off.
    readiness.log?.append(record).catch(() => undefined);
  }
  const { digest, entrypoint, revision } = bundle;
  await log.append({ k: 'policy', at: clock.now(), bundle: digest, entrypoint, revision });
  emit('policy.loaded', { bundle: digest, revision });
  recordTrust(registryFile.current);

  const closeSignals = await openSignals(config, clock, users, emit);

  const server = createLinkServer({
    ...linkOptions,
    verifyPeer: (leaf) => {
      PeerGateway.identify(leaf, 'client', directory, clock.now());
    },
    onArrival: linkDoor(gateway),
    onEvent: telemetry.link('server'),
  });
  const linkPort = await server.listen(config.link);
  const fronts = await openFronts(config, gateway);
  const { host, port, tokenFile } = config.admin;
  const admin = await AdminListener.listen({
    host,
    port,
    ...(tokenFile === undefined ? {} : { token: parseToken(readFileSync(tokenFile, 'utf8')) }),
    notReady: () => reasonsOf(readiness, registryFile, clock.now()),
    metrics: () => telemetry.metricsPage(),
    checkpoint: () => log.checkpoint(),
  });
  registryFile.watch(config.registry.reloadMs);
  const identityProviders = () => registryFile.current.document.identityProviders ?? [];
  await jwks.refresh(identityProviders());
  const housekeeping = setInterval(() => {
    void jwks.refresh(identityProviders());
    telemetry.tick();
    telemetry.readiness(reasonsOf(readiness, registryFile, clock.now()));
    // Peers may have expired, been dropped from the registry or set apart: their sessions end now.
    server.recheck();
    link.recheck();
    const peers = [...met];
    met.clear();
    for (const peer of peers) {
      const target = registryFile.current.gateway(peer)?.target;
      if (target === undefined) continue;
      showCheckpoint(gateway, target).catch(() => met.add(peer)); // unreachable: shown another time
    }
  }, HOUSEKEEPING_MS);
  emit('gateway.started', {
    gateway: name,
    member,
    software: SOFTWARE,
    runtime: process.version,
    openssl: process.versions.openssl,
    listeners: { link: `${config.link.host}:${linkPort}`, ...addressesOf(config) },
  });
  operatorLog.flush();

  return {
    async stop(reason) {
      const began = clock.monotonic();
      readiness.stopping = true;
      emit('gateway.stopping', { reason, inFlight: telemetry.inFlight });
      clearInterval(housekeeping);
      await closeSignals();
      await Promise.all(fronts.map((front) => front.close()));
      // Together: two gateways that stop at once would else wait for each other's sessions.
      await Promise.all([server.drain(), link.drain()]);
      await Promise.all([...services.values()].map(({ hop }) => hop.destroy()));
      await registryFile.close();
      await log.close();
      await admin.close();
      telemetry.close();
      emit('gateway.stopped', { elapsedMs: Math.round(clock.monotonic() - began) });
      await operatorLog.close();
    },
  };
}

async function openFronts(config: GatewayConfig, gateway: Gateway): Promise<Front[]> {
  const { http, https } = config.listen;
  const common: Omit<FrontOptions, 'host' | 'port'> = {
    consume: consumer(gateway),
    clock,
    refusalAnswer: (code, wishes) =>
      answerFor(code, toUuid(newExchangeId(randomBytes)), { ...wishes, spelling: gateway.spelling }),
    onFramingRefusal: (code, remote) => {
      gateway.observer.refusedUnknown(code, remote, 'framing');
    },
    limits: {
      headMs: config.limits.headMs,
      idleMs: config.limits.idleConnectionMs,
      connections: config.limits.maxConnections,
      connectionsPerAddress: config.limits.maxConnections,
    },
  };
  const fronts: Front[] = [];
  if (http !== undefined) fronts.push(await Front.http({ ...common, ...http }));
  if (https !== undefined) {
    const { host, port, cert, key } = https;
    fronts.push(
      await Front.https({ ...common, host, port, cert: readFileSync(cert), key: readFileSync(key) }),
    );
  }
  return fronts;
}

/** What was seen before a restart counts as seen: a copy of an old message must not pass because we forgot. */
async function replayFrom(log: EvidenceLog): Promise<ReplayStore> {
  const replay = new ReplayStore(clock, REPLAY_WINDOW_MS);
  for (const { role, peer, x } of await log.recentExchanges(REPLAY_WINDOW_MS)) {
    if (role === 'p' && peer !== undefined) replay.remember(peer, x);
  }
  return replay;
}
