// Everything CI asks of the tree besides the tests. Checks run side by side; one line each with its time, all findings
// shown, then the count. Exit status 1 when any check failed.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { styleText } from 'node:util';

interface Check {
  readonly name: string;
  readonly command: readonly string[];
  /** What to do about findings. */
  readonly hint?: string;
  /** Exit status that means "cannot be done on this machine": skipped, and said so. */
  readonly unable?: number;
}

const root = join(import.meta.dirname, '..');
const bin = join(root, 'node_modules', '.bin');

const CHECKS: readonly Check[] = [
  { name: 'types', command: ['tsc', '--noEmit', '-p', '.'] },
  { name: 'lint', command: ['oxlint', '--format=unix', '--deny-warnings'] },
  { name: 'format', command: ['prettier', '--check', '--log-level=warn', '.'], hint: 'npm run format' },
  { name: 'unused', command: ['knip', '--no-progress'] },
  { name: 'layers', command: ['node', '.ci/layers.ts'] },
  { name: 'words', command: ['node', '.ci/words.ts'] },
  { name: 'dependencies', command: ['node', '.ci/dependencies.ts'] },
  {
    name: 'policy bundle',
    command: ['node', 'policies/build.mjs', '--check'],
    unable: 2,
    hint: 'node policies/build.mjs',
  },
];

interface Outcome {
  readonly check: Check;
  readonly status: 'ok' | 'failed' | 'skipped';
  readonly output: string;
  readonly elapsedMs: number;
}

function run(check: Check): Promise<Outcome> {
  const started = performance.now();
  const [command = '', ...args] = check.command;
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, PATH: bin + delimiter + (process.env['PATH'] ?? ''), NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  return new Promise((resolve) => {
    const end = (status: Outcome['status'], more = ''): void => {
      const text = Buffer.concat(output).toString('utf8') + more;
      resolve({ check, status, output: text.trim(), elapsedMs: performance.now() - started });
    };
    child.once('error', (error) => end('failed', error.message));
    child.once('close', (code, signal) => {
      if (code === 0) end('ok');
      else if (code !== null && code === check.unable) end('skipped');
      else end('failed', signal === null ? '' : `ended by ${signal}`);
    });
  });
}

function show({ check, status, output, elapsedMs }: Outcome): void {
  const colour = status === 'ok' ? 'green' : status === 'failed' ? 'red' : 'yellow';
  const mark = styleText(colour, status.padEnd(7), { stream: process.stdout });
  process.stdout.write(`${mark} ${check.name.padEnd(14)} ${(elapsedMs / 1000).toFixed(1)} s\n`);
  if (status === 'ok') return;
  process.stdout.write(output.replaceAll(/^/gm, '    ') + '\n');
  if (status === 'failed' && check.hint !== undefined) process.stdout.write(`    → ${check.hint}\n`);
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !CHECKS.some((check) => check.name === name));
if (unknown.length > 0)
  throw new Error(`no such check: ${unknown.join(', ')} (${CHECKS.map(({ name }) => name).join(', ')})`);
const chosen = CHECKS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const missing = chosen.filter(
  ({ command: [program, script = ''] }) => program === 'node' && !existsSync(join(root, script)),
);
if (missing.length > 0)
  throw new Error(`not in the tree: ${missing.map(({ command }) => command[1]).join(', ')}`);

const outcomes = await Promise.all(
  chosen.map(async (check) => {
    const outcome = await run(check);
    show(outcome);
    return outcome;
  }),
);
const count = (status: Outcome['status']): number =>
  outcomes.filter((outcome) => outcome.status === status).length;
process.stdout.write(`\n${count('ok')} passed, ${count('failed')} failed, ${count('skipped')} skipped\n`);
process.exitCode = count('failed') === 0 ? 0 : 1;
