// L06: what a power failure in the middle of any write leaves behind. The disk is a model that loses whatever nobody
// waited for; kill.test.ts does the same to real processes on a real disk.
import t from 'tap';
import fc from 'fast-check';
import { equalBytes } from '../core/bytes.ts';
import { Disk, PowerFailure } from '../../conformance/builders/disk.ts';
import { draft, logOptions } from '../../conformance/builders/log.ts';
import { openCheckpoint } from '../tlog/checkpoint.ts';
import { parseVerifierKey } from '../tlog/note.ts';
import { coreOf, forEachFrame, readBlock, type Block } from './block.ts';
import { decodeCore } from './codec.ts';
import { openLog, type EvidenceLog } from './log.ts';
import type { Receipt } from './receipt.ts';
import type { CoreRecord } from './record.ts';
import { leafHash } from '../tlog/hash.ts';
import { readSegmentHead } from './segment.ts';
import type { Storage } from './storage.ts';

const options = (storage: Storage) => logOptions('/log', { storage, checkpointEveryMs: 1 });

/** Everything that left the log: what it must never go back on. */
interface Promises {
  readonly receipts: Receipt[];
  readonly notes: string[];
}

/** Fills two segments and a bit, and closes. Ends early when the power fails. */
async function work(disk: Disk, promises: Promises): Promise<void> {
  const log = await openLog(options(disk));
  const note = (): void => {
    promises.notes.push(log.checkpoint());
  };
  note();
  for (let n = 0; n < 5; n += 1) {
    const parts = { meta: Buffer.alloc(9000, n), input: Buffer.alloc(3000, n) };
    promises.receipts.push(await log.append(draft('open', n), parts));
    const batch = [draft('req.final', n), draft('deny', 100 + n, { out: 'policy.denied' })];
    promises.receipts.push(...(await Promise.all(batch.map((record) => log.append(record)))));
    note();
    if (n !== 2) promises.receipts.push(await log.append(draft('res.final', n, { status: 200 })));
  }
  await log.close();
  note();
}

async function workUntilPowerFails(disk: Disk, promises: Promises): Promise<void> {
  try {
    await work(disk, promises);
  } catch (thrown) {
    if (
      !(thrown instanceof PowerFailure) &&
      !/PowerFailure|evidence\.unavailable|no room/.test(String(thrown))
    )
      throw thrown;
  }
  // Lets what still runs in the background run into the dead disk.
  await new Promise((resolve) => setTimeout(resolve, 3));
}

async function readRecords(storage: Storage): Promise<CoreRecord[]> {
  const records: CoreRecord[] = [];
  for (const leaf of await readLeaves(storage)) records.push(decodeCore(leaf));
  return records;
}

async function readLeaves(storage: Storage): Promise<Buffer[]> {
  const leaves: Buffer[] = [];
  for (const name of await storage.list('/log/epoch-1')) {
    const bytes = name.endsWith('.seg') ? await storage.readFile(`/log/epoch-1/${name}`) : undefined;
    if (bytes === undefined) continue;
    forEachBlock(bytes, (block) => {
      forEachFrame(block, (prefixed) => leaves.push(Buffer.from(coreOf(prefixed))));
    });
  }
  return leaves;
}

/** @returns where the last block of the segment ends: its last bytes may be zeros, too */
function forEachBlock(bytes: Buffer, visit: (block: Block) => void): number {
  let at = readSegmentHead(bytes).end;
  while (at < bytes.length && bytes[at] !== 0) {
    const block = readBlock(bytes, at);
    visit(block);
    at += block.length;
  }
  return at;
}

/** The log opens again, and holds all it ever promised. */
async function requireKept(disk: Disk, { receipts, notes }: Promises): Promise<void> {
  const log = await openLog(options(disk));
  const leaves = await readLeaves(disk);
  for (const receipt of receipts) {
    const leaf = leaves[Number(receipt.index)];
    if (leaf === undefined || !equalBytes(leafHash(leaf), receipt.leafHash)) {
      throw new Error(`record ${receipt.index} was acknowledged and is gone`);
    }
  }
  for (const note of notes) await requireConsistent(log, note);
  await log.close();
}

async function requireConsistent(log: EvidenceLog, note: string): Promise<void> {
  const { size } = openCheckpoint(note, [parseVerifierKey(log.vkey)]);
  if (size > log.size) throw new Error(`${size} records were signed, ${log.size} are there`);
  await log.proveConsistency(size, log.size);
}

/** A seeded coin for each thing nobody waited for. */
function coin(seed: number): () => boolean {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return ((state >>> 16) & 1) === 1;
  };
}

