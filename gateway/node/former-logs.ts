import type { EpochMs } from '../core/clock.ts';
import type { LogConfig } from '../config/config.ts';
import type { WorkerLog } from '../config/worker-logs.ts';
import type { SeenExchange } from '../evidence/contract.ts';
import { newestRecord, recentExchanges } from '../evidence/recent.ts';
import type { Storage } from '../evidence/storage.ts';
import type { PolicyFloor } from './policy-admission.ts';

/**
 * Exchanges of logs that no worker goes on with, because there were more of them, or one alone, before this start. What
 * those have seen counts as seen, too.
 */
export async function seenInFormerLogs(
  storage: Storage,
  { dir }: LogConfig,
  current: readonly WorkerLog[],
  since: EpochMs,
): Promise<SeenExchange[]> {
  const seen: SeenExchange[] = [];
  for (const { folder, epoch } of await newestEpochs(storage, dir)) {
    if (!current.some((log) => log.dir === folder))
      seen.push(...(await recentExchanges(storage, epoch, since)));
  }
  return seen;
}

/**
 * Highest policy version that the logs here tell of: those of workers that are no more, too.
 * @returns undefined when there was none
 */
export async function highestPolicyInLogs(
  storage: Storage,
  { dir }: Pick<LogConfig, 'dir'>,
): Promise<PolicyFloor | undefined> {
  let floor: PolicyFloor | undefined;
  for (const { epoch } of await newestEpochs(storage, dir)) {
    // Each says what was highest before it: the newest of a log is enough.
    const record = await newestRecord(storage, epoch, 'policy');
    if (record === undefined) continue;
    const { bundle, version = 0, highest = version } = record;
    const known = floor?.version ?? 0;
    if (highest > known) floor = { version: highest, bundle: highest === version ? bundle : null };
    // One worker returned from it, another did not live to say so.
    else if (highest === known && highest > version) floor = { version: highest, bundle: null };
  }
  return floor;
}

/** Of each worker that ever was: the folder of its log, and in it that of the newest epoch. */
async function newestEpochs(
  storage: Storage,
  dir: string,
): Promise<{ readonly folder: string; readonly epoch: string }[]> {
  await storage.makeDir(dir);
  const workers = (await storage.list(dir)).filter((name) => /^w[1-9]\d?$/.test(name));
  const found = [];
  for (const folder of [dir, ...workers.map((name) => `${dir}/${name}`)]) {
    const epochs = (await storage.list(folder))
      .map((name) => Number(/^epoch-([1-9]\d{0,8})$/.exec(name)?.[1]))
      .filter((epoch) => !Number.isNaN(epoch));
    if (epochs.length > 0) found.push({ folder, epoch: `${folder}/epoch-${Math.max(...epochs)}` });
  }
  return found;
}
