import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import { exchangeId, HandClock, logOptions, PROVIDER } from '../../conformance/builders/log.ts';
import { openLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import type { RecordDraft } from '../evidence/record.ts';
import { readCore } from './records.ts';
import { renderShow } from './render-show.ts';
import { findingsOf, renderAudit } from './report.ts';
import { showExchange } from './show.ts';
import { parseTrustFile, type TrustedSigners } from './trust-file.ts';
import { auditLogs } from './verify.ts';

// A gateway signs what it likes into its own log. That must end neither the audit of it nor that of the logs beside it.

const storage = nodeStorage();
const clock = new HandClock();
const trust = parseTrustFile(JSON.stringify(trustDocument()));
/** `String` of the last throws. */
const ODD: readonly unknown[] = [null, 5, 'x', [], [null], {}, { c: null }, { toString: 1, valueOf: 1 }];

void t.test('members of records that are of any type end no audit', async (t) => {
  const dir = t.testdir();
  const log = await openLog(logOptions(dir, { clock }));
  const pair = await ExchangePair.sign(1, clock);
  const good = { ...pair.record('res.final', 'c'), usr: { iss: 'i', amr: ['pwd'], at: 1 } };
  const policy = { k: 'policy', at: 1, bundle: 'b', act: 'activate', version: 1 };
  const head = { k: 'peer.cp', at: 1, peer: PROVIDER, note: 'n' };
  const dispute = { k: 'dispute', at: 1, peer: PROVIDER, why: 'w', notes: ['n'] };
  const records: object[] = [];
  for (const value of ODD) {
    for (const name of ['usr', 'dev', 'node', 'tls', 'pol', 'sent', 'parts'])
      records.push({ ...good, [name]: value });
    for (const name of ['meta', 'input', 'subject', 'device'])
      records.push(
        { ...good, parts: { [name]: value } },
        { ...good, parts: { [name]: { c: value, n: value } } },
      );
    for (const name of Object.keys(good.usr)) records.push({ ...good, usr: { ...good.usr, [name]: value } });
    for (const k of ['deny', 'open']) records.push({ ...good, k, pol: { b: value } });
    for (const record of [policy, head, dispute])
      for (const name of Object.keys(record)) if (name !== 'at') records.push({ ...record, [name]: value });
    records.push(
      { k: 'config', at: 1, why: value, parts: value },
      { k: 'seal', at: 1, parts: { meta: value } },
    );
  }
  // Types that our own records do not have: the log takes what its gateway gives it.
  await Promise.all(records.map((record) => log.append(record as RecordDraft)));
  await log.close();
  for (const known of [trust, trusting(trust)]) {
    const report = await auditLogs({ storage, logs: [dir], trust: known, deep: true });
    t.equal(report.result, 'bad');
    t.equal(report.logs[0]?.size, String(records.length + 2));
    t.match(renderAudit(report), /BAD/);
    t.ok(findingsOf(report).length > 100);
  }
  const shown = await showExchange({ storage, logs: [dir], trust, id: exchangeId(1) });
  t.match(renderShow(shown), /BAD/);
});

/** With somebody who may release policies, so that releases in records are looked at. */
const trusting = (before: typeof trust): typeof trust => {
  const signers: TrustedSigners = { threshold: 1, keys: new Map(), notBefore: 0, notAfter: 8e15 };
  const logs = Array.from(before.logs, ([origin, log]) => {
    return [origin, { ...log, gateway: { ...log.gateway, policy: [signers] } }] as const;
  });
  return { ...before, logs: new Map(logs) };
};

void t.test('a record names its parts by digest and length, or is malformed', (t) => {
  const read = (parts: unknown) => readCore(Buffer.from(JSON.stringify({ v: 1, k: 'seal', at: 1, parts })));
  const c = 'A'.repeat(43);
  t.match(
    read({ meta: { c, n: 0 }, later: 5 }),
    { k: 'seal' },
    'classes of later versions are their readers’',
  );
  for (const parts of [
    null,
    5,
    'x',
    [],
    { meta: null },
    { meta: 'x' },
    { input: { c } },
    { device: { c, n: -1 } },
  ])
    t.throws(() => read(parts), { name: 'MalformedBytes', message: /part/ }, JSON.stringify(parts));
  t.end();
});
