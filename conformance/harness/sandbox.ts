import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { SandboxReady } from '../../gateway/sandbox/sandbox.ts';
import { PLAIN_NODE } from './plain-node.ts';
import type { Target } from './raw-socket.ts';

/** A running T-Road to attack: real processes, real sockets. */
export interface Subject {
  readonly ready: SandboxReady;
  /** The consumer's listener, by transport. */
  readonly consumer: { readonly http: Target; readonly https: Target };
  /** Text of everything the processes wrote, for the report of a failure. */
  readonly output: readonly string[];
  /** Exit status of a sandbox that ends by itself. */
  readonly ended: Promise<number>;
  /** `SIGHUP`: as a terminal that closes. */
  stop(signal?: 'SIGTERM' | 'SIGHUP'): Promise<number>;
}

const CLI = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));
const READY_MS = 180_000;

/** Starts `troad sandbox` in a folder and waits until it is ready. @throws Error with its output when it ends instead */
export const startSandbox = (dir: string, ...options: readonly string[]): Promise<Subject> =>
  startSandboxUnder(PLAIN_NODE, dir, '--no-devices', ...options);

/** The same with TPMs, an attestation service and services that demand an attested machine. Needs swtpm. */
export const startSandboxWithDevices = (dir: string): Promise<Subject> => startSandboxUnder(PLAIN_NODE, dir);

/** @param node program and arguments that run Node */
export async function startSandboxUnder(
  [program, ...args]: readonly [string, ...string[]],
  dir: string,
  ...options: readonly string[]
): Promise<Subject> {
  const child = spawn(program, [...args, CLI, 'sandbox', '--dir', dir, '--json', ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number>((resolve) => {
    child.once('exit', (code) => {
      resolve(code ?? 1);
    });
  });
  const output: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => void output.push(line));
  const ready = await readyLine(child, output);
  const { url, tlsUrl, ca, clientCert, clientKey } = ready.consumer;
  return {
    ready,
    consumer: {
      http: targetOf(url),
      https: {
        ...targetOf(tlsUrl),
        tls: { ca: readFileSync(ca), cert: readFileSync(clientCert), key: readFileSync(clientKey) },
      },
    },
    output,
    ended,
    stop(signal = 'SIGTERM') {
      if (child.exitCode === null) child.kill(signal);
      return ended;
    },
  };
}

async function readyLine(child: ChildProcess, output: readonly string[]): Promise<SandboxReady> {
  const { stdout } = child;
  if (stdout === null) throw new Error('no standard output');
  const lines = createInterface({ input: stdout });
  const signal = AbortSignal.timeout(READY_MS);
  const [line] = await Promise.race([
    once(lines, 'line', { signal }),
    once(child, 'exit', { signal }).then(() => [undefined]),
  ]);
  if (typeof line !== 'string') throw new Error(`the sandbox ended:\n${output.slice(-20).join('\n')}`);
  return JSON.parse(line) as SandboxReady; // the program's own contract; a wrong shape fails at its first use
}

function targetOf(url: string): Target {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
