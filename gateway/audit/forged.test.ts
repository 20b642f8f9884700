// A log's copy on its way to the auditor: whoever carries it can write into it, and has no key.
import { mkdtempSync } from 'node:fs';
import { appendFile, cp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import { draft, exchangeId, HandClock, logOptions } from '../../conformance/builders/log.ts';
import { BlockWriter } from '../evidence/block.ts';
import { openLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { findingsOf } from './report.ts';
import { showExchange } from './show.ts';
import { parseTrustFile } from './trust-file.ts';
import { auditLogs } from './verify.ts';

const root = mkdtempSync(`${tmpdir()}/troad-forged-`);
t.teardown(() => rm(root, { recursive: true, force: true }));
const clock = new HandClock();
const storage = nodeStorage();
const trust = parseTrustFile(JSON.stringify(trustDocument()));

/** A block that no log wrote, whole in itself, which says of its record that it stands at the index. */
function forgedBlock(index: bigint, record: object): Buffer {
  const writer = new BlockWriter();
  writer.put(JSON.stringify({ v: 1, ...record }));
  writer.keep();
  return writer.finish(index, [], Buffer.alloc(32));
}

void t.test(
  'a record behind the signed ones that says it stands among them is not shown as proved',
  async (t) => {
    for (const withHashes of [true, false]) {
      const dir = `${root}/behind-${withHashes}`;
      const log = await openLog(logOptions(dir, { clock }));
      await (await ExchangePair.sign(1, clock)).write(log, 'c');
      await log.close();
      const names = (await readdir(`${dir}/epoch-1`)).filter((name) => name.endsWith('.seg'));
      const forged = draft('abort', 1, {
        at: clock.now(),
        out: 'gateway.crashed',
        client: 'TW/GOV/Z99/forger',
      });
      await appendFile(`${dir}/epoch-1/${names.at(-1)}`, forgedBlock(2n, forged));
      if (!withHashes) await rm(`${dir}/epoch-1/hashes`);

      const shown = await showExchange({ storage, logs: [dir], trust, id: exchangeId(1) });
      const told = shown.exchanges[0]?.records.map(({ kind }) => kind);
      t.same(
        told,
        ['req.final', 'res.final'],
        'what no head covers, in a place that is not its own, is not told',
      );
      const report = await auditLogs({ storage, logs: [dir], trust, deep: true });
      t.match(findingsOf(report, 'note'), [{ kind: 'unsigned tail' }], 'and verify says what it found there');
      t.notMatch(JSON.stringify(report), /Z99/);
    }
  },
);

void t.test(
  'a record that was awaited is checked against the head that came, not against the one before',
  async (t) => {
    const dir = `${root}/awaited`;
    const pair = await ExchangePair.sign(2, clock);
    const early = await openLog(logOptions(dir, { clock }));
    await pair.write(early, 'c', ['req.final']);
    await early.close();
    const copy = `${root}/awaited-copy`;
    await cp(dir, copy, { recursive: true });
    await rm(`${copy}/epoch-1/hashes`);
    const late = await openLog(logOptions(dir, { clock }));
    await pair.write(late, 'c', ['res.final']);
    await late.close();
    const [name] = (await readdir(`${copy}/epoch-1`)).filter((each) => each.endsWith('.seg'));
    const forged = draft('abort', 2, { at: clock.now() + 1, out: 'gateway.crashed' });
    await appendFile(`${copy}/epoch-1/${name}`, forgedBlock(3n, forged));

    const wait = (): Promise<void> => cp(`${dir}/epoch-1/checkpoint`, `${copy}/epoch-1/checkpoint`);
    const shown = await showExchange({ storage, logs: [copy], trust, id: exchangeId(2), wait });
    t.equal(shown.result, 'bad');
    t.match(shown.exchanges[0]?.steps[0]?.findings, [{ kind: 'not proved', index: '3' }]);
  },
);
