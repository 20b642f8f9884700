import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import {
  CONSUMER,
  draft,
  exchangeId,
  HandClock,
  logOptions,
  originOf,
  PROVIDER,
} from '../../conformance/builders/log.ts';
import { openLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import type { MemberId } from '../core/ids.ts';
import type { NoteVerifier } from '../tlog/note.ts';
import { CoveredUntil } from './coverage.ts';
import { ExchangeBook } from './exchanges.ts';
import { exchangeRecord } from './records.ts';
import { findingsOf, Step } from './report.ts';
import { parseTrustFile } from './trust-file.ts';
import { auditLogs, spread } from './verify.ts';

const logOf = (origin: string) => ({
  origin,
  gateway: { name: 'gw.a', member: 'TW/GOV/A' as MemberId, policy: [] },
  verifier: {} as NoteVerifier, // not asked here
});

void t.test('one log covers up to its seal, or to the millisecond of its last record', async (t) => {
  const covered = new CoveredUntil();
  t.equal(covered.lastAt('gw.a'), undefined);
  covered.note(logOf('gw.a/log/1'), { k: 'boot', at: 5 });
  t.equal(covered.lastAt('gw.a'), 4, 'of a log that runs more may have come in the same millisecond');
  covered.note(logOf('gw.a/log/1'), { k: 'seal', at: 9 });
  t.equal(covered.lastAt('gw.a'), 9);
  t.equal(covered.lastAt('gw.b'), undefined);
});

void t.test('logs of running workers cover together up to the earliest end', async (t) => {
  const covered = new CoveredUntil();
  covered.note(logOf('gw.a/log/w1/1'), { k: 'open', at: 20 });
  covered.note(logOf('gw.a/log/w2/1'), { k: 'open', at: 12 });
  covered.note(logOf('gw.a/log/1'), { k: 'seal', at: 3 });
  t.equal(covered.lastAt('gw.a'), 11, 'the log from before there were workers is no bound');
  covered.note(logOf('gw.a/log/w1/1'), { k: 'seal', at: 30 });
  covered.note(logOf('gw.a/log/w2/1'), { k: 'seal', at: 31 });
  t.equal(covered.lastAt('gw.a'), 31);
});

void t.test('a new epoch goes on where the old one was given up', async (t) => {
  const covered = new CoveredUntil();
  covered.note(logOf('gw.a/log/1'), { k: 'open', at: 4 });
  covered.note(logOf('gw.a/log/2'), { k: 'open', at: 40 });
  t.equal(covered.lastAt('gw.a'), 39);
});

void t.test(
  'what another gateway has of the millisecond in which the copy of a log ends is not missing',
  async (t) => {
    const found = (n: number, k: 'open' | 'seal', at: number): readonly string[] => {
      const [book, agree, covered] = [new ExchangeBook(), new Step('agree'), new CoveredUntil()];
      const record = exchangeRecord({
        v: 1,
        ...draft('req.final', n, { role: 'p', me: PROVIDER, peer: CONSUMER }),
      });
      if (record !== undefined) book.add(1n, record);
      covered.note({ ...logOf('log/1'), gateway: { ...logOf('').gateway, name: CONSUMER } }, { k, at });
      book.judge(agree, covered);
      const kinds = agree.report().findings.map(({ kind }) => kind);
      return kinds.filter((kind) => kind !== 'unfinished');
    };
    const { at } = draft('req.final', 7);
    t.same(found(7, 'open', at), []);
    t.same(found(8, 'open', at), []);
    t.same(found(6, 'open', at), ['missing']);
    t.same(found(7, 'seal', at), ['missing'], 'nothing comes behind a seal');
  },
);

void t.test('a gateway that dates its last record back does not hide what it left out before', async (t) => {
  const root = mkdtempSync(`${tmpdir()}/troad-coverage-`);
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const clock = new HandClock();
  const pair = await ExchangePair.sign(1, clock);
  const provider = await openLog(logOptions(`${root}/p`, { clock, origin: originOf(PROVIDER) }));
  await pair.write(provider, 'p');
  await provider.close();
  clock.at += 120_000;
  const consumer = await openLog(logOptions(`${root}/c`, { clock }));
  await consumer.append(draft('deny', 2, { at: clock.at, out: 'policy.denied' }));
  clock.at -= 3_600_000;
  await consumer.close();
  const trust = parseTrustFile(JSON.stringify(trustDocument()));
  const report = await auditLogs({
    storage: nodeStorage(),
    logs: [`${root}/c`, `${root}/p`],
    trust,
    deep: true,
  });
  t.match(findingsOf(report), [{ kind: 'missing', exchange: exchangeId(1) }]);
  t.match(findingsOf(report, 'note'), [{ kind: 'clock', index: '2' }], 'and that it was set back is told');
});

void t.test('exchanges are spread over the passes, whatever their ids have in common', async (t) => {
  const passOf = spread(100);
  const counts = new Map<number, number>();
  for (let n = 0; n < 20_000; n += 1) {
    const pass = passOf(`AAAAAAAAAAAAAAAA${n}`);
    counts.set(pass, (counts.get(pass) ?? 0) + 1);
  }
  t.equal(counts.size, 100);
  t.ok(Math.max(...counts.values()) < 400, '200 each, and fourteen standard deviations');
  t.equal(spread(1)('A'), 0);
});
