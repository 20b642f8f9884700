import { readdir, readFile, stat } from 'node:fs/promises';
import t from 'tap';
import { sha256, utf8 } from '../core/bytes.ts';
import { openCheckpoint, parseCheckpoint } from '../tlog/checkpoint.ts';
import { leafHash } from '../tlog/hash.ts';
import { noteSigner, parseVerifierKey, signNote } from '../tlog/note.ts';
import { verifyConsistency, verifyInclusion } from '../tlog/proof.ts';
import { formatCheckpoint } from '../tlog/checkpoint.ts';
import {
  draft,
  exchangeId,
  HandClock,
  keyFrom,
  logOptions,
  originOf,
  PROVIDER,
} from '../../conformance/builders/log.ts';
import { membersOf, PART_CLASSES } from './codec.ts';
import { readHead } from './head-file.ts';
import { openLog, type EvidenceLog } from './log.ts';

const headOf = (log: EvidenceLog) => openCheckpoint(log.checkpoint(), [parseVerifierKey(log.vkey)]);

void t.test('a record is on disk, provable, and covered by the next checkpoint', async (t) => {
  const log = await openLog(logOptions(t.testdir()));
  const before = headOf(log);
  t.equal(before.size, 1n, 'the boot record');
  const receipts = await Promise.all(
    Array.from({ length: 500 }, (_, n) => log.append(draft('req.final', n), { meta: utf8(`meta ${n}`) })),
  );
  t.equal(log.size, 501n);
  t.same(
    receipts.map(({ index }) => index),
    receipts.map((_, n) => BigInt(n + 1)),
    'in the order of the calls',
  );
  const [first] = receipts;
  t.same(first?.origin, log.origin);
  await log.close();
  const after = headOf(log);
  t.equal(after.size, 502n, 'the seal is covered too');
  for (const index of [0, 1, 250, 499]) {
    const receipt = receipts[index];
    if (receipt === undefined) throw new Error('no receipt');
    const proof = await log.proveInclusion(receipt.index, log.size).catch((error: unknown) => error);
    t.match(proof, Error, 'a closed log proves nothing');
  }
});

void t.test('proofs of a running log lead to its checkpoints, across segments and a restart', async (t) => {
  const options = logOptions(t.testdir());
  let log = await openLog(options);
  const heads = [headOf(log)];
  const receipts = [];
  for (let round = 0; round < 6; round += 1) {
    const batch = Array.from({ length: 100 }, (_, n) => draft('deny', round * 100 + n));
    receipts.push(
      ...(await Promise.all(batch.map((record) => log.append(record, { input: Buffer.alloc(300) })))),
    );
    if (round === 3) {
      await log.close();
      log = await openLog(options);
    }
    heads.push(headOf(log));
  }
  t.ok((await readdir(`${options.dir}/epoch-1`)).filter((name) => name.endsWith('.seg')).length > 3);
  const newest = heads.at(-1);
  if (newest === undefined) throw new Error('no head');
  for (const head of heads) {
    verifyConsistency(
      head.size,
      head.root,
      newest.size,
      newest.root,
      await log.proveConsistency(head.size, newest.size),
    );
  }
  const covered = receipts.filter(({ index }) => index < newest.size);
  for (const { index, leafHash: leaf } of covered) {
    verifyInclusion(leaf, index, newest.size, await log.proveInclusion(index, newest.size), newest.root);
  }
  t.pass(`${heads.length} heads and ${covered.length} records`);
  t.throws(() => log.proveInclusion(0n, log.size + 1n), RangeError);
  await log.close();
});

void t.test(
  'a request of no known role is kept, and the log opens again behind the next segment',
  async (t) => {
    const options = logOptions(t.testdir());
    let log = await openLog(options);
    await log.append(draft('open', 1, { role: 'z' as 'c' })); // what a gateway that signs nonsense does
    await log.append(draft('open', 2));
    const more = Array.from({ length: 200 }, (_, n) => draft('deny', 10 + n));
    await Promise.all(more.map((record) => log.append(record, { input: Buffer.alloc(300) })));
    await log.close();
    t.ok((await readdir(`${options.dir}/epoch-1`)).filter((name) => name.endsWith('.seg')).length > 1);
    log = await openLog(options);
    t.equal(log.size, 206n, 'a boot, 202, a seal; a boot, and an end for the one that ran');
    await log.close();
  },
);

void t.test('a leaf is the exact JSON text of its record', async (t) => {
  const log = await openLog(logOptions(t.testdir()));
  const record = draft('deny', 7, { out: 'policy.denied', xid: 'naïve \u202e\u001b[31m "\n' });
  const receipt = await log.append(record);
  t.same(receipt.leafHash, leafHash(utf8(JSON.stringify({ v: 1, ...record }))));
  t.notMatch(membersOf(record).join(''), /\n|\u001b/, 'L11: no raw control characters');
  await log.close();
});

