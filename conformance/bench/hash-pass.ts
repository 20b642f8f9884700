/**
 * How many records a second the auditor's hash pass goes through on one core: a log as the gateway writes it, read back.
 *
 *     node conformance/bench/hash-pass.ts [records]
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { findEpochs } from '../../gateway/audit/folder.ts';
import { hashEpoch } from '../../gateway/audit/hash-pass.ts';
import { openLog } from '../../gateway/evidence/log.ts';
import { nodeStorage } from '../../gateway/evidence/node-storage.ts';
import { clock } from '../../gateway/node/clock.ts';
import { ON_DISK, temporaryFolder } from './leftovers.ts';

const RECORDS = Number(process.argv[2] ?? 200_000);
const BATCH = 2_000;
const ROUNDS = 5;
const ORIGIN = 'gw.bench/troad-log/1';

const dir = temporaryFolder(ON_DISK);
const log = await openLog({
  dir,
  origin: ORIGIN,
  signingKey: generateKeyPairSync('ed25519').privateKey,
  clock,
  random: randomBytes,
  software: 'bench',
  pid: process.pid,
});
const why = 'x'.repeat(650); // a record of an exchange has about 700 bytes
for (let done = 0; done < RECORDS; done += BATCH) {
  const at = clock.now();
  await Promise.all(Array.from({ length: BATCH }, () => log.append({ k: 'config', at, why })));
}
await log.close();

const storage = nodeStorage();
const [epoch] = await findEpochs(storage, dir);
if (epoch === undefined) throw new Error('no log was written');
const rates: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  const before = process.cpuUsage();
  const { frontier, damage } = await hashEpoch(storage, epoch, []);
  const { user, system } = process.cpuUsage(before);
  if (damage !== undefined) throw new Error(damage.detail);
  rates.push(Number(frontier.size) / ((user + system) / 1e6));
}
process.stdout.write(
  `${rates.map((rate) => `${Math.round(rate / 1000)}k`).join(' ')} records per CPU second\n`,
);
