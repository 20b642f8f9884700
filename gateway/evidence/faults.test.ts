import t from 'tap';
import { Disk, type DiskStep } from '../../conformance/builders/disk.ts';
import { draft, logOptions } from '../../conformance/builders/log.ts';
import { openCheckpoint } from '../tlog/checkpoint.ts';
import { parseVerifierKey } from '../tlog/note.ts';
import { formatSlot, readHead } from './head-file.ts';
import { openLog, type EvidenceLog, type Health } from './log.ts';

const unavailable = { name: 'Unavailable', code: 'evidence.unavailable' };
const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** Waits until a log finds that it is well, or that it is not. */
const becomes = async (log: EvidenceLog, ok: boolean): Promise<void> => {
  while (log.health.ok !== ok) await later(5);
};
const eio = (): never => {
  throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
};

void t.test('L07: an error of the sync, once, is final; success afterwards is not believed', async (t) => {
  let fail = false;
  const fault = ({ durable, path }: DiskStep): void => {
    if (!fail || !durable || path.endsWith('head')) return;
    fail = false; // the next write would succeed, as after a failed write-back
    eio();
  };
  const healths: Health[] = [];
  const disk = new Disk({ fault });
  const log = await openLog(
    logOptions('/log', { storage: disk, stats: { health: (health) => healths.push(health) } }),
  );
  const before = await log.append(draft('open', 1));
  const signed = log.checkpoint();
  fail = true;
  const waiting = [2, 3, 4].map((n) => log.append(draft('open', n)));
  for (const append of waiting) await t.rejects(append, unavailable);
  await t.rejects(log.append(draft('open', 5)), unavailable);
  await t.rejects(log.append(draft('res.final', 1)), unavailable, 'not even the end of what has begun');
  t.match(log.health, { ok: false, reason: /EIO/ });
  t.match(healths.at(-1), { ok: false });
  t.equal(log.size, before.index + 1n);
  t.equal(log.checkpoint(), signed, 'nothing is signed that may not be on disk');
  await log.close();
  const again = await openLog(logOptions('/log', { storage: disk.restarted(() => false) }));
  t.ok((await again.append(draft('open', 6))).index > before.index);
  await again.close();
});

void t.test('L07: an error while a segment begins is final too', async (t) => {
  let fail = false;
  const disk = new Disk({ fault: ({ path }) => (fail && path.endsWith('.seg') ? eio() : undefined) });
  const log = await openLog(logOptions('/log', { storage: disk, checkpointEveryMs: 1e6 }));
  fail = true;
  const filled = fillUntilRefused(log, 60_000);
  await t.rejects(filled, unavailable);
  fail = false;
  await t.rejects(log.append(draft('deny', 1)), unavailable);
  t.match(log.health, { ok: false, reason: /EIO/ });
  await log.close();
});

void t.test('L08: disk full: nothing new begins, what runs ends on the reserve, and it heals', async (t) => {
  // Room for six segments of 64 KiB, of which the reserve takes two.
  const bounded = new Disk({ capacityBytes: 6 * 65_536 });
  const log = await openLog(logOptions('/log', { storage: bounded, checkpointEveryMs: 1e6 }));
  await log.append(draft('open', 1));
  await log.append(draft('open', 2));
  await t.rejects(fillUntilRefused(log, 20_000), unavailable);
  t.match(log.health, { ok: false, reason: /no room/ });
  const size = log.size;
  await t.rejects(log.append(draft('open', 3)), unavailable, 'nothing new');
  await t.rejects(log.append(draft('deny', 4)), unavailable);
  t.equal(log.size, size, 'nothing was written for it');
  await log.append(draft('req.final', 1));
  await log.append(draft('res.final', 1));
  await log.append(draft('abort', 2, { out: 'evidence.unavailable' }));
  t.equal(log.size, size + 3n, 'what had begun has ended in the log');
  await t.rejects(log.append(draft('res.final', 1)), unavailable, 'and cannot end twice on the reserve');
  await log.close();
});