void t.test('L11: what is too long for a record is refused, and the log goes on', async (t) => {
  const log = await openLog(logOptions(t.testdir()));
  await t.rejects(log.append(draft('deny', 1, { xid: 'x'.repeat(10_000_000) })), RangeError);
  await t.rejects(log.append(draft('deny', 1), { meta: Buffer.alloc(1 << 19) }), RangeError);
  t.same((await log.append(draft('deny', 1))).index, 1n);
  t.same(log.health, { ok: true });
  await log.close();
});

void t.test('every class of parts is kept, each under a key of its own', async (t) => {
  const options = logOptions(t.testdir());
  const log = await openLog(options);
  const parts = Object.fromEntries(PART_CLASSES.map((name) => [name, utf8(`of ${name}`)]));
  await log.append(draft('req.final', 1), parts);
  await log.close();
  const days = await readdir(`${options.dir}/keys`);
  t.strictSame(days.toSorted(), PART_CLASSES.map((name) => `${name}-2026-11-22.key`).toSorted());
});

void t.test('files are for the owner only', async (t) => {
  const options = logOptions(t.testdir());
  const log = await openLog(options);
  await log.append(draft('deny', 1), { meta: utf8('secret') });
  for (const path of [
    'keys/meta-2026-11-22.key',
    'head',
    'epoch-1/checkpoint',
    `epoch-1/${'0'.repeat(20)}.seg`,
  ]) {
    t.equal((await stat(`${options.dir}/${path}`)).mode & 0o777, 0o600, path);
  }
  t.equal((await stat(`${options.dir}/keys`)).mode & 0o077, 0);
  await log.close();
});

void t.test(
  'checkpoints are rate-limited, never ahead of the disk, and the last one comes by itself',
  async (t) => {
    const sizes: bigint[] = [];
    const log = await openLog(
      logOptions(t.testdir(), { checkpointEveryMs: 50, stats: { checkpoint: (n) => sizes.push(n) } }),
    );
    const startedAt = performance.now();
    while (performance.now() - startedAt < 300) {
      await log.append(draft('deny', 1));
      t.ok(headOf(log).size <= log.size);
    }
    const elapsed = performance.now() - startedAt;
    t.ok(sizes.length <= elapsed / 50 + 3, `${sizes.length} checkpoints in ${elapsed} ms`);
    while (headOf(log).size < log.size) await new Promise((resolve) => setTimeout(resolve, 10));
    t.pass('the log at rest has signed everything');
    await log.close();
  },
);

