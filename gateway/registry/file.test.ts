import { execFileSync } from 'node:child_process';
import {
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { makeInstance, pinned } from '../../conformance/builders/instance.ts';
import type { RegistryDocument } from './document.ts';
import { RegistryFile } from './file.ts';
import { signRegistry } from './load.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const { document, rootKeys } = await makeInstance(NOW);
const trust = pinned(rootKeys.privateKey);
const text = (change: Partial<RegistryDocument> = {}): Promise<string> =>
  signRegistry({ ...document, ...change }, [rootKeys.privateKey]);
const v7 = await text();
const v8 = await text({ version: 8 });
const v9 = await text({ version: 9, expiresAt: document.expiresAt + 1000 });

async function setUp(t: Test, first = v7) {
  const dir = t.testdir({ 'registry.json': first });
  const time = { now: NOW };
  const clock = { now: () => time.now, monotonic: () => time.now };
  const problems: string[] = [];
  const versions: number[] = [];
  const file = join(dir, 'registry.json');
  const options = {
    file,
    trust,
    clock,
    cache: join(dir, 'registry.cache'),
    onChange: ({ version }: { version: number }) => void versions.push(version),
    onProblem: (problem: string) => void problems.push(problem),
  };
  let tick = 0;
  /** Replaces the file, as a new file or in place, and lets it look changed even within one clock tick. */
  const write = (content: string, inPlace = false): void => {
    tick += 1;
    if (inPlace) writeFileSync(file, content);
    else {
      writeFileSync(`${file}.new`, content);
      renameSync(`${file}.new`, file);
    }
    utimesSync(file, NOW / 1000, NOW / 1000 + tick);
  };
  return { file, options, time, problems, versions, write, open: () => RegistryFile.open(options) };
}

void t.test('takes a newer file, keeps the last good one when the file goes bad', async (t) => {
  const { open, write, problems, versions, file } = await setUp(t);
  const registry = await open();
  t.equal(registry.current.version, 7);
  const first = registry.current;
  t.equal(await registry.refresh(), false);
  t.equal(registry.current, first, 'nothing changed: the same object');

  write(v8);
  t.equal(await registry.refresh(), true);
  t.equal(registry.current.version, 8);
  t.same(versions, [8]);

  const bad: readonly (readonly [what: string, content: string, problem: RegExp])[] = [
    ['older', v7, /version 7 is older than 8/],
    ['half written', v9.slice(0, v9.length / 2), /not JSON/],
    ['of another shape', '{}', /exactly payload, signatures/],
    ['tampered with', v9.replace(/(?<="signature":")./, (c) => (c === 'A' ? 'B' : 'A')), /does not verify/],
  ];
  for (const [what, content, problem] of bad) {
    write(content, true);
    t.equal(await registry.refresh(), false, what);
    t.equal(await registry.refresh(), false);
    t.equal(registry.current.version, 8, what);
    t.match(registry.problem, problem, what);
    t.match(problems.pop(), problem, what);
  }
  t.same(problems, [], 'each problem once, however often we look');

  unlinkSync(file);
  await registry.refresh();
  t.match(problems.pop(), /ENOENT/);
  t.equal(registry.current.version, 8);

  write(v9);
  t.equal(await registry.refresh(), true, 'recovers by itself');
  t.equal(registry.problem, undefined);
});

void t.test('a pipe, a device and a gigabyte in place of the file are not read', async (t) => {
  const { open, write, problems, file } = await setUp(t);
  const registry = await open();
  const put: readonly (readonly [what: string, make: () => void, problem: RegExp])[] = [
    ['a pipe nobody writes to', () => execFileSync('mkfifo', [file]), /is a pipe or a device/],
    [
      'a gigabyte',
      () => {
        writeFileSync(file, '');
        truncateSync(file, 1 << 30);
      },
      /is larger than 128 MiB/,
    ],
    ['what never ends', () => symlinkSync('/dev/zero', file), /is a pipe or a device/],
  ];
  for (const [what, make, problem] of put) {
    unlinkSync(file);
    make();
    t.equal(await registry.refresh(), false, what);
    t.match(problems.pop(), problem, what);
  }
  unlinkSync(file);
  write(v8);
  t.equal(await registry.refresh(), true, 'recovers by itself');
});

void t.test('a file that grows while we look is never taken half', async (t) => {
  const { open, write, file } = await setUp(t);
  const registry = await open();
  for (let length = 0; length <= v8.length; length += Math.ceil(v8.length / 40)) {
    write(v8.slice(0, length), true);
    await registry.refresh();
    t.equal(registry.current.version, 7);
  }
  write(v8, true);
  await registry.refresh();
  t.equal(registry.current.version, 8);
  truncateSync(file, 100);
  await registry.refresh();
  t.equal(registry.current.version, 8);
});

void t.test('serves what it has until that expires, then says so', async (t) => {
  const { open, write, time } = await setUp(t);
  const registry = await open();
  write('gone bad', true);
  time.now = document.expiresAt - 1;
  await registry.refresh();
  registry.current.requireFresh(time.now);
  time.now = document.expiresAt;
  await registry.refresh();
  t.throws(() => registry.current.requireFresh(time.now), { name: 'Unavailable', code: 'registry.expired' });
  write(v9);
  await registry.refresh();
  registry.current.requireFresh(time.now);
  t.equal(registry.current.version, 9, 'a new one ends it');
});

void t.test('looks again at a file that was refused because of the time', async (t) => {
  const { open, write, time } = await setUp(t);
  const registry = await open();
  time.now = NOW - 400_000;
  write(v8);
  t.equal(await registry.refresh(), false);
  t.match(registry.problem, /issued in the future/);
  time.now = NOW;
  t.equal(await registry.refresh(), true, 'the file has not changed, the clock has');
});

void t.test('after a restart versions still do not go back', async (t) => {
  const { open, write, options, problems, time } = await setUp(t, v8);
  await open();
  t.equal(readFileSync(options.cache, 'utf8'), v8);
  t.equal(statSync(options.cache).mode & 0o077, 0);
  write(v7);
  const restarted = await open();
  t.equal(restarted.current.version, 8, 'the copy serves');
  t.match(problems.pop(), /older than 8/);
  write('broken');
  t.equal((await open()).current.version, 8);
  time.now = document.expiresAt;
  await t.rejects(open(), { name: 'MalformedBytes' }, 'an expired copy does not');

  writeFileSync(options.cache, 'broken');
  write(v9);
  await t.rejects(open(), { name: 'ConfigError', message: /remove it to start without/ });
});

void t.test('the first start needs a good file', async (t) => {
  const { open, write, file, time } = await setUp(t);
  write('{}');
  await t.rejects(open(), { name: 'MalformedBytes' });
  write(v7);
  time.now = document.expiresAt;
  await t.rejects(open(), { name: 'Unavailable', code: 'registry.expired' });
  unlinkSync(file);
  await t.rejects(open(), { code: 'ENOENT' });
});

void t.test('a copy that cannot be written is reported; the registry serves', async (t) => {
  const { options, problems, write } = await setUp(t);
  const registry = await RegistryFile.open({
    ...options,
    cache: join(options.file, 'not-a-directory'),
  }).catch(() => undefined);
  t.equal(registry, undefined, 'reading below a file is an error of the system, not "no copy yet"');
  const other = await RegistryFile.open({ ...options, cache: join(t.testdirName, 'missing', 'copy') });
  t.equal(other.current.version, 7);
  t.match(problems.pop(), /ENOENT/);
  write(v8);
  t.equal(await other.refresh(), true);
  t.equal(other.current.version, 8);
});

void t.test('many looks at once are one after the other', async (t) => {
  const { open, write, versions } = await setUp(t);
  const registry = await open();
  write(v8);
  const results = await Promise.all(Array.from({ length: 20 }, () => registry.refresh()));
  t.equal(results.filter(Boolean).length, 1);
  t.same(versions, [8]);
});

void t.test('a listener that throws does not end the looking', async (t) => {
  const { options, write, problems } = await setUp(t);
  const onChange = (): never => {
    throw new Error('log is full');
  };
  const registry = await RegistryFile.open({ ...options, onChange });
  write(v8);
  t.equal(await registry.refresh(), true);
  t.match(problems.pop(), /listener failed: log is full/);
  write(v9);
  t.equal(await registry.refresh(), true);
  t.equal(registry.current.version, 9);
});

void t.test('watches until closed', async (t) => {
  const { open, write } = await setUp(t);
  const registry = await open();
  registry.watch(1000);
  registry.watch(5);
  write(v8);
  for (let i = 0; i < 4000 && registry.current.version !== 8; i += 1) await sleep(5);
  t.equal(registry.current.version, 8);
  await registry.close();
  write(v9);
  await sleep(30);
  t.equal(registry.current.version, 8);
});
