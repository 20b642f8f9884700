import type { Command } from 'commander';
import { registerActivate } from './policy/activate.ts';
import { registerBuild } from './policy/build.ts';
import { registerDiff } from './policy/diff.ts';
import { registerExplain } from './policy/explain.ts';
import { registerReplay } from './policy/replay.ts';
import { registerSign } from './policy/sign.ts';
import { registerStatus } from './policy/status.ts';
import { registerTest } from './policy/test.ts';
import { registerVerify } from './policy/verify.ts';

/** Each subcommand in a file of its own, which imports what it needs when it is asked for. */
const SUBCOMMANDS: readonly ((policy: Command) => void)[] = [
  registerBuild,
  registerSign,
  registerVerify,
  registerActivate,
  registerStatus,
  registerTest,
  registerExplain,
  registerDiff,
  registerReplay,
];

/** `troad policy …`: from Rego sources to a bundle in force, and what it decided. */
export function registerPolicy(program: Command): void {
  const policy = program.command('policy').description('policy bundles: check them, put them in force');
  for (const register of SUBCOMMANDS) register(policy);
}
