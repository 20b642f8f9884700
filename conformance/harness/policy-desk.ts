import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { CoreRecord } from '../../gateway/evidence/record.ts';
import { bundleDir } from '../../gateway/sandbox/bundle.ts';
import type { SandboxReady } from '../../gateway/sandbox/sandbox.ts';
import { writeObligingBundle, type GeneralClass } from '../builders/obliging-policy.ts';
import { LogTail } from './log-tail.ts';
import { PLAIN_NODE } from './plain-node.ts';

const CLI = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));

export type Side = 'consumer' | 'provider';
export type ExchangeRecord = Extract<CoreRecord, { out: string }>;
const isOfExchange = (record: CoreRecord): record is ExchangeRecord => 'out' in record;

/** Writes the bundle that demands nothing, to start a sandbox with. @returns its folder */
export function writeUndemandingBundle(dir: string): string {
  const bundle = join(dir, 'undemanding');
  writeObligingBundle(bundleDir(), bundle, { obligations: {} });
  return bundle;
}

/** `troad policy …`. @returns what it printed. @throws Error with that, when its exit status is not 0 */
export const troadPolicy = (...args: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const [program, ...first] = PLAIN_NODE;
    execFile(program, [...first, CLI, 'policy', ...args], (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(stdout + stderr, { cause: error }));
    });
  });

/** Puts policies in force in one gateway or the other of a running sandbox with one worker, and reads what they did. */
export class PolicyDesk {
  readonly #dir: string;
  readonly #ready: SandboxReady;
  readonly #logs: Readonly<Record<Side, LogTail>>;
  #bundles = 0;

  /** @param dir with the bundle of {@link writeUndemandingBundle} */
  constructor(dir: string, ready: SandboxReady) {
    this.#dir = dir;
    this.#ready = ready;
    this.#logs = { consumer: new LogTail(ready.consumer.log), provider: new LogTail(ready.provider.log) };
  }

  /** @param general undefined: back to the one that demands nothing. @returns when it is in force */
  async enforce(side: Side, general?: GeneralClass): Promise<void> {
    const name = general === undefined ? 'undemanding' : `bundle-${(this.#bundles += 1)}`;
    const bundle = join(this.#dir, name);
    if (general !== undefined) writeObligingBundle(bundleDir(), bundle, general);
    const config = join(dirname(this.#ready[side].log), 'gateway.yaml');
    await troadPolicy('activate', bundle, '--config', config);
  }

  async records(side: Side): Promise<readonly ExchangeRecord[]> {
    return (await this.#logs[side].records()).filter(isOfExchange);
  }

  /** The newest record of a side that is as asked for, once there are so many. */
  async record(
    side: Side,
    what: string,
    is: (record: ExchangeRecord) => boolean,
    least = 1,
  ): Promise<ExchangeRecord> {
    for (let waited = 0; waited < 60_000; waited += 20) {
      const found = (await this.records(side)).filter(is);
      const newest = found.at(-1);
      if (newest !== undefined && found.length >= least) return newest;
      await delay(20);
    }
    throw new Error(`no record at the ${side}: ${what}`);
  }
}
