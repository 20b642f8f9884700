/** Programs we start, and end by their own process id. */
import {
  execFile,
  spawn,
  type ChildProcess,
  type ExecFileOptions,
  type SpawnOptions,
} from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { endWithUs, stop } from './leftovers.ts';
import { PortBlock } from '../../gateway/sandbox/ports.ts';

const execute = promisify(execFile);

/** Runs a program to its end. @throws Error when it fails, with what it wrote to stderr */
export function run(
  program: string,
  args: readonly string[],
  options: ExecFileOptions = {},
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const running = execute(which(program) ?? program, args, { ...options, encoding: 'utf8' });
  endWithUs(running.child);
  return running;
}

/** Absolute path of a program. Debian keeps servers in sbin, which a user's PATH may lack. */
export function which(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Why a program cannot be run here, or undefined when it can. */
export const missing = (program: string): string | undefined =>
  which(program) === undefined ? `${program} is not installed` : undefined;

let block: Promise<PortBlock> | undefined;

/** A port on loopback for servers that cannot be told "any": ours for as long as this process runs. */
export async function freePort(): Promise<number> {
  return (await (block ??= PortBlock.claim())).take();
}

export interface Running {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Asks with SIGTERM, insists after 15 s. Harmless when it ended already. */
  stop(): Promise<void>;
}

export function start(program: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const child = spawn(which(program) ?? program, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    ...options,
  });
  child.once('error', () => undefined); // there is no such program: it has no pid then
  if (child.pid === undefined) throw new Error(`cannot start ${program}`);
  endWithUs(child);
  return { pid: child.pid, child, stop: () => stop(child) };
}

/** Starts a server that is told its port. @throws Error when it does not listen there within 10 s; then it is gone */
export async function startListening(
  program: string,
  args: readonly string[],
  port: number,
  options: SpawnOptions = {},
): Promise<Running> {
  const running = start(program, args, options);
  try {
    await listening(running, port);
  } catch (cause) {
    await running.stop();
    throw cause;
  }
  return running;
}

/** Waits until somebody accepts on a loopback port. */
async function listening(running: Running, port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (running.child.exitCode !== null)
      throw new Error(`${running.child.spawnfile} ended: ${running.child.exitCode}`);
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch {
      await delay(50);
    } finally {
      socket.destroy();
    }
  }
  throw new Error(`${running.child.spawnfile}: nobody listens on port ${port}`);
}
