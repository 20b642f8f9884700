/** What a figure depends on, so that a ratio can be explained. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import type { Run } from './rounds.ts';
import { run, which } from './spawn.ts';
import { spread } from './stats.ts';

export interface Context {
  readonly at: string;
  readonly revision: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly system: string;
  /** For which memory the kernel takes large pages unasked: `always`, `madvise` (where a program asks) or `never`. */
  readonly hugePages: string;
  readonly node: string;
  readonly openssl: string;
  readonly programs: Readonly<Record<string, string>>;
  /** CPU of the calibration job relative to the run's beginning: 1 is a steady machine. */
  readonly calibrationK: { readonly min: number; readonly median: number; readonly max: number };
  /** Share of the machine that others used, in percent. */
  readonly foreignPercent: { readonly min: number; readonly median: number; readonly max: number };
  readonly stolenPercent: { readonly min: number; readonly median: number; readonly max: number };
  readonly repeatedCells: number;
  readonly subjects: Run['subjects'];
}

/** The first line that a program prints about its version, wherever it prints it. wrk also calls that a failure. */
async function version(program: string, flag: string): Promise<string> {
  const path = which(program);
  if (path === undefined) return 'absent';
  // A failure of execFile carries the same two fields.
  const { stdout, stderr } = await run(path, [flag]).catch(
    (cause: { stdout: string; stderr: string }) => cause,
  );
  const line = `${stdout}${stderr}`.split('\n')[0] ?? '';
  return /\d+\.\d[^\s]*/.exec(line)?.[0] ?? line;
}

const revision = (): Promise<string> =>
  run('git', ['describe', '--always', '--dirty'], { cwd: new URL('.', import.meta.url) }).then(
    ({ stdout }) => stdout.trim(),
    () => 'unknown',
  );

function range(values: readonly number[], digits: number): Context['calibrationK'] {
  const { min, median, max } = spread(values);
  return {
    min: Number(min.toFixed(digits)),
    median: Number(median.toFixed(digits)),
    max: Number(max.toFixed(digits)),
  };
}

/** What the pattern captures of a file; `unknown` where there is no such file or nothing like it in it. */
function captured(file: string, pattern: RegExp): string {
  try {
    return pattern.exec(readFileSync(file, 'utf8'))?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

export async function describe(result: Run): Promise<Context> {
  const surroundings = result.samples.map((sample) => sample.surroundings);
  const programs = { nginx: '-v', wrk: '-v', haproxy: '-v' };
  const names = [...Object.keys(result.subjects), 'nginx', 'wrk'];
  const versions = Object.entries(programs)
    .filter(([name]) => names.includes(name))
    .map(async ([name, flag]) => [name, await version(name, flag)] as const);
  return {
    at: new Date().toISOString(),
    revision: await revision(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system: captured('/etc/os-release', /^PRETTY_NAME="(.+)"$/m),
    hugePages: captured('/sys/kernel/mm/transparent_hugepage/enabled', /\[(\w+)\]/), // "always [madvise] never"
    node: process.versions.node,
    openssl: process.versions.openssl,
    programs: Object.fromEntries(await Promise.all(versions)),
    calibrationK: range(
      surroundings.map(({ calibrationMs }) => calibrationMs / result.normalMs),
      3,
    ),
    foreignPercent: range(
      surroundings.map(({ foreign }) => foreign * 100),
      1,
    ),
    stolenPercent: range(
      surroundings.map(({ stolen }) => stolen * 100),
      1,
    ),
    repeatedCells: result.repeated,
    subjects: result.subjects,
  };
}
