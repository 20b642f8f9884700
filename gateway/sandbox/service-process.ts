import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export interface ServiceProcessOptions {
  /** For messages. */
  readonly name: string;
  /** Program and arguments. */
  readonly run: readonly [program: string, ...args: string[]];
  /** Recognizes the line that says that it has started. */
  readonly isStarted: (line: string) => boolean;
  /** What it writes to standard output, and to standard error when that is where its log goes. */
  readonly onLine: (line: string) => void;
  readonly logsToStderr?: true;
}

/** One process of the sandbox: a gateway, the attestation service. */
export class ServiceProcess {
  readonly ready: Promise<void>;
  readonly unexpectedEnd: Promise<string>;
  readonly #process: ChildProcess;
  readonly #name: string;
  #stopping = false;

  constructor({ name, run: [program, ...args], isStarted, onLine, logsToStderr }: ServiceProcessOptions) {
    this.#name = name;
    const stderr = logsToStderr === true ? 'pipe' : 'inherit';
    this.#process = spawn(program, args, { stdio: ['ignore', 'pipe', stderr] });
    const streams = [this.#process.stdout, this.#process.stderr].filter((stream) => stream !== null);
    const lines: string[] = [];
    this.ready = new Promise((resolve, reject) => {
      for (const input of streams) {
        createInterface({ input }).on('line', (line) => {
          onLine(line);
          if (lines.length < 20) lines.push(line);
          if (isStarted(line)) resolve();
        });
      }
      this.#process.once('error', reject);
      this.#process.once('exit', (code, signal) => {
        reject(new Error(`${name} ended at start (${signal ?? code ?? ''}): ${lines.join('\n')}`));
      });
    });
    this.unexpectedEnd = new Promise((resolve) => {
      this.#process.once('exit', (code, signal) => {
        if (!this.#stopping) resolve(`${name} ended: ${signal ?? `status ${code ?? ''}`}`);
      });
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    const [status] = (await ended) as [number | null];
    if (status !== 0) throw new Error(`${this.#name} did not stop well: status ${status ?? 'none'}`);
  }
}
