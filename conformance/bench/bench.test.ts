import t from 'tap';
import fc from 'fast-check';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { execPath } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { PLAIN_NODE } from '../harness/plain-node.ts';
import { batchingBetween, parseCounted } from './batching.ts';
import { describe } from './context.ts';
import { calibrate } from './gauge.ts';
import { checkSamples } from './gates.ts';
import { parseWrk } from './load-closed.ts';
import { poissonArrivals, seeded } from './load-open.ts';
import type { Sample } from './measure.ts';
import { cellName, type Plan } from './plan.ts';
import { cpuMs, descendants, parseMachineStat, parseMemory, parseProcessStat, treeCpu } from './procfs.ts';
import { compareSubjects, conclude, formatResults, insertResults, medianBatching } from './report.ts';
import { runPlan, Void } from './rounds.ts';
import { missing, run } from './spawn.ts';
import { compareRounds, difference, quantile, ratio, spread } from './stats.ts';
import { direct } from './subjects/direct.ts';
import { nginxPair } from './subjects/nginx-pair.ts';
import type { SubjectKind } from './subjects/subject.ts';

// Real servers, on a machine that may have other things to do.
t.setTimeout(170_000);

void t.test('quantiles interpolate, and of nothing there are none', (t) => {
  t.equal(quantile([4, 1, 3, 2], 0.5), 2.5);
  t.equal(quantile([7], 0.99), 7);
  t.equal(quantile([0, 10], 0.99), 9.9);
  t.same(spread([3, 1, 2]), { median: 2, min: 1, max: 3, n: 3 });
  t.throws(() => quantile([], 0.5), RangeError);
  t.throws(() => quantile([1], 1.1), RangeError);
  const figures = fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1 });
  fc.assert(
    fc.property(figures, fc.double({ min: 0, max: 1, noNaN: true }), (values, fraction) => {
      const at = quantile(values, fraction);
      return (
        at >= Math.min(...values) &&
        at <= Math.max(...values) &&
        quantile(values.toReversed(), fraction) === at
      );
    }),
  );
  t.end();
});

void t.test('subjects are compared inside a round: what slows both changes nothing', (t) => {
  const rounds = [1, 7, 2].map(
    (slow) =>
      new Map([
        ['a', 30 * slow],
        ['b', 10 * slow],
      ]),
  );
  t.same(compareRounds(rounds, 'a', 'b', ratio), { median: 3, min: 3, max: 3, n: 3 });
  t.same(
    compareRounds([...rounds, new Map([['a', 1]])], 'b', 'a', difference)?.n,
    3,
    'a round without both is left out',
  );
  t.equal(compareRounds(rounds, 'a', 'c', ratio), undefined);
  t.throws(() => ratio(1, 0), RangeError);
  t.throws(() => ratio(Number.NaN, 1), RangeError);
  t.end();
});

void t.test('/proc is read exactly', (t) => {
  const line = '4242 (a) S (evil) R 17 4242 1 0 -1 4194560 1 2 3 4 250 50 30 20 20 0 9 0 100 1000 10 1\n';
  t.same(parseProcessStat(line), {
    pid: 4242,
    parent: 17,
    own: { userMs: 2500, systemMs: 500 },
    reaped: { userMs: 300, systemMs: 200 },
  });
  for (const wrong of ['', '4242', '4242 (x) R 17', line.replace('250', 'x')]) {
    t.throws(() => parseProcessStat(wrong), SyntaxError, wrong);
  }
  t.same(parseMachineStat('cpu  10 2 30 400 5 60 70 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n'), {
    busyMs: 420,
    stolenMs: 80,
  });
  t.throws(() => parseMachineStat('cpu0 1 2 3 4'), SyntaxError);
  const status = 'VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n';
  t.same(parseMemory(status), { nowMiB: 1, peakMiB: 2 });
  for (const name of ['VmRSS', 'VmHWM'])
    t.throws(() => parseMemory(status.replace(name, 'Vm')), new RegExp(`no ${name}`));
  t.end();
});

void t.test('a tree is its root and all below it, whatever order they are listed in', (t) => {
  const none = { userMs: 0, systemMs: 0 };
  const all = [
    [5, 4],
    [4, 2],
    [2, 1],
    [3, 1],
    [9, 8],
  ].map(([pid = 0, parent = 0]) => ({ pid, parent, own: none, reaped: none }));
  t.same(
    descendants(all, [2])
      .map(({ pid }) => pid)
      .toSorted((a, b) => a - b),
    [2, 4, 5],
  );
  t.throws(() => treeCpu([77], all), /77 is gone/);
  t.end();
});

