/**
 * What a measurement starts and writes goes when it ends, by an error or a signal too: it must neither disturb the next
 * one nor fill a disk.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

const children = new Set<ChildProcess>();
const folders = new Set<string>();
let watched = false;

const there = (folder: string): string => (existsSync(folder) ? folder : tmpdir());

/** For what is no part of a measurement: a disk would be. */
export const IN_MEMORY = there('/dev/shm');
/** For logs: in memory, making them durable would cost nothing. */
export const ON_DISK = there('/var/tmp');

/** A new folder. Gone at our end, unless it is to be kept. */
export function temporaryFolder(parent: string): string {
  const folder = mkdtempSync(join(parent, 'troad-bench-'));
  folders.add(folder);
  watch();
  return folder;
}

/** The folder stays, for whoever ran the measurement to look into. */
export function keep(folder: string): void {
  folders.delete(folder);
}

/** Harmless when it is gone. */
export function remove(folder: string): void {
  // A program that still ends may write a last file meanwhile: then once more.
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  folders.delete(folder);
}

/** This program is not to outlive us. */
export function endWithUs(child: ChildProcess): void {
  children.add(child);
  child.once('exit', () => children.delete(child));
  watch();
}

/** Asks with SIGTERM, insists after 15 s. Harmless when it ended already. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const insist = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await ended;
  clearTimeout(insist);
}

/**
 * For a measurement that ends what it started itself, in order: SIGINT and SIGTERM abort the signal, the first of each, and
 * end nothing. To be asked before anything is started.
 */
export function interruption(): AbortSignal {
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      interrupt.abort(new Error(`ended by ${signal}`));
    });
  return interrupt.signal;
}

function watch(): void {
  if (watched) return;
  watched = true;
  process.once('exit', () => {
    for (const child of children) child.kill('SIGTERM');
    for (const folder of folders) remove(folder);
  });
  // A program with a way of its own to end in order does that instead.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    if (process.listenerCount(signal) === 0)
      process.once(signal, () => {
        void Promise.all(Array.from(children, stop)).finally(() =>
          process.exit(128 + constants.signals[signal]),
        );
      });
}
