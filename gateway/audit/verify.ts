import { randomBytes } from 'node:crypto';
import { sha256 } from '../core/bytes.ts';
import { english } from '../core/file-errors.ts';
import type { Checkpoint } from '../tlog/checkpoint.ts';
import { CoveredUntil } from './coverage.ts';
import { EpochAudit, type AuditOptions } from './epoch-audit.ts';
import { ExchangeBook } from './exchanges.ts';
import { epochsAt, type ReadStorage } from './folder.ts';
import { Step, type AuditReport } from './report.ts';
import { MAX_SEGMENT_BYTES } from './segment-reader.ts';
import { withFile } from './small-file.ts';
import type { Trust } from './trust-file.ts';

export type { AuditOptions } from './epoch-audit.ts';

/**
 * Bytes of logs whose exchanges are compared at a time. Of a record of 4 KB with its parts 1 KB of memory is held: 220 MB in
 * all. Larger logs are read several times.
 */
const BYTES_PER_PASS = 900_000_000;

/** Checks logs offline, with nothing but their files and the trust file. Never throws because of what a log holds. */
export async function auditLogs(options: AuditOptions): Promise<AuditReport> {
  const audits: EpochAudit[] = [];
  const folders = new Step('logs are there');
  for (const path of options.logs) {
    const epochs = await epochsAt(options.storage, path, (why) =>
      folders.find('fail', 'no log', english(why)),
    );
    for (const epoch of epochs) audits.push(await EpochAudit.begin(options, epoch));
    folders.checked += epochs.length;
  }
  // First what the records say, then whether the trees bear it: what one log has seen of another is checked on the other.
  const foreign = new Map<string, Checkpoint[]>();
  const passes = Math.max(1, Math.ceil((await sizeOf(audits, options.storage)) / BYTES_PER_PASS));
  const passOf = spread(passes);
  const exchanges = new Step('both ends of each exchange agree');
  const covered = new CoveredUntil();
  for (let pass = 0; pass < passes; pass += 1) {
    const book = new ExchangeBook();
    const told = new Map<string, bigint>();
    for (const audit of audits) await audit.readRecords({ pass, passOf, book, told }, foreign, covered);
    book.judge(exchanges, covered);
  }
  requireSeen(foreign, audits, options.trust, folders);
  for (const audit of audits) await audit.readHeads();
  for (const audit of audits) {
    const copies = audits.filter((other) => other !== audit && other.origin === audit.origin);
    await audit.hash(
      foreign.get(audit.origin ?? '') ?? [],
      copies.flatMap(({ own }) => own),
    );
  }
  const logs = audits.map((audit) => audit.report());
  const steps = [folders.report(), exchanges.report()];
  const bad = [...steps, ...logs.flatMap((log) => log.steps)].some(({ status }) => status === 'fail');
  return { result: bad ? 'bad' : 'good', logs, steps };
}

/**
 * Spreads exchanges over passes. Gateways choose their ids: with a seed that is told to nobody, one cannot have all of them fall
 * into one pass, and with that into memory.
 */
export function spread(passes: number): (x: string) => number {
  const seed = randomBytes(16);
  return passes === 1 ? () => 0 : (x) => sha256(seed, x).readUInt32BE() % passes;
}

/** Of a gateway whose logs were given, a log that others have seen heads of must not be kept back. */
function requireSeen(
  foreign: ReadonlyMap<string, readonly Checkpoint[]>,
  audits: readonly EpochAudit[],
  trust: Trust,
  step: Step,
): void {
  const gateways = new Set(audits.map(({ gateway }) => gateway));
  const origins = new Set(audits.map(({ origin }) => origin));
  for (const [origin, heads] of foreign) {
    if (origins.has(origin) || !gateways.has(trust.logs.get(origin)?.gateway)) continue;
    const size = heads.reduce((most, head) => (head.size > most ? head.size : most), 0n);
    step.find(
      'fail',
      'missing log',
      `${origin}: others have seen ${size} signed records of it; give its folder too`,
    );
  }
}

async function sizeOf(audits: readonly EpochAudit[], storage: ReadStorage): Promise<number> {
  let bytes = 0;
  for (const { epoch } of audits) {
    const [first = ''] = epoch.segments;
    // Segments are of one size but for those cut short: an estimate is enough. One that cannot be read is told of later.
    const size = await withFile(storage, first, (file) => file.size()).catch(() => 0);
    bytes += Math.min(size ?? 0, MAX_SEGMENT_BYTES) * epoch.segments.length;
  }
  return bytes;
}