void t.test('L08: inodes run out: same', async (t) => {
  const disk = new Disk();
  let files = 1000;
  disk.free = async () => ({ bytes: 1e9, files });
  const log = await openLog(logOptions('/log', { storage: disk, checkpointEveryMs: 1e6 }));
  files = 3;
  await t.rejects(fillUntilRefused(log, 200_000), unavailable);
  t.match(log.health, { ok: false, reason: /inodes/ });
  files = 1000;
  await becomes(log, true); // it tries every second

  await log.append(draft('open', 1));
  await log.close();
});

void t.test('L08: a disk that turns read-only under the log', async (t) => {
  let readOnly = false;
  const fault = (): void => {
    if (readOnly) throw Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' });
  };
  const log = await openLog(logOptions('/log', { storage: new Disk({ fault }) }));
  await log.append(draft('open', 1));
  readOnly = true;
  await t.rejects(log.append(draft('open', 2)), unavailable);
  await t.rejects(log.append(draft('open', 3)), unavailable);
  t.match(log.health, { ok: false, reason: /EROFS/ });
  readOnly = false;
  await t.rejects(log.append(draft('open', 4)), unavailable);
  await log.close();
});

void t.test('a head that cannot be stored stops new exchanges', async (t) => {
  let fail = false;
  const fault = ({ path, kind }: DiskStep): void => {
    if (fail && kind === 'write' && path.endsWith('head')) eio();
  };
  const log = await openLog(logOptions('/log', { storage: new Disk({ fault }), checkpointEveryMs: 5 }));
  fail = true;
  await log.append(draft('open', 1));
  await becomes(log, false);
  t.match(log.health, { ok: false, reason: /tree head/ });
  await t.rejects(log.append(draft('open', 2)), unavailable);
  fail = false;
  await log.append(draft('res.final', 1));
  await becomes(log, true);
  await log.close();
});

void t.test('L09: a slow disk pushes back at a bound, and nothing passes unrecorded', async (t) => {
  let slow = false;
  const disk = new Disk({ fault: async ({ durable }) => (slow && durable ? later(200) : undefined) });
  const log = await openLog(logOptions('/log', { storage: disk, maxQueued: 50, checkpointEveryMs: 1e6 }));
  slow = true;
  const first = log.append(draft('open', 0));
  await later(20); // it is being synced now
  const startedAt = performance.now();
  const outcomes = await Promise.allSettled(
    Array.from({ length: 200 }, (_, n) => log.append(draft('open', n + 1))),
  );
  const taken = outcomes.filter(({ status }) => status === 'fulfilled').length;
  t.equal(taken, 50, 'as many as may wait');
  t.ok(performance.now() - startedAt > 100, 'those taken waited for the disk');
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') t.match(outcome.reason, unavailable);
  }
  t.equal((await first).index, 1n);
  t.equal(log.size, 52n);
  t.same(log.health, { ok: true }, 'slow is not broken');
  slow = false;
  await log.close();
});