void t.test('CPU time of a child is counted, while it lives and after', async (t) => {
  const before = cpuMs(treeCpu([process.pid]));
  const spin =
    'const end = performance.now() + 60000; while (process.cpuUsage().user < 3e5 && performance.now() < end);';
  await run(execPath, ['-e', spin]);
  t.ok(cpuMs(treeCpu([process.pid])) - before >= 290, 'the 300 ms that the child burned');
  t.ok(calibrate() > 0);
});

void t.test('the result line of the wrk script is read, an empty answer is an error', (t) => {
  const line =
    '{"requests":1000,"durationUs":2000000,"bytes":1200000,"errors":3,"p50Us":1500.0,"p99Us":9000.0}';
  t.same(parseWrk(`Running 2s test\n${line}\n`), {
    requests: 1000,
    perSecond: 500,
    errors: 3,
    p50Ms: 1.5,
    p99Ms: 9,
  });
  t.equal(parseWrk(line.replace('1200000', '120000')).errors, 1003, 'bodies are missing');
  t.throws(() => parseWrk('unable to connect'), /no result/);
  t.throws(() => parseWrk(line.replace('"p99Us":9000.0', '"p99Us":null')), /wrk/);
  t.throws(() => parseWrk(line.replace('2000000', '0')), /wrk/);
  const unanswered = parseWrk(line.replace('1000', '0').replace('"errors":3', '"errors":0'));
  t.match(unanswered, { requests: 0, errors: 0 });
  t.end();
});

void t.test('a load without an answer voids the run, as one with an error does', (t) => {
  const good = sample('post1k.c8', 'a', 0, {});
  const passed = (...samples: readonly Sample[]): unknown => checkSamples(samples).map((gate) => gate.passed);
  t.same(passed(good, { ...good, subject: 'b' }), [true, true]);
  t.same(passed(good, { ...good, exchanges: 0 }), [false]);
  t.same(passed(good, { ...good, errors: 1 }), [false]);
  t.end();
});

void t.test('arrivals are a Poisson process, the same for every subject', (t) => {
  const due = poissonArrivals(500, 60, seeded(1));
  t.same(due, poissonArrivals(500, 60, seeded(1)));
  t.ok(Math.abs(due.length - 30_000) < 6 * Math.sqrt(30_000), `${due.length} arrivals`);
  const gaps = [...due].map((at, index) => at - (due[index - 1] ?? 0));
  t.ok(gaps.every((gap) => gap >= 0));
  const mean = gaps.reduce((total, gap) => total + gap, 0) / gaps.length;
  const deviation = Math.sqrt(gaps.reduce((total, gap) => total + (gap - mean) ** 2, 0) / gaps.length);
  t.ok(Math.abs(deviation / mean - 1) < 0.05, 'exponential gaps deviate by their mean');
  t.end();
});

const calm = { elapsedMs: 1, foreign: 0, stolen: 0, calibrationMs: 1 };
const sample = (cell: string, subject: string, round: number, figures: Sample['figures']): Sample => ({
  ...{ cell, subject, round, figures, exchanges: 1, errors: 0, cpu: {}, batching: {}, surroundings: calm },
});

void t.test('the published names: CPU and wall as ratios, first byte and percentiles as differences', (t) => {
  const samples = [0, 1, 2].flatMap((round) => [
    sample('post1k.c64', 'troad', round, { cpuUs: 90 + 30 * round, perSecond: 1 }),
    sample('post1k.c64', 'nginx', round, { cpuUs: 30, perSecond: 2 }),
    sample('bulk.get', 'troad', round, { cpuSecondsPerGiB: 3, mbPerSecond: 300 }),
    sample('bulk.get', 'nginx', round, { cpuSecondsPerGiB: 2, mbPerSecond: 600 }),
    sample('churn', 'troad', round, { cpuUs: 30, perSecond: 1 }),
    sample('churn', 'nginx', round, { cpuUs: 12, perSecond: 2 }),
    sample('bulk.put4', 'troad', round, { cpuSecondsPerGiB: 4, mbPerSecond: 300 }),
    sample('bulk.put4', 'nginx', round, { cpuSecondsPerGiB: 2, mbPerSecond: 400 }),
    sample('open500', 'troad', round, { cpuUs: 8, p50Ms: 3, p99Ms: 9 }),
    sample('open500', 'nginx', round, { cpuUs: 2, p50Ms: 1, p99Ms: 4 }),
    sample('ttfb', 'troad', round, { firstByteMs: 5 }),
    sample('ttfb', 'nginx', round, { firstByteMs: 3 }),
  ]);
  const spreads = compareSubjects(samples, 'troad', 'nginx');
  t.same(spreads['cpu.post1k.c64'], { median: 4, min: 3, max: 5, n: 3 });
  t.same(Object.fromEntries(Object.entries(spreads).map(([name, { median }]) => [name, median])), {
    ...{ 'cpu.post1k.c64': 4, 'cpu.bulk.get': 1.5, 'wall.bulk.get': 0.5, 'ttfb.extraMs': 2 },
    ...{ 'cpu.churn': 2.5, 'cpu.bulk.put4': 2, 'wall.bulk.put4': 0.75 },
    ...{ 'cpu.open500': 4, 'open500.p50.extraMs': 2, 'open500.p99.extraMs': 5 },
  });
  t.end();
});

