import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import t from 'tap';
import { registerPolicy } from '../policy.ts';

const policies = fileURLToPath(new URL('../../../policies', import.meta.url));
const hasOpa = [['opa'], ['go', 'tool', 'opa']].some(
  ([program = '', ...args]) => spawnSync(program, [...args, 'version'], { cwd: policies }).status === 0,
);

/** Options of a test that needs the compiler; \`npm run check\` insists on it. */
export const withOpa = hasOpa ? {} : { skip: 'opa is not installed' };

/** Runs \`troad policy\` as the shell would, and returns what it printed and its exit status. */
export async function run(...argv: string[]): Promise<{ out: string; status: typeof process.exitCode }> {
  const program = new Command('troad').exitOverride().configureOutput({ writeErr: () => undefined });
  registerPolicy(program);
  const captured = t.capture(process.stdout, 'write', () => true);
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    await program.parseAsync(['policy', ...argv], { from: 'user' });
    const out = captured().map(({ args }) => String(args[0]));
    return { out: out.join(''), status: process.exitCode };
  } finally {
    captured.restore();
    process.exitCode = before;
  }
}
