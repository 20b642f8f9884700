import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from './config/load.ts';
import type { GatewayConfig, ServiceConfig } from './config/config.ts';
import type { Clock } from './core/clock.ts';
import { describe } from './core/errors.ts';
import { newExchangeId, toUuid } from './core/ids.ts';
import type { RefusalCode } from './core/refusals.ts';
import { openLog, type EvidenceLog } from './evidence/log.ts';
import { directoryOf } from './exchange/admit.ts';
import { consumer } from './exchange/consume.ts';
import type { ExchangeObserver, Gateway, LocalService } from './exchange/gateway.ts';
import { linkDoor } from './exchange/link-door.ts';
import { answerFor } from './exchange/respond.ts';
import { showCheckpoint } from './exchange/witness.ts';
import { PeerGateway } from './identity/peer.ts';
import { createLinkClient } from './link/client.ts';
import type { LinkCredentials, LinkLimits } from './link/link.ts';
import { createLinkServer } from './link/server.ts';
import { REPLAY_WINDOW_MS } from './message/profile.ts';
import { ReplayStore } from './message/replay.ts';
import type { SigningKey } from './message/signer.ts';
import { RegistryFile } from './registry/file.ts';
import { messageKeyRow } from './registry/keys.ts';
import { Front, type FrontOptions } from './server/front.ts';
import { ServiceHop } from './service/hop.ts';
import { Bundle } from './trust/bundle.ts';
import { PolicyEngine } from './trust/engine.ts';

const SOFTWARE = 'troad 0.1.0';
/** How often peers that met lately show each other the heads of their logs. */
const WITNESS_EVERY_MS = 5_000;
const SPOOL_BYTES = 1024 ** 3;

/** The only clock of the program. */
const clock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** Runs one gateway until SIGTERM or SIGINT. @returns the exit status */
export async function runGateway(configFile: string): Promise<number> {
  const node = await startNode(loadConfig(configFile));
  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  await node.stop();
  return 0;
}

