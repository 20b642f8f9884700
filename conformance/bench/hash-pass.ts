/**
 * How many records a second the auditor's hash pass goes through on one core: a log as the gateway writes it, read back.
 *
 *     node conformance/bench/hash-pass.ts [records]
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { findEpochs } from '../../gateway/audit/folder.ts';
import { hashEpoch } from '../../gateway/audit/hash-pass.ts';
import { openLog, type EvidenceLog } from '../../gateway/evidence/log.ts';
import { nodeStorage } from '../../gateway/evidence/node-storage.ts';
import { clock } from '../../gateway/node/clock.ts';
import { appendExchange } from './exchange-records.ts';
import { ON_DISK, temporaryFolder } from './leftovers.ts';

const RECORDS = Number(process.argv[2] ?? 200_000);
const TOGETHER = 50;
const ROUNDS = 5;
const ORIGIN = 'gw.bench/troad-log/1';

/** @param append two records, when both are on disk */
async function measure(what: string, append: (log: EvidenceLog) => Promise<unknown>): Promise<void> {
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
  const client = async (): Promise<void> => {
    for (let done = 0; done < RECORDS; done += 2 * TOGETHER) await append(log);
  };
  await Promise.all(Array.from({ length: TOGETHER }, client));
  await log.close();

  const storage = nodeStorage();
  const [epoch] = await findEpochs(storage, dir);
  if (epoch === undefined) throw new Error('no log was written');
  const bytes = epoch.segments.reduce((sum, path) => sum + statSync(path).size, 0);
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage();
    const { frontier, damage } = await hashEpoch(storage, epoch, []);
    const { user, system } = process.cpuUsage(before);
    if (damage !== undefined) throw new Error(damage.detail);
    rates.push(Number(frontier.size) / ((user + system) / 1e6));
  }
  const each = Math.round(bytes / RECORDS);
  const thousands = rates.map((rate) => `${Math.round(rate / 1000)}k`).join(' ');
  process.stdout.write(`${what}, ${each} bytes each: ${thousands} records per CPU second\n`);
}

const why = 'x'.repeat(650);
const short = { k: 'config', at: clock.now(), why } as const;
await measure('records alone', (log) => Promise.all([log.append(short), log.append(short)]));
await measure('as exchanges of users leave them, with their parts', appendExchange);