void t.test('a run without nginx is compared with nothing, and no empty table says so', async (t) => {
  const ours = sample('post1k.c8', 'troad', 0, { cpuUs: 9 });
  const published = async (samples: readonly Sample[]): Promise<string> => {
    const result = { samples, gates: [], subjects: {}, normalMs: 1, repeated: 0 };
    return formatResults(conclude(SMOKE, result, await describe(result)));
  };
  const single = await published([ours]);
  t.notMatch(single, 'against');
  t.match(single, '| post1k.c8 | troad | 9 |');
  const pair = await published([ours, { ...ours, subject: 'nginx', figures: { cpuUs: 3 } }]);
  t.match(pair, /^\*\*troad against nginx\*\*\n\n.*\n.*\n\| cpu\.post1k\.c8 \| 3 \|/);
});

void t.test('the surroundings tell whether the kernel takes large pages unasked', async (t) => {
  const samples = [sample('post1k.c8', 'troad', 0, {})];
  const { hugePages } = await describe({ samples, gates: [], subjects: {}, normalMs: 1, repeated: 0 });
  const file = '/sys/kernel/mm/transparent_hugepage/enabled';
  const chosen = ['always', 'madvise', 'never'].filter(
    (word) => existsSync(file) && readFileSync(file, 'utf8').includes(`[${word}]`),
  );
  t.equal(hugePages, chosen[0] ?? 'unknown');
});

const PAGE = `# HELP troad_signature_messages Messages of ours that one signature serves.
troad_signature_messages_bucket{le="+Inf"} 4
troad_signature_messages_sum 10
troad_signature_messages_count 4
troad_evidence_records_total 30
troad_evidence_commit_seconds_sum 0.5
troad_evidence_commit_seconds_count 6
nodejs_gc_seconds_total 0.5
`;

void t.test("what one signature and one write served, from the operator's page", (t) => {
  const before = parseCounted(PAGE);
  t.same(before, { signatures: 4, messages: 10, commits: 6, records: 30, collectorSeconds: 0.5 });
  for (const name of [
    'messages_sum',
    'messages_count',
    'records_total',
    'commit_seconds_count',
    'gc_seconds_total',
  ])
    t.throws(() => parseCounted(PAGE.replace(name, 'other')), new RegExp(`no \\w+${name}`));
  t.throws(() => parseCounted(PAGE.replace('_sum 10', '_sum x')), /no troad_signature_messages_sum/);
  const after = { signatures: 14, messages: 90, commits: 26, records: 110, collectorSeconds: 0.75 };
  const near = batchingBetween(before, after, 40);
  t.same(near, { messagesPerSignature: 8, recordsPerCommit: 4, commitsPerExchange: 0.5, collectorMs: 250 });
  const samples = [0, 2, 1].map((round) => ({
    ...sample('post1k.c8', 'troad', round, {}),
    batching: { near: { ...near, recordsPerCommit: round } },
  }));
  t.same(medianBatching(samples), { 'post1k.c8': { near: { ...near, recordsPerCommit: 1 } } });
  t.end();
});

void t.test('tables go between the markers of the README, again and again', (t) => {
  const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');
  const first = insertResults(readme, 'FIRST $& $1');
  t.match(first, 'FIRST $& $1');
  t.equal(insertResults(first, 'SECOND'), insertResults(readme, 'SECOND'));
  t.throws(() => insertResults('no markers', 'x'), /README/);
  t.throws(() => insertResults(first + first, 'x'), /README/);
  t.end();
});

