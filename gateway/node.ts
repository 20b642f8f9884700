import { createPublicKey, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import type { GatewayConfig } from './config/config.ts';
import { loadConfig } from './config/load.ts';
import { workerLogs } from './config/worker-logs.ts';
import { nodeStorage } from './evidence/node-storage.ts';
import { Revocations } from './identity/revocations.ts';
import { clock, nanoseconds, SOFTWARE } from './node/clock.ts';
import { openAdmin } from './node/admin.ts';
import { giveBack } from './node/collector.ts';
import { highestPolicyInLogs, seenInFormerLogs } from './node/former-logs.ts';
import { CredentialsKeeper } from './node/credentials-keeper.ts';
import { DeviceLists } from './node/device-lists.ts';
import { KeptDeviceLists } from './node/kept-device-lists.ts';
import { readAuthorities, readPublicPem } from './node/key-files.ts';
import { PolicyKeeper } from './node/policy-keeper.ts';
import { allocateShared, ASSERTION_WINDOW_MS, onceOf, rememberSeen, tender } from './node/shared-memory.ts';
import { nonceSecretOf, openSignalRelay } from './node/replicas.ts';
import { keptSignals, openSignals } from './node/signals.ts';
import { ThreatKeeper } from './node/threat-keeper.ts';
import { Workers } from './node/workers.ts';
import { named } from './core/file-errors.ts';
import { RegistryFile } from './registry/file.ts';
import type { Registry } from './registry/registry.ts';
import { openOperatorLog } from './telemetry/log.ts';
import { ReadinessLog } from './telemetry/readiness.ts';

/** How often the main thread looks after its workers, the shared tables and readiness. */
const HOUSEKEEPING_MS = 1_000;

/** Runs one gateway until SIGTERM or SIGINT, or until it cannot go on. @returns the exit status */
export async function runGateway(configFile: string): Promise<number> {
  // After eight quiet seconds V8 would shrink a worker's heap to what is live, and under the next load go through all of
  // it every 130 ms: a third of the CPU. Set before the workers are made.
  setFlagsFromString('--no-memory-reducer');
  // Buffers outside of the heap count as old from their first moment, so that with a heap of 20 MiB V8 would go through all of
  // it once or twice a second, to find nothing. Four times what is live may lie about first.
  setFlagsFromString('--heap-growing-percent=300');
  const started = Promise.withResolvers<Node>();
  // From the first moment: where nobody hears it, this signal ends the process.
  process.on('SIGHUP', () => void started.promise.then((node) => node.renew()));
  const node = await startNode(loadConfig(configFile));
  started.resolve(node);
  const reason = await node.ending;
  const orderly = await node.stop(reason);
  return orderly && reason.startsWith('SIG') ? 0 : 1;
}

interface Node {
  /** Resolves with the signal that asks for the end, or with why the gateway cannot go on. */
  readonly ending: Promise<string>;
  /** Reads certificates and keys again. Never rejects. */
  renew(): Promise<void>;
  /** @returns false when something had to be broken off */
  stop(reason: string): Promise<boolean>;
}

/**
 * The main thread of one agency node. It touches no message: it keeps what all workers have in common, starts them and
 * watches over them, and answers the operator. Its event loop is always free.
 */
async function startNode(config: GatewayConfig): Promise<Node> {
  const operatorLog = openOperatorLog(clock, 1);
  const { emit } = operatorLog;
  const made: { workers?: Workers } = {};
  const credentials = new CredentialsKeeper({
    config,
    clock,
    emit,
    registry: async () => {
      await registryFile.refresh(); // it may have come together with the keys
      return registryFile.current;
    },
    onCredentials: (next) => made.workers?.takeCredentials(next) ?? Promise.resolve(),
  });
  const rootKeys = config.registry.rootKeys.map((file) => readPublicPem('/registry/rootKeys', file));
  const registryFile = await RegistryFile.open({
    file: config.registry.file,
    trust: { rootKeys: rootKeys.map((pem) => createPublicKey(pem)) },
    clock,
    cache: join(config.log.dir, '..', 'registry.cache'),
    onProblem: (detail) => emit('registry.problem', { detail }),
    onChange: (registry) => {
      tellRegistry(registry);
      made.workers?.takeRegistry(registryFile.bytes);
      void lists.follow();
    },
  }).catch((thrown: unknown) => {
    throw named(`/registry/file: ${config.registry.file}`, thrown);
  });
  const tellRegistry = ({ version, expiresAt }: Registry): void =>
    emit('registry.loaded', { version, expiresAt });
  tellRegistry(registryFile.current);
  const { ca, retryMs, feedSilenceMs } = config.devices;
  const lists = new DeviceLists({
    ca: ca === undefined ? undefined : readAuthorities('/devices/ca', ca),
    retryMs,
    silenceMs: feedSilenceMs,
    clock,
    kept: new KeptDeviceLists(join(config.log.dir, '..', 'device-lists'), nodeStorage()),
    registry: () => registryFile.current,
    onList: (text) => made.workers?.takeDeviceList(text),
    emit,
  });
  const policy = await PolicyKeeper.open({
    policy: config.policy,
    clock,
    emit,
    onPolicy: (next) => made.workers?.takePolicy(next) ?? Promise.resolve(0),
    floor: await highestPolicyInLogs(nodeStorage(), config.log),
    onShadows: (shadows) => made.workers?.takeShadows(shadows),
  });
  const threat = await ThreatKeeper.open(config.threatIntel, clock, emit);
  const revocations = new Revocations();
  const quarantine = new Set<string>();
  const signals = await keptSignals(config, registryFile, revocations, () => made.workers, emit);

  const logs = workerLogs(config.log, config.workers);
  const shared = allocateShared(randomBytes, nonceSecretOf(config));
  const tend = tender(shared, clock);
  const since = clock.now() - ASSERTION_WINDOW_MS;
  rememberSeen(onceOf(shared), await seenInFormerLogs(nodeStorage(), config.log, logs, since), clock.now());

  // What ended at another replica while this one was away is known before any door opens.
  const relay = await openSignalRelay(config, (set) => signals.take(set), emit);
  const takeSignal = async (set: string): Promise<void> => {
    await signals.take(set);
    await relay?.publish(set);
  };

  giveBack();
  const ending = Promise.withResolvers<string>();
  const { workers, linkPort } = await Workers.start({
    config,
    logs,
    clock,
    nanoseconds,
    emit,
    lines: (lines) => operatorLog.write(lines),
    data: () => ({
      config,
      credentials: credentials.current,
      shared,
      registry: registryFile.bytes,
      rootKeys,
      policy: policy.policy,
      shadows: policy.shadows,
      ended: revocations.list(),
      quarantine: [...quarantine],
      threat: threat.tables,
      deviceLists: lists.texts,
    }),
    onQuarantine: (peer) => {
      quarantine.add(peer);
      made.workers?.setApart(peer);
    },
    onPolicyTrouble: (bundle, detail) => policy.quarantine(bundle, detail),
    onFatal: (detail) => {
      emit('gateway.fatal', { detail });
      ending.resolve(detail);
    },
  }).catch(async (thrown: unknown) => {
    await relay?.close(); // what is open would keep the process alive
    throw thrown;
  });
  made.workers = workers;
  // Whoever reads that we have started may end us at once, and finds somebody who hears it. Before, the system ends us.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => ending.resolve(signal));
  relay?.follow();
  const state = { stopping: false };
  const reasons = async (): Promise<string[]> => [
    ...(state.stopping ? ['stopping'] : []),
    ...(clock.now() >= registryFile.current.expiresAt ? ['the registry has expired'] : []),
    ...(await workers.reasons()),
  ];
  const closers: (() => Promise<unknown>)[] = [async () => relay?.close()];
  try {
    const admin = await openAdmin(config, { workers, reasons, registryFile, policy, lists, threat });
    closers.push(() => admin.close());
    closers.push(await openSignals(config, takeSignal, emit));
  } catch (thrown) {
    // What is open would keep the process alive.
    await Promise.all([workers.stop(), ...closers.map((close) => close())]);
    throw thrown;
  }
  closers.push(() => lists.close());
  await lists.follow();
  registryFile.watch(config.registry.reloadMs);
  threat.watch((tables) => workers.takeThreat(tables));
  const readiness = new ReadinessLog(emit);
  const housekeeping = setInterval(() => {
    tend();
    void policy.look();
    lists.look();
    void workers.keepHouse();
    void reasons().then((each) => readiness.tell(each));
  }, HOUSEKEEPING_MS);
  emit('gateway.started', {
    gateway: config.node.name,
    member: config.node.member,
    workers: config.workers,
    software: SOFTWARE,
    runtime: process.version,
    openssl: process.versions.openssl,
    listeners: { link: `${config.link.host}:${linkPort}`, ...addressesOf(config) },
  });
  operatorLog.flush();

  return {
    ending: ending.promise,
    renew: async () => (state.stopping ? undefined : credentials.reload()),
    async stop(reason) {
      const began = clock.monotonic();
      state.stopping = true;
      emit('gateway.stopping', { reason, inFlight: await workers.inFlight() });
      clearInterval(housekeeping);
      const orderly = await workers.stop();
      await registryFile.close();
      await threat.close();
      await Promise.all(closers.map((close) => close()));
      emit('gateway.stopped', { elapsedMs: Math.round(clock.monotonic() - began) });
      await operatorLog.close();
      return orderly;
    },
  };
}

function addressesOf({ listen, admin }: GatewayConfig): Record<string, string> {
  const { http, https } = listen;
  return {
    admin: `${admin.host}:${admin.port}`,
    ...(http === undefined ? {} : { http: `${http.host}:${http.port}` }),
    ...(https === undefined ? {} : { https: `${https.host}:${https.port}` }),
  };
}
