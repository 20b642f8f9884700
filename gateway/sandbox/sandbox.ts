import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EpochMs } from '../core/clock.ts';
import { AgencyIdp, type AgencyIdpOptions, type IdentityEnds } from './agency-idp.ts';
import { type DeviceEnds, hostOf, SandboxDevices } from './devices/devices.ts';
import { SwtpmMissing } from './devices/soft-tpm.ts';
import { writeGatewayFile, type Ports, type SandboxSettings } from './gateway-file.ts';
import { PackageMissing } from './idp/packages.ts';
import { SandboxInstance, type Agency, type OfferedService } from './instance.ts';
import { type ExtraService, offeredServices, scenarioServices } from './offered.ts';
import { PortBlock } from './ports.ts';
import { releasePolicy } from './release-policy.ts';
import { ServiceProcess } from './service-process.ts';
import { startServices, type SandboxServices } from './services.ts';

/** What `troad sandbox` prints when it is ready; tests, the demo and the benchmark read it. */
export interface SandboxReady {
  readonly ready: true;
  readonly dir: string;
  readonly consumer: GatewayEnds & {
    readonly url: string;
    readonly tlsUrl: string;
    readonly ca: string;
    readonly clientCert: string;
    readonly clientKey: string;
  };
  readonly provider: GatewayEnds & { readonly link: string };
  readonly service: { readonly url: string };
  /** Absent when the provider's optional packages are not installed. */
  readonly identity?: IdentityEnds;
  /** Absent without swtpm, and where no devices were asked for. */
  readonly device?: DeviceEnds;
  readonly trust: string;
}

export interface GatewayEnds {
  readonly log: string;
  readonly admin: string;
  /** Where identity providers push security events (RFC 8935). */
  readonly signals: string;
  readonly pid: number;
}

export interface SandboxOptions {
  readonly dir: string;
  /** How to start one gateway: the program and the arguments before `--config FILE`. */
  readonly run: readonly [program: string, ...args: string[]];
  /** How to start the attestation service, in the same way. Absent: no devices, and no service demands one. */
  readonly runAttestor?: readonly [program: string, ...args: string[]];
  readonly bundle: string;
  /** Take the bundle as it is, without signers: for tests that change it. */
  readonly unsigned?: true;
  readonly now: () => EpochMs;
  /** Longest silence inside a body before it is ended. Default 60. */
  readonly bodyIdleSeconds?: number;
  /** Threads of each gateway, at most four. Default 1. */
  readonly workers?: number;
  /** URL of a Valkey or Redis: both gateways start as ones that have replicas. */
  readonly store?: string;
  /** `threatIntel` of both gateways' files. */
  readonly threatIntel?: object;
  /** Puts something between the gateways: gets the port of B's link, gives the port that the registry shall name. */
  readonly linkVia?: (port: number) => Promise<number>;
  /** Offer the services of the scenario policies; they want their bundle. */
  readonly scenarios?: true;
  /** Services beside `echo`, `files` and `events`. */
  readonly extra?: readonly ExtraService[];
  /** Lines that the gateways write (their logs). */
  readonly onLine?: (agency: string, line: string) => void;
}

interface Parts {
  readonly services: SandboxServices;
  readonly gateways: readonly ServiceProcess[];
  readonly idp: AgencyIdp | undefined;
  readonly devices: SandboxDevices | undefined;
  readonly ports: PortBlock;
}

/** A whole T-Road on loopback: two agencies, each with a real gateway process, and the services of the second. */
export class Sandbox {
  readonly ready: SandboxReady;
  /** Resolves when a gateway ends that nobody asked to end. */
  readonly broken: Promise<string>;
  readonly #services: SandboxServices;
  readonly #gateways: readonly ServiceProcess[];
  readonly #idp: AgencyIdp | undefined;
  readonly #devices: SandboxDevices | undefined;
  readonly #ports: PortBlock;

