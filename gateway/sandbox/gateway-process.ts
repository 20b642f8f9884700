import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** One gateway process. */
export class GatewayProcess {
  readonly ready: Promise<void>;
  readonly unexpectedEnd: Promise<string>;
  readonly #process: ChildProcess;
  readonly #name: string;
  #stopping = false;

  /**
   * @param name of the gateway, for messages
   * @param run the program and the arguments before `--config FILE`
   * @param onLine what it writes
   */
  constructor(
    name: string,
    [program, ...args]: readonly [program: string, ...args: string[]],
    file: string,
    onLine: (line: string) => void,
  ) {
    this.#name = name;
    this.#process = spawn(program, [...args, '--config', file], { stdio: ['ignore', 'pipe', 'inherit'] });
    const { stdout } = this.#process;
    if (stdout === null) throw new Error('gateway without output'); // stdio above asks for a pipe
    const lines: string[] = [];
    this.ready = new Promise((resolve, reject) => {
      createInterface({ input: stdout }).on('line', (line) => {
        onLine(line);
        if (lines.length < 20) lines.push(line);
        if (line.includes('"gateway.started"')) resolve();
      });
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
