/**
 * How fast recorded decisions are made again: reading the log, opening sealed inputs, evaluating, comparing.
 *
 *     node conformance/bench/replay.ts [decisions [rounds]]
 */
import { fileURLToPath } from 'node:url';
import { BundleShelf, readBundle } from '../../gateway/author/bundles.ts';
import { replayLogs } from '../../gateway/author/replay.ts';
import { nodeStorage } from '../../gateway/evidence/node-storage.ts';
import { PolicyEngine } from '../../gateway/trust/engine.ts';
import { vectorInput, withValue, writeDecisions } from '../builders/decisions.ts';
import { ON_DISK, temporaryFolder } from './leftovers.ts';
import { median } from './stats.ts';

const DECISIONS = Number(process.argv[2] ?? 20_000);
const ROUNDS = Number(process.argv[3] ?? 5);

const storage = nodeStorage();
const folder = fileURLToPath(new URL('../../policies/bundle', import.meta.url));
const scratch = temporaryFolder(ON_DISK);
const bundle = await readBundle(storage, folder);
const bases = ['consumer', 'provider', 'consumer_user', 'provider_user'].map((name) => vectorInput(name));
const inputs = function* () {
  for (let i = 0; i < DECISIONS; i++) {
    const base = bases[i % bases.length] ?? {};
    yield { input: i % 10 === 0 ? withValue(base, '/request/method', 'DELETE') : base }; // a tenth is denied
  }
};
const log = await writeDecisions(`${scratch}/log`, PolicyEngine.load(bundle), inputs());
const rates: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  const before = process.cpuUsage();
  const report = await replayLogs({ storage, logs: [log], shelf: new BundleShelf(storage, [folder]) });
  const { user, system } = process.cpuUsage(before);
  if (report.result !== 'identical' || report.replayed !== DECISIONS)
    throw new Error(`replay: ${JSON.stringify({ ...report, findings: report.findings.slice(0, 3) })}`);
  rates.push(DECISIONS / ((user + system) / 1e6));
}
const least = Math.min(...rates);
console.log(
  `replay ${DECISIONS} decisions: ${Math.round(median(rates))} a CPU second (least ${Math.round(least)})`,
);
