// Runs the tests, all or those named (`npm test -- gateway/tlog gateway/core/ids.test.ts`; flags go to tap), shows
// progress and failures in a readable form, and ends with the line `N passed, N failed, N skipped`.
// The complete TAP text is left in .tap/last-run.tap.
import { spawn } from 'node:child_process';
import { createWriteStream, globSync, mkdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { styleText } from 'node:util';
import { TapReader, type Point } from './tap-reader.ts';

const root = join(import.meta.dirname, '..');
const shown = { red: 'red', green: 'green', yellow: 'yellow' } as const;
const paint = (colour: keyof typeof shown, text: string): string =>
  styleText(shown[colour], text, { stream: process.stdout });
const indented = (lines: readonly string[]): string => lines.map((line) => `      ${line}\n`).join('');

/** Folders become the test files below them, so that a subset means the same to everyone. */
function testFiles(wanted: readonly string[]): string[] {
  return wanted.flatMap((name) => {
    if (!(statSync(join(root, name), { throwIfNoEntry: false })?.isDirectory() ?? false)) return [name];
    const found = globSync(`${name.replace(/\/+$/, '')}/**/*.test.ts`, { cwd: root }).toSorted();
    if (found.length === 0) throw new Error(`no test files below ${name}`);
    return found;
  });
}

const failures: string[] = [];
const skips: string[] = [];
let before = { passed: 0, failed: 0, skipped: 0 };

const reader: TapReader = new TapReader((point: Point) => {
  const where = point.path.join(' › ');
  if (point.directive !== undefined) {
    skips.push(`${where}: ${point.directive.reason === '' ? 'NO REASON GIVEN' : point.directive.reason}`);
  } else if (!point.ok && point.failedBelow === 0) {
    failures.push(where);
    process.stdout.write(`  ${paint('red', '✗')} ${where}\n${indented(point.diagnostics)}`);
  }
  if (point.path.length > 1) return;
  const now = reader.tally;
  const skipped = now.skipped - before.skipped;
  const mark = point.ok
    ? skipped > 0
      ? paint('yellow', 'skip')
      : paint('green', 'ok  ')
    : paint('red', 'FAIL');
  const counts = `${now.passed - before.passed} passed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
  process.stdout.write(`${mark} ${where}  ${counts}, ${(point.elapsedMs / 1000).toFixed(1)} s\n`);
  before = { ...now };
});

const flags = process.argv.slice(2).filter((argument) => argument.startsWith('-'));
const files = testFiles(process.argv.slice(2).filter((argument) => !argument.startsWith('-')));
mkdirSync(join(root, '.tap'), { recursive: true });
const record = createWriteStream(join(root, '.tap', 'last-run.tap'));
const bin = join(root, 'node_modules', '.bin');
const tap = spawn(join(bin, 'tap'), ['--reporter=tap', ...flags, ...files], {
  cwd: root,
  env: { ...process.env, PATH: bin + delimiter + (process.env['PATH'] ?? '') },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = new Promise<string>((resolve) => {
  tap.once('error', (error) => resolve(error.message));
  tap.once('close', (status, signal) => resolve(status === 0 ? '' : (signal ?? `exit status ${status}`)));
});
for await (const line of createInterface({ input: tap.stdout, crlfDelay: Infinity })) {
  record.write(`${line}\n`);
  reader.line(line);
}
const broke = await ended;
reader.end();
record.end();
await finished(record);

const { passed, skipped } = reader.tally;
let { failed } = reader.tally;
const { closing } = reader;
if (closing === undefined || (broke !== '' && failed === 0)) {
  failed += 1;
  failures.push(`tap itself: ${broke === '' ? 'no closing line' : broke}`);
} else if (closing.failed > failed) {
  failures.push(`the count: tap says ${closing.failed} failed, ${failed} were read`);
  failed = closing.failed;
} else if (closing.passed !== passed) {
  // Seen with line breaks in names of tests, which tap counts twice.
  process.stdout.write(`\nNote: tap counts ${closing.passed} passed, ${passed} were read.\n`);
}
if (skips.length > 0)
  process.stdout.write(`\n${paint('yellow', 'Skipped')}\n${skips.map((text) => `  ${text}\n`).join('')}`);
if (failures.length > 0) {
  process.stdout.write(`\n${paint('red', 'Failed')} (all output: .tap/last-run.tap)\n`);
  process.stdout.write(failures.map((text) => `  ${text}\n`).join(''));
}
process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
process.exitCode = failed === 0 ? 0 : 1;
