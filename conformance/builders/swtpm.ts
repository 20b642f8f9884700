// A real TPM 2.0 in software: swtpm processes with EK certificates of a CA of our own (swtpm_localca).
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
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
  constructor(dir: string) {
    this.dir = dir;
    const ca = join(dir, 'ca');
    mkdirSync(ca, { recursive: true });
    const at = (name: string): string => join(ca, name);
    writeFileSync(
      at('localca.conf'),
      `statedir = ${ca}\nsigningkey = ${at('key.pem')}\nissuercert = ${at('issuer.pem')}\ncertserial = ${at('serial')}\n`,
    );
    writeFileSync(
      at('localca.options'),
      '--platform-manufacturer Test\n--platform-version 1.0\n--platform-model Device\n',
    );
    writeFileSync(
      at('setup.conf'),
      `create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = ${at('localca.conf')}\ncreate_certs_tool_options = ${at('localca.options')}\nactive_pcr_banks = sha256\n`,
    );
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
  make(name: string): Swtpm {
    const state = join(this.dir, name);
    mkdirSync(state);
    const ca = join(this.dir, 'ca');
    const { status, stdout, stderr } = spawnSync(
      'swtpm_setup',
      // prettier-ignore
      ['--tpm2', '--tpmstate', state, '--create-ek-cert', '--create-platform-cert', '--lock-nvram',
        '--pcr-banks', 'sha256', '--config', join(ca, 'setup.conf'), '--vmid', name, '--overwrite'],
      { encoding: 'utf8', timeout: 60_000 },
    );
    if (status !== 0) throw new Error(`swtpm_setup: ${stdout}${stderr}`);
    return new Swtpm(this.dir, name);
  }

  /** What a thief with a copy of the state has: the same TPM, twice. */
  clone(of: Swtpm, name: string): Swtpm {
    cpSync(join(this.dir, of.name), join(this.dir, name), { recursive: true });
    rmSync(join(this.dir, name, '.lock'), { force: true });
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
    const state = join(this.#dir, this.name);
    this.#process = spawn(
      'swtpm',
      ['socket', '--tpm2', '--tpmstate', `dir=${state}`, ...args, '--flags', 'not-need-init,startup-clear'],
      { stdio: 'ignore' }, // it tells of every client that leaves
    );
    await once(this.#process, 'spawn');
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
