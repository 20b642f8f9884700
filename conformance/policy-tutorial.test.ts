// The tutorial of policy authors, word for word: its commands in a shell, its files, its reports.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { withOpa } from '../gateway/commands/policy/command-fixture.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';

t.setTimeout(600_000);
const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const read = (name: string): string => readFileSync(new URL(`../docs/${name}.md`, import.meta.url), 'utf8');
const blocksOf = (text: string) =>
  [...text.matchAll(/^```(sh|sh in-another-terminal|text)\n([^]*?)^```$/gm)].map(([, kind, body = '']) => ({
    kind,
    body,
  }));
const blocks = blocksOf(read('policy-tutorial'));
const steps = blocks.filter(({ kind }) => kind === 'sh');
/** Report that follows a step, if the page shows one. */
const reportOf = (step: (typeof blocks)[number]): string => {
  const next = blocks[blocks.indexOf(step) + 1];
  return next?.kind === 'text' ? next.body : '';
};

/** `…` is anything on a line, or any lines where it stands alone. */
const pattern = (report: string): RegExp =>
  new RegExp(
    report
      .trimEnd()
      .split('\n')
      .map((line) =>
        line === '…'
          ? '[^]*?'
          : line
              .split('…')
              .map((text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
              .join('.*'),
      )
      .join('\\n?'),
  );

void t.test('both languages have the same commands', async (t) => {
  t.strictSame(blocksOf(read('policy-tutorial.zh-TW')), blocks);
  t.equal(steps.length, 8);
});

void t.test('the tutorial, word for word', { ...withOpa, timeout: 600_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'troad-tutorial-'));
  const shim = join(dir, 'bin-troad');
  execFileSync('mkdir', [shim]);
  writeFileSync(
    join(shim, 'troad'),
    `#!/bin/sh\nexec ${[...PLAIN_NODE, CLI].map((word) => `'${word}'`).join(' ')} "$@"\n`,
  );
  chmodSync(join(shim, 'troad'), 0o755);
  const env = { ...process.env, PATH: `${shim}${delimiter}${process.env['PATH'] ?? ''}` };

  const other = blocks.find(({ kind }) => kind === 'sh in-another-terminal')?.body.trim() ?? '';
  const sandbox = spawn('sh', ['-c', `exec ${other}`], { cwd: dir, env, stdio: 'ignore' });
  const ended = new Promise((resolve) => sandbox.once('exit', resolve));
  try {
    for (let waited = 0; waited < 60_000 && !existsSync(join(dir, 'road/sandbox.json')); waited += 100)
      await delay(100);
    // One shell for all steps: what one sets the next may use.
    const script = steps.map(({ body }, i) => `echo '@@@${i}'\n${body}`).join('\n');
    const output = await new Promise<string>((resolve) => {
      const shell = spawn('bash', ['-c', `exec 2>&1\n${script}`], { cwd: dir, env });
      let text = '';
      shell.stdout.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
      shell.once('close', () => resolve(text));
    });
    const said = output.split(/^@@@\d+\n/m).slice(1);
    for (const [i, step] of steps.entries()) {
      const report = reportOf(step);
      if (report === '') t.equal(said[i], '', `step ${i}: nothing to report`);
      else t.match(said[i], pattern(report), `step ${i}`);
    }
  } finally {
    sandbox.kill('SIGTERM');
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
});
