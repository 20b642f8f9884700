import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EpochMs } from '../core/clock.ts';
import { AgencyIdp, type AgencyIdpOptions, type IdentityEnds } from './agency-idp.ts';
import { writeGatewayFile, type Ports, type SandboxSettings } from './gateway-file.ts';
import { GatewayProcess } from './gateway-process.ts';
import { PackageMissing } from './idp/packages.ts';
import { SandboxInstance, type Agency, type OfferedService } from './instance.ts';
import { PortBlock } from './ports.ts';
import { releasePolicy } from './release-policy.ts';
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
  readonly bundle: string;
  /** Take the bundle as it is, without signers: for tests that change it. */
  readonly unsigned?: true;
  readonly now: () => EpochMs;
  /** Longest silence inside a body before it is ended. Default 60. */
  readonly bodyIdleSeconds?: number;
  /** Threads of each gateway, at most four. Default 1. */
  readonly workers?: number;
  /** Puts something between the gateways: gets the port of B's link, gives the port that the registry shall name. */
  readonly linkVia?: (port: number) => Promise<number>;
  /** Services beside `echo`, `files` and `events`. */
  readonly extra?: readonly { readonly code: string; readonly url: string }[];
  /** Lines that the gateways write (their logs). */
  readonly onLine?: (agency: string, line: string) => void;
}

const TITLES = {
  echo: { en: 'Says what it received', zh: '回應所收到的內容' },
  files: { en: 'Large files, both ways', zh: '大型檔案雙向傳輸' },
  events: { en: 'Server-sent events', zh: '伺服器推送事件' },
  cases: { en: 'Housing applications', zh: '住宅補貼案件' },
  registry: { en: 'Household register', zh: '戶籍登記資料' },
} as const;

/** A whole T-Road on loopback: two agencies, each with a real gateway process, and the services of the second. */
export class Sandbox {
  readonly ready: SandboxReady;
  /** Resolves when a gateway ends that nobody asked to end. */
  readonly broken: Promise<string>;
  readonly #services: SandboxServices;
  readonly #gateways: readonly GatewayProcess[];
  readonly #idp: AgencyIdp | undefined;
  readonly #ports: PortBlock;

  private constructor(
    ready: SandboxReady,
    services: SandboxServices,
    gateways: readonly GatewayProcess[],
    idp: AgencyIdp | undefined,
    ports: PortBlock,
  ) {
    this.ready = ready;
    this.#services = services;
    this.#idp = idp;
    this.#ports = ports;
    this.#gateways = gateways;
    this.broken = Promise.race(gateways.map((gateway) => gateway.unexpectedEnd));
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
    const offered: OfferedService[] = [
      { code: 'echo', url: `${services.url}/echo`, title: TITLES.echo },
      { code: 'files', url: `${services.url}/files`, title: TITLES.files },
      // Reading is all that was agreed: a POST shows what a refusal looks like.
      { code: 'events', url: `${services.url}/events`, title: TITLES.events, methods: ['GET', 'HEAD'] },
      // The same echo behind `delivery: verified`: it sees nothing of a request before all of it was checked.
      { code: 'verified', url: `${services.url}/echo`, title: TITLES.echo, delivery: 'verified' },
      ...userServices(services.url),
      ...(options.extra ?? []).map(({ code, url }) => ({ code, url, title: { en: code, zh: code } })),
    ];
    const block = await claimPorts(options.dir);
    opened.push(() => block.release());
    const [portsA, portsB] = [portsOf(block), portsOf(block)];
    const linked = [
      { agency: a, linkPort: portsA.link },
      { agency: b, linkPort: (await options.linkVia?.(portsB.link)) ?? portsB.link },
    ];
    const idp = await identityProvider(instance, a, options, {
      gatewayUrl: `http://127.0.0.1:${portsA.http}`,
      ports: { issuer: block.take(), browser: block.take(), desk: block.take() },
      receivers: [receiver(a, portsA), receiver(b, portsB)],
      now: options.now,
    });
    if (idp !== undefined) opened.push(() => idp.close());
    await instance.publish(linked, b, a, offered, idp === undefined ? [] : [idp.row]);
    const policy =
      options.unsigned === true
        ? { bundle: options.bundle, signers: [] }
        : await releasePolicy(options.dir, options.bundle, options.now());
    const settings = { ...options, policy };
    const gateways = await Promise.all([
      startGateway(settings, instance, a, portsA, [], opened),
      startGateway(settings, instance, b, portsB, offered, opened),
    ]);
    const ends = readyLine(instance, a, b, portsA, portsB, services, gateways);
    const ready: SandboxReady = { ...ends, ...(idp === undefined ? {} : { identity: idp.ends }) };
    await writeFile(readyFile(options.dir), JSON.stringify(ready));
    return new Sandbox(ready, services, gateways, idp, block);
  }

  /** Drains both gateways, then stops the services. */
  async stop(): Promise<void> {
    await rm(readyFile(this.ready.dir), { force: true });
    try {
      await Promise.all(this.#gateways.map((gateway) => gateway.stop()));
    } finally {
      await Promise.all([this.#services.close(), this.#idp?.close(), this.#ports.release()]); // an open listener keeps the process alive
    }
  }
}

/** Where a running sandbox says how to reach it: the ready line, for commands that come later. */
export const readyFile = (dir: string): string => join(dir, 'sandbox.json');

/** Services whose agreements demand to know the user, by how much. */
function userServices(url: string): OfferedService[] {
  return [
    {
      code: 'cases',
      url: `${url}/cases`,
      title: TITLES.cases,
      assertion: { ial: 2, aal: 2, fal: 1, maxAgeSeconds: 8 * 3600, proof: 'optional' },
    },
    {
      code: 'registry',
      url: `${url}/registry`,
      title: TITLES.registry,
      methods: ['GET', 'HEAD'],
      assertion: { ial: 2, aal: 3, fal: 2, maxAgeSeconds: 900, proof: 'required' },
    },
  ];
}

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

function readyLine(
  instance: SandboxInstance,
  a: Agency,
  b: Agency,
  portsA: Ports,
  portsB: Ports,
  services: SandboxServices,
  [gatewayA, gatewayB]: readonly GatewayProcess[],
): SandboxReady {
  const ends = (agency: Agency, ports: Ports, child: GatewayProcess | undefined): GatewayEnds => ({
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
): Promise<GatewayProcess> {
  const file = await writeGatewayFile(instance, agency, ports, services, options);
  const child = new GatewayProcess(agency.name, options.run, file, (line) => {
    options.onLine?.(agency.name, line);
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
