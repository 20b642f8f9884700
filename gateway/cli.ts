#!/usr/bin/env node
import { spawnSync } from 'node:child_process';
import { createRequire, enableCompileCache } from 'node:module';

/** First line with the hybrid key exchange visible and type stripping without a warning. */
const LEAST: readonly [major: number, minor: number] = [24, 15];

function isOldNode(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major < LEAST[0] || (major === LEAST[0] && minor < LEAST[1]);
}

/** The Node that came with the package, for a machine whose own is too old. */
function bundledNode(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/bin/node`);
  } catch {
    return undefined;
  }
}

if (isOldNode()) {
  const node = bundledNode();
  if (node === undefined) {
    console.error(`troad needs Node ${LEAST.join('.')} or later; this is ${process.versions.node}. Install Node 24 LTS.`);
    process.exit(2);
  }
  const { status } = spawnSync(node, process.argv.slice(1), { stdio: 'inherit' });
  process.exit(status ?? 1);
}

enableCompileCache();
const { main } = await import('./commands/program.ts');
process.exitCode = await main(process.argv);