/** Wires one agency node: reads what it needs, opens its log, and only then opens a door. */
async function startNode(config: GatewayConfig): Promise<{ stop(): Promise<void> }> {
  const { name, member, instance } = config.node;
  const say = (event: string, fields: object): void => {
    process.stdout.write(`${JSON.stringify({ time: clock.now(), event, ...fields })}\n`);
  };
  const registryFile = await RegistryFile.open({
    file: config.registry.file,
    trust: { rootKeys: config.registry.rootKeys.map((file) => createPublicKey(readFileSync(file))) },
    clock,
    cache: join(config.log.dir, '..', 'registry.cache'),
    onProblem: (problem) => say('registry.problem', { problem }),
  });
  const bundle = Bundle.parse(readBundle(config.policy.bundle));
  const engine = PolicyEngine.load(bundle);
  const signingKey = readSigningKey(config);
  const log = await openLog({
    dir: config.log.dir,
    origin: `${config.log.origin}/1`,
    signingKey: createPrivateKey(readFileSync(config.keys.log.file)),
    clock,
    random: randomBytes,
    software: SOFTWARE,
    pid: process.pid,
    segmentBytes: config.log.segmentBytes,
  });
  const replay = await replayFrom(log);
  const spoolDir = join(config.log.dir, '..', 'spool');
  await mkdir(spoolDir, { recursive: true, mode: 0o700 });

  let stopping = false;
  let inFlight = 0;
  const met = new Set<string>();
  const observer: ExchangeObserver = {
    started: () => {
      inFlight++;
    },
    finished: (outcome) => {
      inFlight--;
      if (outcome.peer !== undefined) met.add(outcome.peer);
      say(outcome.out === 'ok' ? 'exchange.completed' : 'exchange.refused', outcome);
    },
    refusedUnknown: (code, remote, detail) => say('security.refused', { code, remote, detail }),
    trouble: (exchange, code, detail) => say('exchange.trouble', { exchange, code, detail }),
  };
  const registry = (): RegistryFile['current'] => {
    const { current } = registryFile;
    current.requireFresh(clock.now());
    return current;
  };
  const quarantine = new Set<string>();
  const credentials: LinkCredentials = {
    key: readFileSync(config.link.key),
    cert: readFileSync(config.link.cert),
    ca: readFileSync(config.link.ca),
  };
  const directory = directoryOf({ registry, quarantine });
  const linkLimits: Partial<LinkLimits> = {
    sessionsPerPeer: config.link.sessionsPerPeer,
    connectMs: config.limits.connectMs,
    drainMs: config.limits.drainMs,
  };
  const link = createLinkClient({
    credentials,
    clock,
    random: Math.random,
    requireHybrid: config.link.requireHybrid,
    limits: linkLimits,
    verifyPeer: (leaf) => {
      PeerGateway.identify(leaf, 'server', directory, clock.now());
    },
    onEvent: (event) => say(`link.${event.kind}`, {}),
  });
  const services = new Map(config.services.map((service) => [service.id, localService(service, config)]));
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
    signingKey,
    verifier: { me: name, clock, messageKey: (of, kid, at) => registry().messageKey(of, kid, at) },
    replay,
    link,
    services,
    subsystems: subsystemsOf(config),
    quarantine,
    limits: {
      bodyIdleMs: config.limits.bodyIdleMs,
      answerMs: config.limits.answerMs,
      maxInFlight: config.limits.maxInFlight,
      spoolBytes: SPOOL_BYTES,
      spoolDir,
    },
    spelling: config.compat.errorCodes,
    requestHash: config.compat.requestHash === 'sha512',
    observer,
    notReady: (): RefusalCode | undefined => {
      if (stopping) return 'gateway.draining';
      if (!log.health.ok) return 'evidence.unavailable';
      return inFlight > config.limits.maxInFlight ? 'gateway.overloaded' : undefined;
    },
  };
  const now = clock.now();
  const { current } = registryFile;
  await log.append({
    k: 'policy',
    at: now,
    bundle: bundle.digest,
    entrypoint: bundle.entrypoint,
    revision: bundle.revision,
  });
  await log.append({
    k: 'trust',
    at: now,
    registry: current.sha256,
    version: current.version,
    expires: current.expiresAt,
  });

  const server = createLinkServer({
    credentials,
    clock,
    requireHybrid: config.link.requireHybrid,
    limits: linkLimits,
    verifyPeer: (leaf) => {
      PeerGateway.identify(leaf, 'client', directory, clock.now());
    },
    onArrival: linkDoor(gateway),
    onEvent: (event) => say(`link.${event.kind}`, {}),
  });
  await server.listen(config.link);
  const fronts = await openFronts(config, gateway);
  registryFile.watch(config.registry.reloadMs);
  const witness = setInterval(() => {
    const peers = [...met];
    met.clear();
    for (const peer of peers) {
      const target = registryFile.current.gateway(peer)?.target;
      if (target === undefined || peer === name) continue;
      showCheckpoint(gateway, target).catch((cause: unknown) =>
        say('witness.failed', { peer, cause: describe(cause) }),
      );
    }
  }, WITNESS_EVERY_MS);
  say('gateway.started', { name });

  return {
    async stop() {
      stopping = true;
      say('gateway.stopping', { name });
      clearInterval(witness);
      await Promise.all(fronts.map((front) => front.close()));
      await server.drain();
      await link.drain();
      await Promise.all([...services.values()].map(({ hop }) => hop.close()));
      registryFile.close();
      await log.close();
      say('gateway.stopped', { name });
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

function readBundle(dir: string): Parameters<typeof Bundle.parse>[0] {
  const read = (file: string): Buffer => readFileSync(join(dir, file));
  return { manifest: read('manifest.json'), wasm: read('policy.wasm'), data: read('data.json') };
}

function readSigningKey({ keys, node }: GatewayConfig): SigningKey {
  const privateKey = createPrivateKey(readFileSync(keys.message.file));
  const row = messageKeyRow(node.name, createPublicKey(privateKey), { notBefore: 0, notAfter: 0 });
  return { kid: keys.message.kid ?? row.kid, algorithm: row.alg, privateKey };
}

function localService(service: ServiceConfig, { limits }: GatewayConfig): LocalService {
  const { origin, pathname } = new URL(service.url);
  const hop = new ServiceHop({
    origin,
    basePath: pathname.replace(/\/$/, ''),
    timeoutMs: service.timeoutMs,
    connectMs: limits.connectMs,
    maxConcurrent: service.maxConcurrent,
    ...(service.ca === undefined ? {} : { ca: readFileSync(service.ca, 'utf8') }),
  });
  const { id, delivery, timeoutMs, maxRequestBytes, maxResponseBytes = Number.MAX_SAFE_INTEGER } = service;
  return { id, hop, delivery, timeoutMs, maxRequestBytes, maxResponseBytes };
}

function subsystemsOf({ subsystems }: GatewayConfig): Gateway['subsystems'] {
  const byId = new Map(subsystems.map((subsystem) => [subsystem.id, subsystem]));
  return { localSubsystem: (id) => byId.get(id) };
}

/** What was seen before a restart counts as seen: a copy of an old message must not pass because we forgot. */
async function replayFrom(log: EvidenceLog): Promise<ReplayStore> {
  const replay = new ReplayStore(clock, REPLAY_WINDOW_MS);
  for (const { role, peer, x } of await log.recentExchanges(REPLAY_WINDOW_MS)) {
    if (role === 'p' && peer !== undefined) replay.remember(peer, x);
  }
  return replay;
}
