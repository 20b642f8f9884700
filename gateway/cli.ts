#!/usr/bin/env node
// An old Node has to get through this file as far as the check of its version: nothing newer than Node 18 at the top.
import { spawn } from 'node:child_process';
import module from 'node:module';
import { constants } from 'node:os';
import { dirname } from 'node:path';

/** First line with the hybrid key exchange visible and type stripping without a warning. */
const LEAST: readonly [major: number, minor: number] = [24, 15];

function isOldNode(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major < LEAST[0] || (major === LEAST[0] && minor < LEAST[1]);
}

/** The Node that came with the package, for a machine whose own is too old. */
function bundledNode(): string | undefined {
  try {
    return module.createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`);
  } catch {
    return undefined;
  }
}

/** Runs this command under another Node and ends as it ends. */
function handOver(node: string): Promise<number> {
  const child = spawn(node, process.argv.slice(1), { stdio: 'inherit' });
  // Whoever stops us means the gateway. Ctrl-C reaches it by itself: a terminal signals the whole group.
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  process.on('SIGINT', () => undefined);
  return new Promise((resolve) => {
    child.once('error', (error) => {
      console.error(error.message);
      resolve(2);
    });
    child.once('exit', (status, signal) => {
      resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

if (isOldNode()) {
  const node = bundledNode();
  if (node === undefined) {
    console.error(
      `troad needs Node ${LEAST.join('.')} or later; this is ${process.versions.node}. Install Node 24 LTS.`,
    );
    process.exit(2);
  }
  process.exit(await handOver(node));
}

// What was compiled is kept, and sources without their types with it. The environment says where to the threads and
// gateways that this process starts: whoever finds everything there needs no stripper of types, 25 MiB of memory.
const { directory } = module.enableCompileCache();
if (directory !== undefined) process.env['NODE_COMPILE_CACHE'] ??= dirname(directory);
const { main } = await import('./commands/program.ts');
process.exitCode = await main(process.argv);