  private constructor(ready: SandboxReady, parts: Parts) {
    this.ready = ready;
    this.#services = parts.services;
    this.#idp = parts.idp;
    this.#devices = parts.devices;
    this.#ports = parts.ports;
    this.#gateways = parts.gateways;
    const ends = this.#gateways.map((gateway) => gateway.unexpectedEnd);
    this.broken = Promise.race([...ends, ...(parts.devices === undefined ? [] : [parts.devices.broken])]);
  }

  static async start(options: SandboxOptions): Promise<Sandbox> {
    const opened: (() => Promise<unknown>)[] = [];
    try {
      return await Sandbox.#start(options, opened);
    } catch (thrown) {
      // Half a sandbox is none: a listener or a gateway left behind would keep the process alive.
      await Promise.allSettled(opened.map((close) => close()));
      throw thrown;
    }
  }

  static async #start(options: SandboxOptions, opened: (() => Promise<unknown>)[]): Promise<Sandbox> {
    const instance = await SandboxInstance.open(options.dir, options.now);
    const a = await instance.agency('a11', 'TW/GOV/A11', 'welfare');
    const b = await instance.agency('b07', 'TW/GOV/B07', 'housing');
    const services = await startServices();
    opened.push(() => services.close());
    const block = await claimPorts(options.dir);
    opened.push(() => block.release());
    const [portsA, portsB] = [portsOf(block), portsOf(block)];
    const devicePorts = { attestor: block.take(), proxy: block.take() };
    const gatewayA = `https://127.0.0.1:${portsA.https}`;
    const devices = await machines(options, { instance, a, b, gateway: gatewayA, ports: devicePorts });
    if (devices !== undefined) opened.push(() => devices.stop());
    const attested = devices !== undefined;
    const offered = [
      ...offeredServices(services.url, attested, options.extra ?? []),
      ...(options.scenarios === true ? scenarioServices(services.url, attested) : []),
    ];
    const linked = [
      { agency: a, linkPort: portsA.link },
      { agency: b, linkPort: (await options.linkVia?.(portsB.link)) ?? portsB.link },
    ];
    const idp = await identityProvider(instance, a, options, {
      gateway:
        devices === undefined
          ? { url: `http://127.0.0.1:${portsA.http}` }
          : { url: devices.ends.proxy, origin: gatewayA },
      ports: { issuer: block.take(), browser: block.take(), desk: block.take() },
      receivers: [receiver(a, portsA), receiver(b, portsB)],
      now: options.now,
    });
    if (idp !== undefined) opened.push(() => idp.close());
    const policy =
      options.unsigned === true
        ? { bundle: options.bundle, signers: [] }
        : await releasePolicy(options.dir, options.bundle, options.now());
    const authorities = {
      identityProviders: idp === undefined ? [] : [idp.row],
      attestors: devices === undefined ? [] : [devices.row([a.member, b.member])],
    };
    await instance.publish(linked, b, a, offered, authorities, policy.signers);
    const settings = { ...options, policy };
    const agentOf = (agency: Agency) =>
      devices === undefined ? {} : { agent: devices.agentSocket(hostOf(agency)) };
    const [gateways] = await Promise.all([
      Promise.all([
        startGateway({ ...settings, ...agentOf(a) }, instance, a, portsA, [], opened),
        startGateway({ ...settings, ...agentOf(b) }, instance, b, portsB, offered, opened),
      ]),
      devices?.start(),
    ]);
    const ready: SandboxReady = {
      ...readyLine(instance, a, b, portsA, portsB, services, gateways),
      ...(idp === undefined ? {} : { identity: idp.ends }),
      ...(devices === undefined ? {} : { device: devices.ends }),
    };
    await writeFile(readyFile(options.dir), JSON.stringify(ready));
    return new Sandbox(ready, { services, gateways, idp, devices, ports: block });
  }

  /** Drains both gateways, then stops the services. */
  async stop(): Promise<void> {
    await rm(readyFile(this.ready.dir), { force: true });
    try {
      await Promise.all(this.#gateways.map((gateway) => gateway.stop()));
    } finally {
      // An open listener keeps the process alive.
      const closing = [this.#services.close(), this.#idp?.close(), this.#devices?.stop()];
      await Promise.all([...closing, this.#ports.release()]);
    }
  }
}

/** Where a running sandbox says how to reach it: the ready line, for commands that come later. */
export const readyFile = (dir: string): string => join(dir, 'sandbox.json');

/** Both gateways hear of sessions that end: each verifies the users itself. */
const receiver = ({ name }: Agency, { signals }: Ports) => ({
  audience: `https://${name}`,
  url: `http://127.0.0.1:${signals}/signals`,
});

/** Without the optional packages everything but signing in works; that is said, not passed over. */
async function identityProvider(
  instance: SandboxInstance,
  agency: Agency,
  { onLine }: SandboxOptions,
  options: AgencyIdpOptions,
): Promise<AgencyIdp | undefined> {
  try {
    return await AgencyIdp.start(instance, agency, options);
  } catch (thrown) {
    if (!(thrown instanceof PackageMissing)) throw thrown;
    onLine?.('sandbox', `no identity provider: ${thrown.message}`);
    return undefined;
  }
}

/** Without swtpm everything but attestation works; that is said, too. */
async function machines(
  { runAttestor, now, onLine }: SandboxOptions,
  where: Omit<Parameters<typeof SandboxDevices.prepare>[0], 'run' | 'now' | 'onLine'>,
): Promise<SandboxDevices | undefined> {
  if (runAttestor === undefined) return undefined;
  const say = (line: string): void => onLine?.('devices', line);
  try {
    return await SandboxDevices.prepare({ ...where, run: runAttestor, now, onLine: say });
  } catch (thrown) {
    if (!(thrown instanceof SwtpmMissing)) throw thrown;
    say(`NO DEVICES, no service demands one: ${thrown.message}`);
    return undefined;
  }
}

function readyLine(
  instance: SandboxInstance,
  a: Agency,
  b: Agency,
  portsA: Ports,
  portsB: Ports,
  services: SandboxServices,
  [gatewayA, gatewayB]: readonly ServiceProcess[],
): SandboxReady {
  const ends = (agency: Agency, ports: Ports, child: ServiceProcess | undefined): GatewayEnds => ({
    log: join(agency.dir, 'log'),
    admin: `http://127.0.0.1:${ports.admin}`,
    signals: `http://127.0.0.1:${ports.signals}/signals`,
    pid: child?.pid ?? 0,
  });
  return {
    ready: true,
    dir: instance.dir,
    consumer: {
      url: `http://127.0.0.1:${portsA.http}`,
      tlsUrl: `https://127.0.0.1:${portsA.https}`,
      ca: join(a.dir, 'ca.pem'),
      clientCert: join(a.dir, 'client.pem'),
      clientKey: join(a.dir, 'client.key'),
      ...ends(a, portsA, gatewayA),
    },
    provider: { link: `127.0.0.1:${portsB.link}`, ...ends(b, portsB, gatewayB) },
    service: { url: services.url },
    trust: instance.trustFile,
  };
}

async function startGateway(
  options: SandboxOptions & SandboxSettings,
  instance: SandboxInstance,
  agency: Agency,
  ports: Ports,
  services: readonly OfferedService[],
  opened: (() => Promise<unknown>)[],
): Promise<ServiceProcess> {
  const file = await writeGatewayFile(instance, agency, ports, services, options);
  const child = new ServiceProcess({
    name: agency.name,
    run: [...options.run, '--config', file],
    isStarted: (line) => line.includes('"gateway.started"'),
    onLine: (line) => options.onLine?.(agency.name, line),
  });
  opened.push(() => child.stop());
  await child.ready;
  return child;
}

/** Ports of one gateway, in the order of its listeners. */
function portsOf(block: PortBlock): Ports {
  return {
    http: block.take(),
    https: block.take(),
    link: block.take(),
    admin: block.take(),
    signals: block.take(),
  };
}

/** The ports of the last start in this folder, if they are still free: what somebody wrote down stays true. */
async function claimPorts(dir: string): Promise<PortBlock> {
  const file = join(dir, 'ports');
  const last = Number(await readFile(file, 'utf8').catch(() => ''));
  const block = await PortBlock.claim(last > 0 ? last : undefined);
  await writeFile(file, `${String(block.first)}\n`);
  return block;
}
