import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { agentPresenter } from '../../attest/device-presenter.ts';
import { DeviceProxy } from '../../attest/device-proxy.ts';
import type { Clock } from '../../core/clock.ts';
import type { MemberId } from '../../core/ids.ts';
import type { AttestorRow } from '../../registry/document.ts';
import type { Agency, SandboxInstance } from '../instance.ts';
import type { ServiceProcess } from '../service-process.ts';
import { AttestationService } from './attestation-service.ts';
import { Control } from './control.ts';
import { Intruder } from './intruder.ts';
import { Machine } from './machine.ts';
import { SoftTpm, TpmVendor } from './soft-tpm.ts';

/** How the devices are reached; part of the ready line. */
export interface DeviceEnds {
  /**
   * Plain HTTP, for client systems of agency A: what comes in goes to A's gateway over connections that are bound to the
   * TPM of the welfare system's machine.
   */
  readonly proxy: string;
  /** What that machine shows to the gateway, and the socket of its agent. PEM files. */
  readonly certificate: string;
  readonly key: string;
  readonly agent: string;
  readonly attestor: {
    readonly url: string;
    readonly ca: string;
    /** For `troad attestor … --socket`. */
    readonly admin: string;
  };
  /** For `troad sandbox device`. */
  readonly control: string;
}

export interface DevicesOptions {
  readonly instance: SandboxInstance;
  readonly a: Agency;
  readonly b: Agency;
  /** A's gateway, as its information systems reach it with TLS. */
  readonly gateway: string;
  readonly ports: { readonly attestor: number; readonly proxy: number };
  /** How to run the attestation service: program and arguments before `--config FILE`. */
  readonly run: readonly [program: string, ...args: string[]];
  readonly now: Clock['now'];
  readonly onLine: (line: string) => void;
}

/** Results of gateways' hosts are for every gateway of the instance. */
const INSTANCE = 'TW';

/** Name of the machine that an agency's gateway runs on. */
export const hostOf = ({ name }: Pick<Agency, 'name'>): string => `host-${name.split('.')[1] ?? ''}`;

/** Name of the machine that agency A's information system runs on. */
export const ENDPOINT = 'welfare';

/**
 * The machines of the sandbox: the hosts of both gateways and that of A's information system, each with a TPM, the agent
 * on each, and the attestation service that knows them.
 */
export class SandboxDevices {
  readonly #options: DevicesOptions;
  readonly #vendor: TpmVendor;
  readonly #service: AttestationService;
  /** For sockets, whose paths must be short. */
  readonly #runDir: string;
  readonly #opened: (() => Promise<unknown>)[] = [];
  #process: ServiceProcess | undefined;

  private constructor(
    options: DevicesOptions,
    vendor: TpmVendor,
    service: AttestationService,
    runDir: string,
  ) {
    this.#options = options;
    this.#vendor = vendor;
    this.#service = service;
    this.#runDir = runDir;
  }

  /** Everything that the registry and the gateways must know beforehand. @throws SwtpmMissing */
  static async prepare(options: DevicesOptions): Promise<SandboxDevices> {
    const { instance, ports, run, onLine } = options;
    const vendor = await TpmVendor.open(join(instance.dir, 'devices', 'vendor'));
    const runDir = await mkdtemp(join(tmpdir(), 'troad-'));
    const service = new AttestationService({
      ...(await instance.attestationService()),
      port: ports.attestor,
      adminSocket: join(runDir, 'admin.sock'),
      run,
      onLine,
    });
    return new SandboxDevices(options, vendor, service, runDir);
  }

  row(members: readonly MemberId[]): AttestorRow {
    return this.#service.row(members);
  }

