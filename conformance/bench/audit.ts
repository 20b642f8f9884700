/**
 * How many records a second `troad audit verify` goes through on one core, with the deep pass and without.
 *
 *     node conformance/bench/audit.ts LOG TRUST [rounds]
 *
 * LOG is the folder of a log or of an epoch, TRUST the trust file it is checked with: both as `audit verify` takes them.
 */
import { readFileSync } from 'node:fs';
import { parseTrustFile } from '../../gateway/audit/trust-file.ts';
import { auditLogs } from '../../gateway/audit/verify.ts';
import { nodeStorage } from '../../gateway/evidence/node-storage.ts';

const [log, trustFile, rounds = '5'] = process.argv.slice(2);
if (log === undefined || trustFile === undefined) {
  process.stderr.write('usage: node conformance/bench/audit.ts LOG TRUST [rounds]\n');
  process.exit(2);
}
const trust = parseTrustFile(readFileSync(trustFile, 'utf8'));
const storage = nodeStorage();

/** CPU microseconds a record. */
async function measure(deep: boolean): Promise<number> {
  const before = process.cpuUsage();
  const { result, logs } = await auditLogs({ storage, logs: [String(log)], trust, deep });
  const { user, system } = process.cpuUsage(before);
  if (result !== 'good') throw new Error(`${log}: \`troad audit verify\` says what is wrong with it`);
  return (user + system) / logs.reduce((records, { size }) => records + Number(size), 0);
}

for (const deep of [false, true]) {
  await measure(deep); // what was never run is compiled
  const each: number[] = [];
  while (each.length < Number(rounds)) each.push(await measure(deep));
  const rates = each.map((us) => `${(1000 / us).toFixed(1)}k`).join(' ');
  const best = Math.min(...each).toFixed(1);
  process.stdout.write(
    `${deep ? 'deep' : 'records and tree'}: ${rates} records per CPU second, ${best} µs each at best\n`,
  );
}
