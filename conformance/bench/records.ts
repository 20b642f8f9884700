/**
 * What the two records of an exchange cost one gateway: their text, sealed parts, tree and the write to the disk.
 *
 *     node conformance/bench/records.ts [together [rounds [exchanges]]]
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { openLog } from '../../gateway/evidence/log.ts';
import { clock } from '../../gateway/node/clock.ts';
import { appendExchange } from './exchange-records.ts';
import { ON_DISK, temporaryFolder } from './leftovers.ts';
import { median } from './stats.ts';

const TOGETHER = Number(process.argv[2] ?? 32);
const ROUNDS = Number(process.argv[3] ?? 9);
const EXCHANGES = Number(process.argv[4] ?? 4000);

const dir = temporaryFolder(ON_DISK);
const log = await openLog({
  dir,
  origin: 'gw.bench/troad-log/1',
  signingKey: generateKeyPairSync('ed25519').privateKey,
  clock,
  random: randomBytes,
  software: 'bench',
  pid: process.pid,
});

async function round(): Promise<number> {
  const before = process.cpuUsage();
  const client = async (): Promise<void> => {
    for (let done = 0; done < EXCHANGES; done += TOGETHER) await appendExchange(log);
  };
  await Promise.all(Array.from({ length: TOGETHER }, client));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / EXCHANGES;
}

await round();
const costs: number[] = [];
for (let i = 0; i < ROUNDS; i++) costs.push(await round());
process.stdout.write(
  `${TOGETHER} together: ${median(costs).toFixed(1)} µs of CPU an exchange (${Math.min(...costs).toFixed(1)} to ${Math.max(...costs).toFixed(1)})\n`,
);
await log.close();
