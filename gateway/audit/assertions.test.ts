import { cp, readdir, rm } from 'node:fs/promises';
import t from 'tap';
import { ExchangePair, trustDocument } from '../../conformance/builders/exchanges.ts';
import { CONSUMER, HandClock, logOptions, originOf, PROVIDER } from '../../conformance/builders/log.ts';
import { openLog, type RecordParts } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { findEpochs } from './folder.ts';
import { forEachRecord, readCore } from './records.ts';
import { renderShow } from './render-show.ts';
import { findingsOf, renderAudit, type AuditReport } from './report.ts';
import { showExchange } from './show.ts';
import { parseTrustFile } from './trust-file.ts';
import { auditLogs } from './verify.ts';

// Signatures of requests cover the user's assertion, and its text stands in the `subject` part alone.

const storage = nodeStorage();
const clock = new HandClock();
const trust = parseTrustFile(JSON.stringify(trustDocument()));
const verify = (logs: readonly string[]): Promise<AuditReport> =>
  auditLogs({ storage, logs, trust, deep: true });

const root = t.testdir({});

void t.test('what names a user is in the subject part alone, and goes with its key', async (t) => {
  const user = `assertion="${'e'.repeat(40)}.${'y'.repeat(400)}.${'J'.repeat(86)}", certificate=:${'A'.repeat(43)}=:`;
  const named = (n: number): Promise<ExchangePair> => ExchangePair.sign(n, clock, 200, user);
  const dirs = [CONSUMER, PROVIDER].map((gateway) => `${root}/named-${gateway}`);
  const roles = ['c', 'p'] as const;
  const pairs = await Promise.all([1, 2, 3].map(named)); // one signature for all, then one alone
  pairs.push(await named(4));
  for (const [end, role] of roles.entries()) {
    const origin = originOf(role === 'c' ? CONSUMER : PROVIDER);
    const log = await openLog(logOptions(dirs[end] ?? '', { origin, clock }));
    for (const pair of pairs) await pair.write(log, role);
    await log.close();
  }
  const messages = async (logs: readonly string[]) => {
    const report = await verify(logs);
    t.same(findingsOf(report), []);
    return report.logs.map(({ steps }) => steps.find(({ name }) => name === 'message signatures verify'));
  };
  const whole = { status: 'pass', checked: 8, notCheckable: 0, left: [] };
  t.match(await messages(dirs), [whole, whole]);
  const ask = { storage, trust, id: 'client-1' };
  const told = await showExchange({ ...ask, logs: dirs });
  t.equal(told.result, 'good');
  t.ok(
    told.exchanges[0]?.records.every(({ base, signedBy }) => base !== undefined && signedBy !== undefined),
  );
  const bases = told.exchanges[0]?.records.filter(({ base }) => base?.includes(`"t-road-user": ${user}\n`));
  t.equal(bases?.length, 2, 'the text to be verified by others is whole');

  const copies = dirs.map((dir) => `${dir}-copy`);
  for (const [n, copy] of copies.entries()) {
    await cp(dirs[n] ?? '', copy, { recursive: true });
    for (const name of await readdir(`${copy}/keys`))
      if (name.startsWith('subject-')) await rm(`${copy}/keys/${name}`);
    let opened = 0;
    const [epoch] = await findEpochs(storage, copy);
    if (epoch === undefined) throw new Error('no epoch');
    await forEachRecord(storage, epoch, ({ bytes, parts }) => {
      const core = readCore(bytes);
      if (core.parts?.subject !== undefined) t.equal(parts.open(core, 'subject'), 'sealed');
      const texts = [bytes, ...(core.parts?.meta === undefined ? [] : [parts.open(core, 'meta')])];
      opened += texts.length - 1;
      for (const text of texts) t.notMatch(text.toString(), /([eyJA])\1{19}/);
    });
    t.equal(opened, 8);
  }
  const left = [{ why: /assertion.*subject.*身分聲明/, count: 4 }];
  const without = { status: 'pass', checked: 4, notCheckable: 4, left };
  t.match(await messages(copies), [without, without]);
  t.match(renderAudit(await verify(copies)), /· 4 not checkable: the user’s assertion.*\n[^]*GOOD/);
  const less = await showExchange({ ...ask, logs: copies });
  t.equal(less.result, 'good');
  t.match(less.exchanges[0]?.steps[2], { status: 'pass', checked: 2, notCheckable: 2, left: [{ count: 2 }] });
  t.match(renderShow(less), /POST \/r1\/TW\/GOV\/B07\/housing\/echo\/1/, 'and the rest is told');
});

void t.test(
  'records of before, the assertion in both parts, and parts that do not belong together',
  async (t) => {
    const [mine, other] = ['a', 'b'].map((x) => `assertion="${x}.${x}.${x}"`);
    const pair = await ExchangePair.sign(1, clock, 200, mine);
    const { meta } = pair.parts('req.final');
    const auditOf = async (name: string, parts: RecordParts): Promise<AuditReport> => {
      const dir = `${root}/${name}`;
      const log = await openLog(logOptions(dir, { clock }));
      await log.append(pair.record('req.final', 'c'), parts);
      await log.close();
      return verify([dir]);
    };
    // The rest of the text in the subject part: with its key all that was signed would go, which stands in `meta` to stay.
    const behind = meta.toString().indexOf('-user": \n') + '-user": '.length;
    const hidden = { meta: meta.subarray(0, behind), subject: mine + meta.toString().slice(behind) };
    const old = await auditOf('old-form', pair.oldParts('req.final'));
    t.equal(old.result, 'good');
    t.match(old.logs[0]?.steps.at(-1), { name: 'message signatures verify', status: 'pass', checked: 1 });
    for (const [name, parts, why] of [
      ['other-subject', { meta, subject: other }, /signature is wrong/],
      ['no-subject', { meta }, /no subject part/],
      ['many-lines', hidden, /more than one line/],
      [
        'other-line',
        { meta: meta.toString().replace('"subject":"t', '"subject":"x'), subject: mine },
        /no line/,
      ],
      [
        'line-whole',
        { meta: meta.toString().replace('-user": \n', `-user": ${mine}\n`), subject: mine },
        /no line/,
      ],
    ] as const) {
      const report = await auditOf(name, parts);
      t.equal(report.result, 'bad', name);
      t.match(findingsOf(report), [{ kind: 'signature', detail: why }], name);
    }
  },
);
