import { isDeepStrictEqual } from 'node:util';
import { toSeconds } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import { Revocations as DeviceRevocations } from '../device/revocations.ts';
import type { DeviceNews } from '../exchange/device-checks.ts';
import { hearNews } from '../exchange/device-news.ts';
import { endResults, type Ending } from '../exchange/revoke.ts';
import { showCheckpoint } from '../exchange/witness.ts';
import { revocationOf } from '../identity/revocations.ts';
import type { Registry } from '../registry/registry.ts';
import type { FamilySnapshot } from '../telemetry/metrics.ts';
import { ThreatIntel, type ThreatTables } from '../trust/threat.ts';
import { clock, nanoseconds } from './clock.ts';
import type { Credentials } from './credentials.ts';
import { withFarewell } from './devices.ts';
import { Doors } from './doors.ts';
import { reasonsOf } from './health.ts';
import type { FromWorker, PolicyFiles, ShadowFiles, WorkerData, WorkerStatus } from './messages.ts';
import { loadPolicy, type PolicyInForce, type PolicyWatch, type WorkerPolicy } from './policy.ts';
import { EvaluationMark } from './watchdog.ts';
import { wire, type Parts } from './wiring.ts';

/** How often peers are looked at again, and those met lately are shown the head of our log. */
const HOUSEKEEPING_MS = 5_000;

/** One event loop with its own listeners and its own log: everything that touches a message. */
export class ExchangeWorker {
  readonly #data: WorkerData;
  readonly #parts: Parts;
  readonly #watch: PolicyWatch;
  readonly #policy: PolicyInForce;
  #credentials: Credentials;
  #doors: Doors | undefined;
  #housekeeping: NodeJS.Timeout | undefined;
  #registryTaken: Promise<void> = Promise.resolve();

  private constructor(data: WorkerData, parts: Parts, policy: PolicyInForce, watch: PolicyWatch) {
    this.#data = data;
    this.#credentials = data.credentials;
    this.#parts = parts;
    this.#policy = policy;
    this.#watch = watch;
  }