void t.test(
  'the head follows at once, its copy for auditors within a second, also of a log at rest',
  async (t) => {
    const clock = new HandClock();
    const options = logOptions(t.testdir(), { clock, checkpointEveryMs: 5 });
    const log = await openLog(options);
    const stored = async (name: string): Promise<boolean> =>
      readHead(await readFile(`${options.dir}/${name}`)) === log.checkpoint();
    const until = async (name: string): Promise<void> => {
      while (!(await stored(name))) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await log.append(draft('deny', 1));
    await until('head');
    // A head that was never stored again: the timer came, the clock of the log was a moment behind it.
    await until('epoch-1/checkpoint'); // nothing is appended any more
    await log.append(draft('deny', 2));
    await until('head');
    await log.append(draft('deny', 3));
    await log.close();
    t.ok(await stored('epoch-1/checkpoint'), 'an orderly end waits for nothing');
  },
);

void t.test('the replay store can be rebuilt from the log', async (t) => {
  const clock = new HandClock();
  const options = logOptions(t.testdir(), { clock });
  let log = await openLog(options);
  const start = clock.at;
  for (let n = 0; n < 300; n += 1) {
    clock.at += 1000;
    await log.append(
      draft(n % 3 === 0 ? 'open' : n % 3 === 1 ? 'req.final' : 'deny', n, { at: clock.at, kid: 'k' }),
    );
  }
  await log.close();
  log = await openLog(options);
  const recent = await log.recentExchanges(100_000);
  const expected = Array.from({ length: 300 }, (_, n) => n).filter(
    (n) => n % 3 !== 2 && start + (n + 1) * 1000 >= clock.at - 100_000,
  );
  t.same(
    recent.map(({ x }) => x),
    expected.map(exchangeId),
  );
  t.match(recent[0], { role: 'c', peer: PROVIDER, kid: 'k' });
  t.equal((await log.recentExchanges(1e9)).length, 200);
  await log.close();
});

void t.test('L05: a peer that shows two trees, or forgets, is put on record once', async (t) => {
  const clock = new HandClock();
  const options = logOptions(t.testdir(), { clock });
  let log = await openLog(options);
  const origin = originOf(PROVIDER);
  const signer = noteSigner(origin, keyFrom('peer'));
  const note = (size: bigint, root: string): string =>
    signNote(formatCheckpoint({ origin, size, root: sha256(root) }), [signer]);
  const observe = (text: string) => log.observePeer({ peer: PROVIDER, note: text, vkeys: [signer.vkey] });

  t.equal(await observe(note(10n, 'ten')), 'grown');
  t.equal(await observe(note(10n, 'ten')), 'same');
  t.equal(await observe(note(12n, 'twelve')), 'grown');
  t.equal(await observe(note(11n, 'eleven')), 'older', 'overtaken on the way');
  t.equal(log.size, 2n, 'boot and one peer.cp: more than one in ten seconds is not recorded');
  t.equal(await observe(note(12n, 'another')), 'disputed');
  t.equal(await observe(note(12n, 'another')), 'disputed');
  t.equal(log.size, 3n, 'one dispute');
  clock.at += 61_000;
  t.equal(await observe(note(11n, 'eleven')), 'disputed', 'a minute later it was not overtaken');
  t.equal(await observe(note(20n, 'twenty')), 'grown');
  await t.rejects(observe(note(21n, 'x').replace('21', '22')), { name: 'MalformedBytes' });
  await t.rejects(observe('hello'), { name: 'MalformedBytes' });
  await log.close();

  log = await openLog(options);
  t.equal(await observe(note(20n, 'other twenty')), 'disputed', 'the last head outlives a restart');
  t.equal(await observe(note(15n, 'fifteen')), 'disputed', 'so does its size');
  t.equal(await observe(note(21n, 'twenty-one')), 'grown');
  t.equal(parseCheckpoint(formatCheckpoint(headOf(log))).origin, log.origin);
  await log.close();
});

void t.test('closing twice, and appending to a closed log', async (t) => {
  const log = await openLog(logOptions(t.testdir()));
  await Promise.all([log.close(), log.close()]);
  await t.rejects(log.append(draft('deny', 1)), { name: 'Unavailable', code: 'evidence.unavailable' });
  t.match(log.health, { ok: false });
});

void t.test('whenFree: records made at its call share the write with those that wait already', async (t) => {
  const writes: number[] = [];
  const stats = { committed: ({ records }: { readonly records: number }) => void writes.push(records) };
  const log = await openLog(logOptions(t.testdir(), { stats, checkpointEveryMs: 1e6 }));
  const free = (): Promise<void> => new Promise((resolve) => log.whenFree(resolve));
  await free();
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate); // it rests

  writes.length = 0;
  const idle = free().then(async () => log.append(draft('deny', 1)));
  const beside = log.append(draft('deny', 2));
  await Promise.all([idle, beside]);
  t.same(writes, [2], 'nothing is being written: this turn’s');

  writes.length = 0;
  const early = log.append(draft('deny', 3));
  await new Promise(setImmediate);
  await Promise.all([early, log.append(draft('deny', 3))]);
  t.same(writes, [2], 'and what comes a turn behind');

  writes.length = 0;
  const first = log.append(draft('deny', 3));
  for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate); // on its way to the disk
  let size = -1n;
  const after = free().then(async () => {
    size = log.size;
    // As many steps as it takes to sign something and come back.
    for (let step = 0; step < 20; step += 1) await Promise.resolve();
    return log.append(draft('deny', 4));
  });
  const waiting = log.append(draft('deny', 5));
  const { index } = await first;
  await Promise.all([after, waiting]);
  t.ok(size > index, 'called when the write before was done');
  t.same(writes, [1, 2]);

  await log.close();
  await free();
  t.pass('and a log that takes no more calls all the same');
});

void t.test('a log starts whatever number of exchanges a crash has left open', async (t) => {
  const dir = t.testdir();
  const options = logOptions(dir, { maxQueued: 50, segmentBytes: 1 << 20 });
  let log = await openLog(options);
  for (let n = 0; n < 120; n += 40)
    await Promise.all(Array.from({ length: 40 }, (_, i) => log.append(draft('req.final', n + i))));
  await log.close();
  log = await openLog(options);
  t.equal(log.size, 1n + 120n + 1n + 1n + 120n, 'an end for each of them behind the boot record');
  await log.close();
  log = await openLog(options);
  t.equal(log.size, 243n + 1n + 1n, 'and none the second time');
  await log.close();
});