async function stepsOfWork(): Promise<number> {
  const disk = new Disk();
  await work(disk, { receipts: [], notes: [] });
  return disk.steps;
}

void t.test(
  'L06: power fails at every write step; nothing acknowledged and nothing signed is lost',
  async (t) => {
    const steps = await stepsOfWork();
    for (let step = 1; step <= steps; step += 1) {
      const fates = [() => false, () => true, coin(step), coin(step * 7919)];
      for (const [i, fate] of fates.entries()) {
        const disk = new Disk({ powerFailsAt: step });
        const promises: Promises = { receipts: [], notes: [] };
        await workUntilPowerFails(disk, promises);
        try {
          await requireKept(disk.restarted(fate), promises);
        } catch (thrown) {
          t.fail(`step ${step}, fate ${i}: ${String(thrown)}`);
        }
      }
    }
    t.pass(`${steps} steps`);
  },
);

void t.test('L06: and fails again while the log recovers', async (t) => {
  const steps = await stepsOfWork();
  const property = fc.asyncProperty(
    fc.integer({ min: 1, max: steps }),
    fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat()), { minLength: 1, maxLength: 3 }),
    async (step, restarts) => {
      const promises: Promises = { receipts: [], notes: [] };
      let disk = new Disk({ powerFailsAt: step });
      await workUntilPowerFails(disk, promises);
      for (const [again, seed] of restarts) {
        disk = disk.restarted(coin(seed), { powerFailsAt: again });
        await workUntilPowerFails(disk, promises);
      }
      await requireKept(disk.restarted(coin(step)), promises);
    },
  );
  // The example once left hashes of an earlier life among those that a restart trusts.
  await fc.assert(property, { numRuns: 150, examples: [[110, [[3, 1_455_038_808]]]] });
  t.pass();
});

void t.test(
  'exchanges that a crash cut off end in abort records, torn bytes are noted and kept aside',
  async (t) => {
    const disk = new Disk();
    const log = await openLog(options(disk));
    for (let n = 0; n < 20; n += 1) await log.append(draft('open', n), { meta: Buffer.alloc(9000) });
    for (let n = 0; n < 18; n += 1) await log.append(draft(n % 2 === 0 ? 'res.final' : 'abort', n));
    await new Promise((resolve) => setTimeout(resolve, 5));
    // The end of a block that was being written when the power failed.
    const crashed = disk.snapshot();
    const names = (await crashed.list('/log/epoch-1')).filter((name) => name.endsWith('.seg'));
    const newest = `/log/epoch-1/${names.at(-1)}`;
    crashed.poke(newest, (bytes) => {
      const end = forEachBlock(bytes, () => undefined);
      bytes.fill(0x55, end, end + 777);
      return bytes;
    });
    const again = await openLog(options(crashed));
    const records = await readRecords(crashed);
    const boot = records.findLast(({ k }) => k === 'boot');
    t.match(boot, {
      recovered: { size: '39', tornBytes: 777, unfinished: [draft('open', 18).x, draft('open', 19).x] },
    });
    const aborts = records.slice(records.findLastIndex(({ k }) => k === 'boot') + 1);
    t.match(
      aborts,
      [18, 19].map((n) => ({ k: 'abort', x: draft('open', n).x, role: 'c', out: 'gateway.crashed' })),
    );
    await again.close();
    const third = await openLog(options(crashed));
    t.match((await readRecords(crashed)).at(-1), { k: 'boot', recovered: { tornBytes: 0, unfinished: [] } });
    await third.close();
  },
);

void t.test(
  'of more exchanges than a small segment can list, the newest of each end are ended',
  async (t) => {
    const disk = new Disk();
    const log = await openLog(options(disk));
    const roles = ['c', 'p'] as const;
    for (const role of roles)
      await Promise.all(Array.from({ length: 150 }, (_, n) => log.append(draft('open', n, { role }))));
    // The records of their begin stand in a segment that a restart does not read any more.
    for (let n = 0; n < 10; n += 1) await log.append(draft('deny', n), { meta: Buffer.alloc(9000) });
    const crashed = disk.snapshot();
    await log.close();
    const again = await openLog(options(crashed));
    const records = await readRecords(crashed);
    await again.close();
    for (const role of roles) {
      const ended = records.filter((record) => record.k === 'abort' && record.role === role);
      t.ok(ended.length > 0 && ended.length < 150, `${ended.length} of ${role}`);
      const newest = Array.from({ length: ended.length }, (_, n) => draft('open', 150 - ended.length + n).x);
      t.same(new Set(ended.map((record) => ('x' in record ? record.x : ''))), new Set(newest));
    }
  },
);