  /** Socket of the agent on the host of a gateway, or of the machine {@link ENDPOINT}. */
  agentSocket(name: string): string {
    return join(this.#runDir, `${name}.sock`);
  }

  get ends(): DeviceEnds {
    const { a, ports } = this.#options;
    return {
      proxy: `http://127.0.0.1:${ports.proxy}`,
      certificate: join(a.dir, 'client.pem'),
      key: join(a.dir, 'client.key'),
      agent: this.agentSocket(ENDPOINT),
      attestor: { url: this.#service.url, ca: this.#service.ca, admin: this.#service.adminSocket },
      control: join(this.#runDir, 'control.sock'),
    };
  }

  /** Resolves when the attestation service ends that nobody asked to end. */
  get broken(): Promise<string> {
    return this.#process?.unexpectedEnd ?? new Promise(() => undefined);
  }

  /** Switches the machines on, has them taken in the first time, and starts the agents. */
  async start(): Promise<void> {
    const { a, b } = this.#options;
    const machines = await Promise.all([
      this.#machine(hostOf(a), {
        audience: INSTANCE,
        certificate: join(a.dir, 'link.pem'),
      }),
      this.#machine(hostOf(b), {
        audience: INSTANCE,
        certificate: join(b.dir, 'link.pem'),
      }),
      this.#machine(ENDPOINT, {
        audience: a.name,
        certificate: join(a.dir, 'client.pem'),
      }),
    ]);
    // The first TPM makes the vendor's CA, too.
    const [first, ...others] = machines;
    await first?.powerOn(this.#vendor);
    await Promise.all(others.map((machine) => machine.powerOn(this.#vendor)));
    const gateways = new Map([
      [hostOf(a), a.name],
      [hostOf(b), b.name],
    ]);
    const expected = await Promise.all(
      machines.map(async (machine) => ({
        ek: await machine.fingerprint(),
        name: machine.name,
        gateway: gateways.get(machine.name),
      })),
    );
    this.#process = await this.#service.start(this.#vendor, [INSTANCE, a.name], expected);
    this.#opened.push(async () => this.#process?.stop());
    await this.#process.ready;
    await Promise.all(
      machines.map(async (machine) => {
        await machine.enrol();
        await machine.serve();
      }),
    );
    const endpoint = machines.find(({ name }) => name === ENDPOINT);
    if (endpoint === undefined) throw new Error('no machine for the endpoint'); // made above
    await this.#serve(machines, endpoint);
  }

  /** The proxy for A's systems, and the door for whoever wants to break something. */
  async #serve(machines: readonly Machine[], endpoint: Machine): Promise<void> {
    const { a, gateway, ports, onLine } = this.#options;
    const { certificate, key, control } = this.ends;
    const connection = {
      gateway,
      ca: readFileSync(join(a.dir, 'ca.pem')),
      cert: readFileSync(certificate),
      key: readFileSync(key),
    };
    const failed = (why: unknown): void =>
      onLine(`proxy: ${why instanceof Error ? why.message : String(why)}`);
    const proxy = await DeviceProxy.start({
      ...connection,
      host: '127.0.0.1',
      port: ports.proxy,
      present: agentPresenter(
        endpoint.socket,
        () => performance.now(),
        () => undefined,
      ),
      failed,
    });
    this.#opened.push(() => proxy.stop());
    const dir = join(this.#runDir, 'clone');
    const intruder = new Intruder(endpoint, connection, { dir, socket: this.agentSocket('clone') });
    this.#opened.push(() => intruder.stop());
    const door = await Control.start(control, machines, intruder);
    this.#opened.push(() => door.stop());
  }

  async #machine(
    name: string,
    towards: { readonly audience: string; readonly certificate: string },
  ): Promise<Machine> {
    const dir = join(this.#options.instance.dir, 'devices', name);
    const machine = await Machine.open({
      ...towards,
      name,
      dir: join(dir, 'agent'),
      socket: this.agentSocket(name),
      tpm: new SoftTpm(join(dir, 'tpm'), join(this.#runDir, `${name}.tpm`)),
      attestor: this.#service,
      clock: { now: this.#options.now, monotonic: () => performance.now() },
      failed: (why) => this.#options.onLine(`${name}: ${why}`),
    });
    this.#opened.push(() => machine.stop());
    return machine;
  }

  async stop(): Promise<void> {
    const failures: unknown[] = [];
    // Agents before the service they renew with.
    for (const close of this.#opened.toReversed())
      await close().catch((thrown: unknown) => failures.push(thrown));
    await rm(this.#runDir, { recursive: true, force: true });
    if (failures.length > 0) throw failures[0];
  }
}