void t.test('L04: a log restored from a backup is refused, and only a new epoch goes on', async (t) => {
  const disk = new Disk();
  const options = (storage: Disk) => logOptions('/log', { storage, headFile: '/elsewhere/head' });
  await disk.makeDir('/elsewhere');
  const first = await openLog(options(disk));
  await first.append(draft('deny', 1));
  await first.close();
  const backup = disk.snapshot();
  const second = await openLog(options(disk));
  await second.append(draft('deny', 2));
  await second.close();
  const head = (await disk.readFile('/elsewhere/head')) ?? Buffer.alloc(0);
  const text = readHead(head);
  const copy = await openLog(options(disk.snapshot()));
  await copy.close(); // whole and in step with its head: nothing to refuse

  const restored = backup.snapshot();
  restored.poke('/elsewhere/head', () => head);
  await t.rejects(openLog(options(restored)), {
    name: 'Fatal',
    message: /6 records were signed.*holds 3.*next epoch/,
  });
  await t.rejects(openLog(options(restored)), { name: 'Fatal' }, 'asking again does not help');
  await t.rejects(openLog({ ...options(restored), newEpoch: true }), {
    name: 'Fatal',
    message: /higher number/,
  });
  const origin = 'gw.a11.tw.troad.example/troad-log/gw1/2';
  await t.rejects(openLog({ ...options(restored), origin }), { name: 'Fatal', message: /asked for/ });
  const next = await openLog({ ...options(restored), origin, newEpoch: true });
  t.equal(next.size, 2n, 'boot, and why');
  t.equal(openCheckpoint(next.checkpoint(), [parseVerifierKey(next.vkey)]).origin, origin);
  const segments = (await restored.list('/log/epoch-2')).filter((name) => name.endsWith('.seg'));
  const kept = (await restored.readFile(`/log/epoch-2/${segments[0]}`))?.toString('latin1') ?? '';
  t.match(kept, 'new epoch after epoch 1', 'the log tells what was given up');
  t.match(kept, JSON.stringify(text).slice(1, -1).split('\\u2014')[0]?.slice(0, 60));
  await next.close();
  const after = await openLog({ ...options(restored), origin });
  await after.close();
  await t.rejects(openLog(options(restored)), { name: 'Fatal', message: /epoch 1 is over/ });
});

void t.test('L04: a head that is missing, forged, or of another tree', async (t) => {
  const disk = new Disk();
  const open = (storage: Disk) => openLog(logOptions('/log', { storage }));
  const log = await open(disk);
  await log.append(draft('deny', 1));
  await log.close();
  const changed = (change: (copy: Disk) => Promise<void> | void) => async () => {
    const copy = disk.snapshot();
    await change(copy);
    return open(copy);
  };
  await t.rejects(
    changed((copy) => copy.remove('/log/head')),
    { name: 'Fatal', message: /missing/ },
  );
  await t.rejects(
    changed((copy) => copy.poke('/log/head', () => Buffer.from('x'))),
    { name: 'Fatal' },
  );
  await t.rejects(
    changed((copy) =>
      copy.poke('/log/head', (bytes) =>
        formatSlot({ number: 99, note: readHead(bytes).replace('\n3\n', '\n2\n') }),
      ),
    ),
    { name: 'Fatal', message: /signature/ },
  );
  await t.rejects(
    changed((copy) => copy.remove(`/log/epoch-1/${'0'.repeat(20)}.seg`)),
    { name: 'Fatal' },
  );
  await t.rejects(
    changed((copy) =>
      copy.poke(`/log/epoch-1/${'0'.repeat(20)}.seg`, (bytes) => {
        const at = bytes.indexOf('"k":"deny"');
        bytes.write('"k":"open"', at);
        return bytes;
      }),
    ),
    { name: 'Fatal', message: /damaged at byte \d+, record 1; a whole block follows/ },
  );
  const fine = await changed(() => undefined)();
  await fine.close();
});

void t.test('L10: whoever takes the log over fences the one before', async (t) => {
  const disk = new Disk();
  const log = await openLog(logOptions('/log', { storage: disk, checkpointEveryMs: 5 }));
  await t.rejects(openLog(logOptions('/log', { storage: disk })), /EAGAIN/, 'the lock holds');
  // The lock file was deleted, or the volume is mounted twice: a second writer gets in and writes its head.
  disk.poke('/log/head', (bytes) => Buffer.from(bytes.toString().replace('\n1\n', '\n9\n')));
  await log.append(draft('open', 1));
  await becomes(log, false);
  t.match(log.health, { ok: false, reason: /another writer/ });
  await t.rejects(log.append(draft('res.final', 1)), unavailable);
  await log.close();
});

/** Appends records that belong to no exchange until one is refused. */
async function fillUntilRefused(log: EvidenceLog, most: number): Promise<never> {
  for (let bytes = 0; bytes < most * 100; bytes += 3000) {
    await log.append(draft('deny', 9), { meta: Buffer.alloc(3000) });
  }
  throw new Error('never refused');
}
