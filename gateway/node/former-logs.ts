import type { EpochMs } from '../core/clock.ts';
import type { LogConfig } from '../config/config.ts';
import type { WorkerLog } from '../config/worker-logs.ts';
import type { SeenExchange } from '../evidence/contract.ts';
import { recentExchanges } from '../evidence/recent.ts';
import type { Storage } from '../evidence/storage.ts';

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
  await storage.makeDir(dir);
  const workers = (await storage.list(dir)).filter((name) => /^w[1-9]\d?$/.test(name));
  const folders = [dir, ...workers.map((name) => `${dir}/${name}`)];
  const seen: SeenExchange[] = [];
  for (const folder of folders) {
    if (current.some((log) => log.dir === folder)) continue;
    const epochs = (await storage.list(folder))
      .map((name) => Number(/^epoch-([1-9]\d{0,8})$/.exec(name)?.[1]))
      .filter((epoch) => !Number.isNaN(epoch));
    if (epochs.length === 0) continue;
    seen.push(...(await recentExchanges(storage, `${folder}/epoch-${Math.max(...epochs)}`, since)));
  }
  return seen;
}
