/** CPU times as Linux counts them (proc(5)): /proc/PID/stat, /proc/stat, /proc/PID/status. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';

/** Clock ticks are USER_HZ, which is 100 in the kernel's interface to programs on x86-64 and arm64, whatever HZ is. */
const MS_PER_TICK = 10;

export interface CpuTime {
  readonly userMs: number;
  readonly systemMs: number;
}

export interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  /** The process itself: all its threads, also those that ended. */
  readonly own: CpuTime;
  /** Children that ended and were waited for. */
  readonly reaped: CpuTime;
}

/** @throws SyntaxError when the line is not one of /proc/PID/stat */
export function parseProcessStat(line: string): ProcessStat {
  // The name stands in parentheses and may hold spaces and parentheses itself: only the last ")" ends it.
  const close = line.lastIndexOf(')');
  const pid = Number.parseInt(line, 10);
  const rest =
    close < 0
      ? []
      : line
          .slice(close + 2)
          .trimEnd()
          .split(' ');
  const field = (number: number): number => Number(rest[number - 3]); // fields are numbered from 1; 3 is the state
  const stat: ProcessStat = {
    pid,
    parent: field(4),
    own: { userMs: field(14) * MS_PER_TICK, systemMs: field(15) * MS_PER_TICK },
    reaped: { userMs: field(16) * MS_PER_TICK, systemMs: field(17) * MS_PER_TICK },
  };
  const numbers = [pid, stat.parent, cpuMs(stat.own), cpuMs(stat.reaped)];
  if (!numbers.every(Number.isFinite))
    throw new SyntaxError(`/proc/PID/stat: ${JSON.stringify(line.slice(0, 80))}`);
  return stat;
}

export interface MachineStat {
  /** Time all cores spent in programs and in the kernel for them. */
  readonly busyMs: number;
  /** Time the hypervisor gave to somebody else. */
  readonly stolenMs: number;
}

/**
 * Interrupt time is left out: the kernel may charge it to nobody, and then our own packets would look foreign.
 * @throws SyntaxError when there is no `cpu` line
 */
export function parseMachineStat(text: string): MachineStat {
  const line = /^cpu +(.+)$/m.exec(text)?.[1];
  const [user, nice, system, , , , , steal] = (line ?? '')
    .split(' ')
    .map((ticks) => Number(ticks) * MS_PER_TICK);
  const busyMs = (user ?? Number.NaN) + (nice ?? Number.NaN) + (system ?? Number.NaN);
  if (!Number.isFinite(busyMs)) throw new SyntaxError('/proc/stat: no cpu line');
  return { busyMs, stolenMs: steal ?? 0 };
}

/** Resident memory. */
export interface Memory {
  readonly nowMiB: number;
  /** At most so far, or since {@link forgetPeak}. */
  readonly peakMiB: number;
}

/** @throws SyntaxError when the text is not one of /proc/PID/status */
export function parseMemory(status: string): Memory {
  const [nowMiB, peakMiB] = ['VmRSS', 'VmHWM'].map((name) => {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    if (kib === undefined) throw new SyntaxError(`/proc/PID/status: no ${name}`);
    return Number(kib) / 1024;
  }) as [number, number]; // as many as names
  return { nowMiB, peakMiB };
}

export const cpuMs = (time: CpuTime): number => time.userMs + time.systemMs;

export function sum(...times: readonly CpuTime[]): CpuTime {
  return {
    userMs: times.reduce((total, time) => total + time.userMs, 0),
    systemMs: times.reduce((total, time) => total + time.systemMs, 0),
  };
}

export const since = (before: CpuTime, after: CpuTime): CpuTime => ({
  userMs: after.userMs - before.userMs,
  systemMs: after.systemMs - before.systemMs,
});

/** Every process that can be read now. One that ends while we look is simply not there. */
export function processes(): readonly ProcessStat[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))];
      } catch (cause) {
        if (cause instanceof SyntaxError) throw cause;
        return [];
      }
    });
}

/** The roots and all their living descendants. */
export function descendants(all: readonly ProcessStat[], roots: readonly number[]): readonly ProcessStat[] {
  const found = new Map(all.filter(({ pid }) => roots.includes(pid)).map((stat) => [stat.pid, stat]));
  let size: number;
  do {
    size = found.size;
    for (const stat of all) if (found.has(stat.parent)) found.set(stat.pid, stat);
  } while (found.size > size);
  return [...found.values()];
}

/**
 * CPU time of process trees, children that ended included, so that it never falls while the roots live.
 * @throws Error when a root is gone: its figures would silently be too low
 */
export function treeCpu(roots: readonly number[], all = processes()): CpuTime {
  for (const root of roots)
    if (!all.some(({ pid }) => pid === root)) throw new Error(`process ${root} is gone`);
  return sum(...descendants(all, roots).flatMap(({ own, reaped }) => [own, reaped]));
}

export const machine = (): MachineStat => parseMachineStat(readFileSync('/proc/stat', 'utf8'));

/** Memory of the processes of a tree, added up. */
export function treeMemory(root: number): Memory {
  const all = descendants(processes(), [root]).map(({ pid }) =>
    parseMemory(readFileSync(`/proc/${pid}/status`, 'utf8')),
  );
  return {
    nowMiB: all.reduce((total, { nowMiB }) => total + nowMiB, 0),
    peakMiB: all.reduce((total, { peakMiB }) => total + peakMiB, 0),
  };
}

/** What a tree has now is the most it ever had, from here on (proc(5), clear_refs). */
export function forgetPeak(root: number): void {
  for (const { pid } of descendants(processes(), [root])) writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