  /** Reads what it needs, opens and recovers its log, puts back what that has seen. No door is open yet. */
  static async start(data: WorkerData, send: (message: FromWorker) => void): Promise<ExchangeWorker> {
    const mark = new EvaluationMark(data.mark);
    const onFailing = (bundle: string, detail: string): void =>
      send({ kind: 'policyFailing', bundle, detail });
    const watch = { mark, nanoseconds, clock, onFailing };
    const policy: PolicyInForce = { now: loadPolicy(data.policy, watch) };
    mark.bundle = policy.now.bundle.digest;
    const worker = new ExchangeWorker(data, await wire(data, policy, send), policy, watch);
    await worker.#recordPolicy(policy.now, data.policy);
    worker.takeShadows(data.shadows);
    worker.#recordTrust(worker.#parts.registry.current);
    for (const text of data.deviceLists) await worker.takeDeviceList(text);
    for (const ended of data.ended) endResults(ended, worker.#parts.gateway.devices, clock.now());
    return worker;
  }

  /** @returns the port of the link. @throws the system's error when an address cannot be used */
  async open(): Promise<number> {
    const { gateway, linkOptions, telemetry, jwks, registry } = this.#parts;
    await jwks.refresh(registry.current.document.identityProviders ?? []);
    this.#doors = await Doors.open(this.#data.config, this.#credentials, gateway, {
      ...linkOptions,
      onEvent: withFarewell(telemetry.link('server'), gateway.devices),
    });
    this.#housekeeping = setInterval(() => this.#keepHouse(), HOUSEKEEPING_MS);
    return this.#doors.linkPort;
  }

  get status(): WorkerStatus {
    const { readiness, telemetry } = this.#parts;
    return { reasons: reasonsOf(readiness, this.#policy.now.trouble()), inFlight: telemetry.inFlight };
  }

  snapshot(): FamilySnapshot[] {
    return this.#parts.telemetry.snapshot();
  }

  checkpoint(): string {
    return this.#parts.log.checkpoint();
  }

  takeRegistry(bytes: Uint8Array): Promise<void> {
    this.#registryTaken = this.#takeRegistry(bytes);
    return this.#registryTaken;
  }

  async #takeRegistry(bytes: Uint8Array): Promise<void> {
    try {
      const registry = await this.#parts.registry.take(bytes);
      if (registry === undefined) return;
      this.#recordTrust(registry);
      this.#parts.gateway.grants.hastenAll();
    } catch (thrown) {
      this.#parts.telemetry.emit('registry.problem', { detail: describe(thrown) });
    }
  }

  /**
   * Loads it, records it, and only then decides with it: new exchanges, and by and by those that run.
   * @returns how long this event loop did nothing else, milliseconds
   */
  async takePolicy(files: PolicyFiles): Promise<number> {
    const began = clock.monotonic();
    const next = loadPolicy(files, this.#watch);
    const pauseMs = clock.monotonic() - began;
    await this.#recordPolicy(next, files);
    this.#watch.mark.bundle = next.bundle.digest;
    this.#policy.now = next;
    this.#parts.gateway.grants.hastenAll();
    return pauseMs;
  }

  /** For new connections and new messages. What runs ends with what it began with; sessions with peers are made anew. */
  takeCredentials(next: Credentials): void {
    const { link, message, https } = this.#credentials;
    this.#credentials = next;
    if (next.message !== message) this.#parts.signing.renew(next.message);
    if (next.https !== undefined && !isDeepStrictEqual(next.https, https))
      this.#doors?.renewHttps(next.https);
    if (isDeepStrictEqual(next.link, link)) return;
    this.#parts.link.renew(next.link);
    this.#doors?.renewLink(next.link);
  }

  takeShadows(shadows: readonly ShadowFiles[]): void {
    this.#parts.shadows.take(shadows);
  }

  takeThreat(tables: ThreatTables): void {
    this.#parts.threat.now = new ThreatIntel(tables);
  }

  setApart(peer: string): void {
    this.#parts.quarantine.hear(peer);
  }

  /** First nothing new, then what runs: the register does both. */
  async takeDeviceList(text: string): Promise<void> {
    await this.#registryTaken; // the list may be of a service that it names anew
    const { registry, gateway, telemetry } = this.#parts;
    const keys = registry.current.attestors.flatMap(({ revocationKeys }) => revocationKeys);
    try {
      gateway.devices.register.revoke(DeviceRevocations.open(text, keys), clock.now());
    } catch (thrown) {
      // A registry that came meanwhile may no longer name the service: then none of its results counts either.
      telemetry.emit('device.problem', { detail: describe(thrown) });
    }
  }

  takeDevice(news: DeviceNews): void {
    hearNews(news, this.#parts.gateway);
  }

  /** @returns how many exchanges were broken off */
  end(ending: Ending): number {
    const { users, devices } = this.#parts.gateway;
    // First nothing new, then what runs.
    users.revocations.restore([revocationOf(ending)], toSeconds(clock.now()));
    return users.running.end(ending) + endResults(ending, devices, clock.now());
  }

  /** Ends what runs within the time for it, and seals the log. */
  async stop(): Promise<void> {
    const { readiness, link, gateway, log, replicas, shadows, telemetry, operatorLog } = this.#parts;
    readiness.stopping = true;
    clearInterval(this.#housekeeping);
    gateway.devices.greetings.close();
    await this.#doors?.close();
    // Together: two gateways that stop at once would else wait for each other's sessions.
    await Promise.all([this.#doors?.drain(), link.drain()]);
    gateway.grants.close();
    shadows.close();
    for (const { hop } of gateway.services.values()) hop.destroy();
    await log.close();
    await replicas?.close();
    telemetry.close();
    await operatorLog.close();
  }

  async #recordPolicy({ bundle, release }: WorkerPolicy, { act, why, highest }: PolicyFiles): Promise<void> {
    const { digest, entrypoint, revision } = bundle;
    await this.#parts.log.append({
      k: 'policy',
      at: clock.now(),
      bundle: digest,
      entrypoint,
      revision,
      act,
      ...(why === null ? {} : { why }),
      // The next start reads it back: a state.json from a backup must not let older versions in again.
      ...(highest > (release?.version ?? 0) ? { highest } : {}),
      ...(release === undefined
        ? {}
        : {
            version: release.version,
            from: release.notBefore,
            until: release.expiresAt,
            signatures: release.signatures,
          }),
    });
  }

  #recordTrust({ sha256, version, expiresAt }: Registry): void {
    const record = { k: 'trust', at: clock.now(), registry: sha256, version, expires: expiresAt } as const;
    // A log that cannot take this has already turned readiness off.
    this.#parts.log.append(record).catch(() => undefined);
  }

  #keepHouse(): void {
    const { jwks, telemetry, registry, link, met, gateway } = this.#parts;
    void jwks.refresh(registry.current.document.identityProviders ?? []);
    telemetry.tick();
    // Peers may have expired, been dropped from the registry or set apart: their sessions end now.
    this.#doors?.recheck();
    link.recheck();
    const peers = [...met];
    met.clear();
    for (const peer of peers) {
      const target = registry.current.gateway(peer)?.target;
      if (target === undefined) continue;
      showCheckpoint(gateway, target).catch(() => met.add(peer)); // unreachable: shown another time
    }
  }
}
