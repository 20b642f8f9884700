// A real TPM 2.0 in software: swtpm processes with EK certificates of a CA of our own (swtpm_localca).
import { spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { copyState, spawnSwtpm, TpmVendor } from '../../gateway/sandbox/devices/soft-tpm.ts';
import { parsePem } from '../../gateway/x509/pem.ts';

const found = (command: string): boolean => spawnSync(command, ['--version']).error === undefined;

/** For tap's `skip`: false when swtpm is there, else why not. */
export const swtpmMissing: false | string =
  found('swtpm') && found('swtpm_setup')
    ? false
    : 'no swtpm and swtpm_setup on the PATH (node .ci/setup.mjs --debian tpm): NOTHING was tested against a real TPM';

/** For tap's `skip` of cross-checks. The tools load the way to swtpm from a package of its own. */
export const tpm2ToolsMissing: false | string =
  swtpmMissing === false && found('tpm2') && globSync('/usr/lib/*/libtss2-tcti-swtpm.so*').length > 0
    ? false
    : 'no swtpm with tpm2-tools and libtss2-tcti-swtpm0: nothing to compare with';

/** Folder of several virtual devices whose EK certificates one CA signs. Keep its path short: sockets are below. */
export class SwtpmLab {
  readonly dir: string;
  #vendor: Promise<TpmVendor> | undefined;
  constructor(dir: string) {
    this.dir = dir;
  }

  /** The CA's certificates, DER: after the first device was made. */
  get root(): Buffer {
    return this.#certificate('swtpm-localca-rootca-cert.pem');
  }

  get issuer(): Buffer {
    return this.#certificate('issuer.pem');
  }

  #certificate(name: string): Buffer {
    const [der] = parsePem('CERTIFICATE', readFileSync(join(this.dir, 'ca', name), 'latin1'));
    if (der === undefined) throw new Error(`${name}: no certificate`);
    return der;
  }

  /** Manufactures one TPM: endorsement keys, and their certificates in its NV memory. */
  async make(name: string): Promise<Swtpm> {
    this.#vendor ??= TpmVendor.open(join(this.dir, 'ca'));
    await (await this.#vendor).make(name, join(this.dir, name));
    return new Swtpm(this.dir, name);
  }

  /** What a thief with a copy of the state has: the same TPM, twice. */
  async clone(of: Swtpm, name: string): Promise<Swtpm> {
    await copyState(join(this.dir, of.name), join(this.dir, name));
    return new Swtpm(this.dir, name);
  }
}

export class Swtpm {
  readonly name: string;
  readonly #dir: string;
  #process: ChildProcess | undefined;

  constructor(dir: string, name: string) {
    this.#dir = dir;
    this.name = name;
  }

  /** For {@link openTransport}. */
  get address(): string {
    return `unix:${this.#socket}`;
  }

  get #socket(): string {
    return join(this.#dir, `${this.name}.sock`);
  }

  /** Power on. */
  async start(): Promise<void> {
    rmSync(this.#socket, { force: true });
    await this.#start(['--server', `type=unixio,path=${this.#socket},mode=0600`]);
    for (let tries = 0; !(await answers(this.#socket)); tries += 1) {
      if (tries > 500) throw new Error('swtpm did not open its socket');
      await pause(10);
    }
  }

  /** With TCP, control channel on the next port: what tpm2-tools want. */
  async startTcp(port: number): Promise<void> {
    const on = (at: number): string => `type=tcp,port=${at},bindaddr=127.0.0.1`;
    await this.#start(['--server', on(port), '--ctrl', on(port + 1)]);
    await pause(300);
  }

  async #start(args: readonly string[]): Promise<void> {
    if (this.#process !== undefined) throw new Error('is running');
    this.#process = await spawnSwtpm(join(this.#dir, this.name), args);
  }

  /** Power off. Without a TPM2_Shutdown before it, an unclean one. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const running = this.#process;
    if (running === undefined) return;
    this.#process = undefined;
    if (running.exitCode === null && running.signalCode === null) {
      const ended = once(running, 'exit');
      running.kill(signal);
      await ended;
    }
  }
}

/** The socket's file is there before anybody listens. */
async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
