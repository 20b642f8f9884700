import t from 'tap';
import type { MemberId } from '../core/ids.ts';
import type { NoteVerifier } from '../tlog/note.ts';
import { CoveredUntil } from './coverage.ts';

const logOf = (origin: string) => ({
  origin,
  gateway: { name: 'gw.a', member: 'TW/GOV/A' as MemberId, policy: [] },
  verifier: {} as NoteVerifier, // not asked here
});

void t.test('one log covers up to its last record, sealed or not', async (t) => {
  const covered = new CoveredUntil();
  t.equal(covered.lastAt('gw.a'), undefined);
  covered.note(logOf('gw.a/log/1'), { k: 'boot', at: 5 });
  t.equal(covered.lastAt('gw.a'), 5);
  covered.note(logOf('gw.a/log/1'), { k: 'seal', at: 9 });
  t.equal(covered.lastAt('gw.a'), 9);
  t.equal(covered.lastAt('gw.b'), undefined);
});

void t.test('logs of running workers cover together up to the earliest end', async (t) => {
  const covered = new CoveredUntil();
  covered.note(logOf('gw.a/log/w1/1'), { k: 'open', at: 20 });
  covered.note(logOf('gw.a/log/w2/1'), { k: 'open', at: 12 });
  covered.note(logOf('gw.a/log/1'), { k: 'seal', at: 3 });
  t.equal(covered.lastAt('gw.a'), 12, 'the log from before there were workers is no bound');
  covered.note(logOf('gw.a/log/w1/1'), { k: 'seal', at: 30 });
  covered.note(logOf('gw.a/log/w2/1'), { k: 'seal', at: 31 });
  t.equal(covered.lastAt('gw.a'), 31);
});

void t.test('a new epoch goes on where the old one was given up', async (t) => {
  const covered = new CoveredUntil();
  covered.note(logOf('gw.a/log/1'), { k: 'open', at: 4 });
  covered.note(logOf('gw.a/log/2'), { k: 'open', at: 40 });
  t.equal(covered.lastAt('gw.a'), 40);
});
