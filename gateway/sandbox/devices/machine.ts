import { randomInt, X509Certificate } from 'node:crypto';
import { access, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentService, type AgentStatus } from '../../attest/agent-service.ts';
import { DeviceAgent } from '../../attest/agent.ts';
import { AttestorClient } from '../../attest/attestor-client.ts';
import type { HostClaims } from '../../attest/health.ts';
import type { Tpm } from '../../attest/tpm.ts';
import { base64url, sha256 } from '../../core/bytes.ts';
import type { Clock } from '../../core/clock.ts';
import { HASH } from '../../tpm/algorithm.ts';
import { pcrExtend } from '../../tpm/storage-commands.ts';
import { type BootEvent, eventLogOf, startOf } from './firmware.ts';
import type { SoftTpm, TpmVendor } from './soft-tpm.ts';

export interface MachineOptions {
  readonly name: string;
  /** Folder that its agent keeps. */
  readonly dir: string;
  /** Path of its agent's socket. */
  readonly socket: string;
  readonly tpm: SoftTpm;
  /** Gateway that its results are for. */
  readonly audience: string;
  /** PEM file of the certificate that it shows there. */
  readonly certificate: string;
  readonly attestor: { readonly url: string; readonly ca: string };
  readonly clock: Clock;
  /** Told of each failed attempt to attest. */
  readonly failed: (why: string) => void;
}

/** The machines do not exist, so neither do their updates: they say that all is well. */
const CLAIMS: Omit<HostClaims, 'boot_id'> = {
  agent: 'troad 0.1.0',
  health: {
    os: { pending: 0, checked_hours: 1 },
    antivirus: { age_hours: 4 },
    applications: { pending: 0, checked_hours: 1 },
    configuration: { address_randomization: 'pass', disk_encryption: 'pass' },
  },
};

interface On {
  readonly tpm: Tpm;
  readonly log: Buffer;
}

/** A machine with a TPM of its own and the agent on it: the classes that `troad device run` runs. */
export class Machine {
  readonly name: string;
  readonly #options: MachineOptions;
  readonly #client: AttestorClient;
  #on: On | undefined;
  #running: { readonly agent: DeviceAgent; readonly service: AgentService } | undefined;
  #boots = 0;

  private constructor(options: MachineOptions, client: AttestorClient) {
    this.name = options.name;
    this.#options = options;
    this.#client = client;
  }

  static async open(options: MachineOptions): Promise<Machine> {
    const { url, ca } = options.attestor;
    return new Machine(options, new AttestorClient(url, await readFile(ca)));
  }

  get socket(): string {
    return this.#options.socket;
  }

  /** Power on; firmware measures the start. The TPM is made on the first one. */
  async powerOn(vendor: TpmVendor | undefined, events: readonly BootEvent[] = startOf()): Promise<void> {
    const { tpm: soft } = this.#options;
    if (vendor !== undefined) await soft.makeBy(vendor, this.name);
    const tpm = await soft.powerOn();
    this.#boots += 1;
    this.#on = { tpm, log: eventLogOf(events) };
    for (const { pcr, digest } of events) await this.measure(pcr, digest);
  }

  /** Whoever has the machine can extend a PCR, and nobody can take that back before the next start. */
  async measure(pcr: number, digest: Buffer): Promise<void> {
    await this.#tpm.run(pcrExtend(pcr, [{ hash: HASH.sha256.id, digest }]));
  }

  /** SHA-256 of the endorsement key, base64url: how the attestation service knows the machine beforehand. */
  async fingerprint(): Promise<string> {
    const { area } = await this.#tpm.endorsementKey();
    return base64url(sha256(area.publicKey.export({ type: 'spki', format: 'der' })));
  }

  /** Registers the machine the first time. @throws AttestorRefused */
  async enrol(again = false): Promise<void> {
    const { dir, name } = this.#options;
    const isEnrolled = await access(join(dir, 'device.json')).then(
      () => true,
      () => false,
    );
    if (isEnrolled && !again) return;
    await DeviceAgent.enrol({ tpm: this.#tpm, dir, client: this.#client }, name);
  }

  /** Starts the agent. Resolves after its first try to attest. */
  async serve(): Promise<void> {
    const { dir, socket, audience, certificate, clock, failed } = this.#options;
    const agent = await DeviceAgent.open({
      tpm: this.#tpm,
      dir,
      client: this.#client,
      eventLog: () => Promise.resolve(this.#on?.log ?? Buffer.alloc(0)),
      claims: () => Promise.resolve({ ...CLAIMS, boot_id: `${this.name}-${this.#boots}` }),
    });
    const service = new AgentService({
      agent,
      audience,
      certificate: await readFile(certificate),
      clock,
      jitter: () => randomInt(1000) / 1000,
      events: { attested: () => undefined, failed },
    });
    this.#running = { agent, service };
    await rm(socket, { force: true });
    await service.listen(socket);
    await service.start();
  }

  get status(): AgentStatus | undefined {
    return this.#running?.service.status;
  }

  /** The result that the agent has now. */
  get result(): string | undefined {
    return this.#running?.service.result;
  }

  /** What its TPM signs for whoever is on the machine: that a connection is its own. */
  async bind(exporter: Uint8Array): Promise<string> {
    if (this.#running === undefined) throw new Error(`${this.name} has no agent`);
    const { raw } = new X509Certificate(await readFile(this.#options.certificate));
    return this.#running.agent.bind(exporter, base64url(sha256(raw)));
  }

  /** Nothing is attested any more; the machine and its keys stay. */
  async silence(): Promise<void> {
    await this.#running?.service.stop();
  }

  /** New keys in the same TPM. @throws AttestorRefused unless an administrator has allowed it */
  async reEnrol(): Promise<void> {
    await this.#end();
    try {
      await this.enrol(true);
    } finally {
      await this.serve(); // with the former keys, when it was refused
    }
  }

  async #end(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.service.stop();
    await running?.agent.release();
  }

  async powerOff(): Promise<void> {
    await this.#end();
    this.#on = undefined;
    await this.#options.tpm.powerOff();
  }

  /** Off and on again, as an operator does. */
  async restart(events: readonly BootEvent[] = startOf()): Promise<void> {
    await this.powerOff();
    await this.powerOn(undefined, events);
    await this.serve();
  }

  /** For good. */
  async stop(): Promise<void> {
    await this.powerOff();
    this.#client.close();
  }

  /** What a thief makes of a copy of its TPM and its files: another machine that says it is this one. */
  async clone(dir: string, socket: string): Promise<Machine> {
    const tpm = await this.#options.tpm.copyTo(join(dir, 'tpm'), `${socket}.tpm`);
    return Machine.open({ ...this.#options, tpm, socket, failed: () => undefined });
  }

  get #tpm(): Tpm {
    if (this.#on === undefined) throw new Error(`${this.name} is off`);
    return this.#on.tpm;
  }
}
