import t from 'tap';
import { CONSUMER, draft, PROVIDER } from '../../conformance/builders/log.ts';
import type { MemberId } from '../core/ids.ts';
import type { NoteVerifier } from '../tlog/note.ts';
import { CoveredUntil } from './coverage.ts';
import { ExchangeBook } from './exchanges.ts';
import { exchangeRecord } from './records.ts';
import { Step } from './report.ts';

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
