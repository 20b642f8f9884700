// Several copies of one log, and logs that others have seen and nobody gave.
import { mkdtempSync } from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import {
  CONSUMER,
  draft,
  HandClock,
  keyFrom,
  logOptions,
  originOf,
  PROVIDER,
} from '../../conformance/builders/log.ts';
import { openLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { findingsOf, type AuditReport } from './report.ts';
import { parseTrustFile } from './trust-file.ts';
import { auditLogs } from './verify.ts';

const root = mkdtempSync(`${tmpdir()}/troad-copies-`);
t.teardown(() => rm(root, { recursive: true, force: true }));
const clock = new HandClock();
const trust = parseTrustFile(JSON.stringify(trustDocument()));
const verify = (...logs: string[]): Promise<AuditReport> =>
  auditLogs({ storage: nodeStorage(), logs, trust, deep: true });
const kinds = (report: AuditReport): string[] => findingsOf(report).map(({ kind }) => kind);

/** Writes the records of an exchange, or one of a refusal, between an opening and a closing. */
async function lifeOf(dir: string, what: ExchangePair | number, origin = originOf(CONSUMER)): Promise<void> {
  clock.at += 1000;
  const log = await openLog(logOptions(dir, { clock, origin }));
  if (typeof what === 'number')
    await log.append(draft('deny', what, { at: clock.now(), out: 'policy.denied' }));
  else await what.write(log, 'c');
  await log.close();
}

void t.test('an auditor’s older copy of a log is compared with the newer one', async (t) => {
  const [dir, old] = [`${root}/grown`, `${root}/grown-old`];
  await lifeOf(dir, await ExchangePair.sign(1, clock));
  await cp(dir, old, { recursive: true });
  await lifeOf(dir, await ExchangePair.sign(2, clock));
  for (const logs of [
    [dir, old],
    [old, dir],
    [dir, dir],
  ]) {
    const report = await verify(...logs);
    t.same(kinds(report), [], 'what stands in both is no repetition');
    t.match(report.steps[1], { checked: 0, notCheckable: 2 }, 'and counts once');
    const seen = report.logs.map(({ steps }) => steps[3]);
    t.ok(
      seen.some((step) => step?.status === 'pass'),
      'heads of one are looked for in the other',
    );
  }
});

void t.test('two copies of one log that are two logs', async (t) => {
  const [one, two, long] = [`${root}/fork-1`, `${root}/fork-2`, `${root}/fork-3`];
  await lifeOf(one, 1);
  clock.at -= 1000;
  await lifeOf(two, 2);
  await cp(two, long, { recursive: true });
  await lifeOf(long, 3);
  for (const dir of [one, two, long]) t.same(kinds(await verify(dir)), [], 'alone each looks fine');
  for (const logs of [
    [one, two],
    [two, one],
    [one, long],
    [long, one],
  ]) {
    const report = await verify(...logs);
    t.equal(report.result, 'bad');
    t.ok(kinds(report).every((kind) => kind === 'fork'));
  }
  t.same(kinds(await verify(two, long)), []);
});

void t.test(
  'an epoch or a worker’s log that a peer has seen, and that was not given with the others',
  async (t) => {
    const [dir, seer] = [`${root}/epochs`, `${root}/epochs-seen`];
    await lifeOf(dir, 1);
    const origin = originOf(CONSUMER, 2);
    const second = await openLog(
      logOptions(dir, { clock, origin, signingKey: keyFrom(origin), newEpoch: true }),
    );
    const witness = await openLog(logOptions(seer, { clock, origin: originOf(PROVIDER) }));
    await witness.observePeer({ peer: CONSUMER, note: second.checkpoint(), vkeys: [second.vkey] });
    await second.close();
    await witness.close();
    t.same(kinds(await verify(dir, seer)), []);
    t.same(kinds(await verify(seer)), [], 'of a gateway of which nothing was given');
    await rm(`${dir}/epoch-2`, { recursive: true });
    await rm(`${dir}/head`);
    const report = await verify(dir, seer);
    t.match(findingsOf(report), [{ kind: 'missing log', detail: new RegExp(`${origin}: .* records`) }]);
  },
);