for (const how of ['an error', 'SIGINT', 'SIGTERM'] as const) {
  void t.test(`${how} that ends a measurement ends what it started and removes what it wrote`, async (t) => {
    const [env, ...args] = PLAIN_NODE;
    const ending =
      how === 'an error' ? "setImmediate(() => { throw new Error('void') })" : 'setInterval(() => {}, 1000)';
    const program = `
      const { start } = await import(${JSON.stringify(new URL('spawn.ts', import.meta.url).href)});
      const { keep, temporaryFolder } = await import(${JSON.stringify(new URL('leftovers.ts', import.meta.url).href)});
      const [gone, kept] = [0, 1].map(() => temporaryFolder(${JSON.stringify(t.testdir({}))}));
      for (const folder of [gone, kept]) writeFileSync(folder + '/log', 'x');
      keep(kept);
      const { pid } = start('sleep', ['300']);
      process.stdout.write(JSON.stringify({ pid, gone, kept }), () => { ${ending} });`;
    const child = spawn(
      env,
      [...args, '--input-type=module', '-e', `import { writeFileSync } from 'node:fs';${program}`],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    const [text] = (await once(child.stdout, 'data')) as [Buffer];
    const { pid, gone, kept } = JSON.parse(text.toString()) as { pid: number; gone: string; kept: string };
    if (how !== 'an error') child.kill(how);
    const [status] = (await once(child, 'exit')) as [number | null];
    t.equal(status, how === 'an error' ? 1 : 128 + constants.signals[how]);
    const runs = (): boolean => {
      try {
        return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      } catch {
        return false;
      }
    };
    for (let waited = 0; waited < 60_000 && runs(); waited += 20) await delay(20);
    t.notOk(runs());
    t.notOk(existsSync(gone));
    t.ok(existsSync(`${kept}/log`), 'what is kept stays');
  });
}

const absent = missing('nginx') ?? missing('wrk') ?? missing('openssl');
const skip = absent === undefined ? false : `LIVE BENCHMARK NOT RUN: ${absent}`;
const SMOKE: Plan = {
  ...{ name: 'smoke', rounds: 1, directRounds: 1, payloadBytes: 16 << 20, attempts: 1 },
  warm: { requests: 1, seconds: 1, leadSeconds: 1 },
  cells: [
    { load: 'closed', connections: 8, seconds: 1 },
    { load: 'churn', connections: 8, seconds: 1 },
    { load: 'open', perSecond: 200, seconds: 0.5 },
    ...(['get', 'put'] as const).flatMap((direction) => [
      { load: 'bulk', direction, streams: 1, transfers: 1 } as const,
      { load: 'bulk', direction, streams: 4, transfers: 1 } as const,
    ]),
    { load: 'first-byte', transfers: 2 },
  ],
};
const quiet = (): undefined => undefined;

void t.test('one round of everything, with real servers', { skip }, async (t) => {
  const result = await runPlan(SMOKE, [direct, nginxPair], quiet, new AbortController().signal);
  t.ok(result.gates.length >= 12 && result.gates.every(({ passed }) => passed));
  t.equal(result.samples.length, 2 * SMOKE.cells.length - 1, 'new connections are for those with TLS');
  for (const { cell, figures, errors, exchanges, cpu, subject } of result.samples) {
    t.ok(errors === 0 && exchanges > 0, `${subject} ${cell}`);
    // The system counts CPU time in hundredths of a second: so short a load may take none.
    t.ok(
      Object.entries(figures).every(
        ([name, figure]) => figure > 0 || (figure === 0 && name.startsWith('cpu')),
      ),
      `${subject} ${cell}: ${JSON.stringify(figures)}`,
    );
    t.equal(Object.keys(cpu).length, subject === 'nginx' ? 2 : 0);
  }
  const streamed = result.samples.filter(({ cell }) => /^bulk\..*4$/.test(cell));
  t.ok(streamed.length === 4 && streamed.every(({ exchanges }) => exchanges === 4), 'four at once');
  const results = conclude(SMOKE, result, await describe(result));
  t.same(results.ratios, {}, 'ours did not run');
  for (const cell of SMOKE.cells) t.match(formatResults(results), `| ${cellName(cell)} | nginx |`);
});

void t.test('a subject that answers with other bytes voids the run', { skip }, async (t) => {
  const wrongFile: SubjectKind = {
    ...direct,
    async start(lab) {
      const subject = await direct.start(lab);
      const target: typeof subject.target = (door, path) =>
        subject.target(door, path === '/payload' ? '/part' : path);
      return { ...subject, target };
    },
  };
  const interrupt = new AbortController().signal;
  await t.rejects(runPlan(SMOKE, [wrongFile], quiet, interrupt), Void);
  await t.rejects(runPlan(SMOKE, [direct], quiet, AbortSignal.abort(new Error('Ctrl-C'))), {
    message: 'Ctrl-C',
  });
});
