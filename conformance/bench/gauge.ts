/** What the machine itself did to a measurement: how fast its cores were, and who else used them. */
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { cpuMs, machine, treeCpu } from './procfs.ts';

const message = Buffer.alloc(1024, 'troad');
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const signature = sign('sha256', message, privateKey);

/** Milliseconds of CPU that a fixed job takes now: 400 P-256 verifications, of four parts the quickest four times. */
export function calibrate(): number {
  const parts: number[] = [];
  for (let part = 0; part < 4; part += 1) {
    const before = process.cpuUsage();
    for (let n = 0; n < 100; n += 1) {
      if (!verify('sha256', message, publicKey, signature))
        throw new Error('calibration: signature does not verify');
    }
    const { user, system } = process.cpuUsage(before);
    parts.push((user + system) / 1000);
  }
  return 4 * Math.min(...parts);
}

export interface Surroundings {
  readonly elapsedMs: number;
  /** Share (0 to 1) of all cores that programs other than ours used. */
  readonly foreign: number;
  /** Share of all cores that the hypervisor withheld. */
  readonly stolen: number;
  /** The calibration job's CPU milliseconds, mean of before and after. */
  readonly calibrationMs: number;
}

/** Runs one measurement and says what went on around it. `outside`: processes of ours that are not our descendants. */
export async function gauged<T>(
  outside: readonly number[],
  measure: () => Promise<T>,
): Promise<{ readonly result: T; readonly surroundings: Surroundings }> {
  const calibratedBefore = calibrate();
  const roots = [process.pid, ...outside];
  const start = performance.now();
  const before = { machine: machine(), ours: cpuMs(treeCpu(roots)) };
  const result = await measure();
  const after = { machine: machine(), ours: cpuMs(treeCpu(roots)) };
  const elapsedMs = performance.now() - start;
  const capacityMs = elapsedMs * availableParallelism();
  const busyMs = after.machine.busyMs - before.machine.busyMs;
  return {
    result,
    surroundings: {
      elapsedMs,
      foreign: Math.max(0, busyMs - (after.ours - before.ours)) / capacityMs,
      stolen: (after.machine.stolenMs - before.machine.stolenMs) / capacityMs,
      calibrationMs: (calibratedBefore + calibrate()) / 2,
    },
  };
}
