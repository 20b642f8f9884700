// TPMs of the sandbox's machines: one swtpm process each, made by a vendor of the sandbox's own (swtpm_localca).
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Tpm } from '../../attest/tpm.ts';

/** swtpm is not installed. */
export class SwtpmMissing extends Error {
  override readonly name = 'SwtpmMissing';
}

const PROGRAMS = ['swtpm', 'swtpm_setup', 'swtpm_localca'] as const;
const START_MS = 60_000;

/** @throws SwtpmMissing */
async function requirePrograms(): Promise<string> {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const found = await Promise.all(
    PROGRAMS.map(async (program) => {
      for (const folder of folders) {
        const path = join(folder, program);
        const isThere = await access(path, constants.X_OK).then(
          () => true,
          () => false,
        );
        if (isThere) return path;
      }
      throw new SwtpmMissing(`${program} is not installed: apt-get install swtpm swtpm-tools`);
    }),
  );
  return found[2] ?? '';
}

/** Who makes the TPMs: its CA signs their endorsement certificates. */
export class TpmVendor {
  readonly #dir: string;
  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** @throws SwtpmMissing */
  static async open(dir: string): Promise<TpmVendor> {
    const localca = await requirePrograms();
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const at = (name: string): string => join(dir, name);
    await writeFile(
      at('localca.conf'),
      `statedir = ${dir}\nsigningkey = ${at('key.pem')}\nissuercert = ${at('issuer.pem')}\ncertserial = ${at('serial')}\n`,
    );
    await writeFile(
      at('localca.options'),
      '--platform-manufacturer Sandbox\n--platform-version 1.0\n--platform-model Machine\n',
    );
    await writeFile(
      at('setup.conf'),
      `create_certs_tool = ${localca}\ncreate_certs_tool_config = ${at('localca.conf')}\ncreate_certs_tool_options = ${at('localca.options')}\nactive_pcr_banks = sha256\n`,
    );
    return new TpmVendor(dir);
  }

  /** PEM files of the CA, once a TPM was made. */
  get root(): string {
    return join(this.#dir, 'swtpm-localca-rootca-cert.pem');
  }

  get issuer(): string {
    return join(this.#dir, 'issuer.pem');
  }

  /** Endorsement key, its certificate in the TPM's own memory: about a second. */
  async make(name: string, state: string): Promise<void> {
    // prettier-ignore
    const args = ['--tpm2', '--tpmstate', state, '--create-ek-cert', '--create-platform-cert', '--lock-nvram',
      '--pcr-banks', 'sha256'];
    const config = ['--config', join(this.#dir, 'setup.conf'), '--vmid', name, '--overwrite'];
    await rm(state, { recursive: true, force: true }); // of a first start that was interrupted
    await mkdir(state, { recursive: true, mode: 0o700 });
    await promisify(execFile)('swtpm_setup', [...args, ...config], { timeout: 180_000 });
    await writeFile(join(state, MADE), ''); // last: its presence means that all is there
  }
}

const MADE = 'made';

/** One TPM: its memory in a folder, and a process while the machine is on. */
export class SoftTpm {
  readonly #state: string;
  readonly #socket: string;
  #process: ChildProcess | undefined;
  #tpm: Tpm | undefined;

  /** @param socket path, short: the system allows about a hundred characters */
  constructor(state: string, socket: string) {
    this.#state = state;
    this.#socket = socket;
  }

  /** Where there is none yet. */
  async makeBy(vendor: TpmVendor, name: string): Promise<void> {
    const isMade = await readFile(join(this.#state, MADE)).then(
      () => true,
      () => false,
    );
    if (!isMade) await vendor.make(name, this.#state);
  }

  /** Power on. The process ends when we let go of it, however we end: none is ever left behind. */
  async powerOn(): Promise<Tpm> {
    if (this.#tpm !== undefined) throw new Error(`${this.#state}: is on`);
    await rm(this.#socket, { force: true });
    const server = `type=unixio,path=${this.#socket},mode=0600`;
    const child = await spawnSwtpm(this.#state, ['--server', server, '--terminate']);
    this.#process = child;
    this.#tpm = await opened(`unix:${this.#socket}`, child);
    return this.#tpm;
  }

  /** Power off, as a machine that is shut down: told beforehand, the TPM's clock never goes back. */
  async powerOff(): Promise<void> {
    const [child, tpm] = [this.#process, this.#tpm];
    this.#process = undefined;
    this.#tpm = undefined;
    if (child === undefined) return;
    const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
    // Where it does not listen any more, or never did.
    if (tpm === undefined) child.kill();
    else await tpm.close({ shutdown: true }).catch(() => child.kill());
    await ended;
  }

  /** What a thief with a copy of the memory has: the same TPM, twice. */
  async copyTo(state: string, socket: string): Promise<SoftTpm> {
    await copyState(this.#state, state);
    return new SoftTpm(state, socket);
  }
}

/** The memory of a TPM a second time, in place of what is there. */
export async function copyState(from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await cp(from, to, { recursive: true });
  await rm(join(to, '.lock'), { force: true });
}

/** @param listen options that say where it takes commands */
export async function spawnSwtpm(state: string, listen: readonly string[]): Promise<ChildProcess> {
  const args = ['socket', '--tpm2', '--tpmstate', `dir=${state}`, ...listen];
  const child = spawn('swtpm', [...args, '--flags', 'not-need-init,startup-clear'], {
    stdio: 'ignore', // it tells of every client that leaves
  });
  await once(child, 'spawn');
  return child;
}

/** The process opens its socket when it is ready; until then nobody answers. */
async function opened(address: string, child: ChildProcess): Promise<Tpm> {
  for (const until = performance.now() + START_MS; ;) {
    try {
      return await Tpm.open(address);
    } catch (thrown) {
      const isLate = performance.now() > until || child.exitCode !== null;
      const isComing =
        thrown instanceof Error && 'code' in thrown && /^(?:ENOENT|ECONNREFUSED)$/.test(String(thrown.code));
      if (isLate || !isComing) {
        child.kill();
        throw new Error(`swtpm does not answer: ${address}`, { cause: thrown });
      }
      await pause(5);
    }
  }
}
