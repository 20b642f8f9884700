import t from 'tap';
import { ExchangePair, messageKey, trustDocument } from '../../conformance/builders/exchanges.ts';
import {
  CONSUMER,
  draft,
  exchangeId,
  HandClock,
  logOptions,
  PROVIDER,
} from '../../conformance/builders/log.ts';
import { sha256Base64 } from '../core/bytes.ts';
import { openLog, type RecordParts } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { formatExchange } from '../message/exchange-field.ts';
import { VerifiedBatches } from '../message/message-signature.ts';
import { MessageSigner, type Signed } from '../message/signer.ts';
import { SigningQueue } from '../message/signing-queue.ts';
import { AskedRequests } from './asked-requests.ts';
import type { ExchangeRecord } from './records.ts';
import { findingsOf, type AuditReport } from './report.ts';
import { showExchange } from './show.ts';
import { readSignedText, verifyMessage } from './signatures.ts';
import { parseTrustFile } from './trust-file.ts';
import { auditLogs } from './verify.ts';

const clock = new HandClock();
const trust = parseTrustFile(JSON.stringify(trustDocument()));
const pair = await ExchangePair.sign(1, clock);

type Verified = readonly [record: object, base: string, told?: { path?: string; query?: string }];
const verify = ([record, base, told]: Verified): string =>
  verifyMessage(
    { v: 1, ...record } as unknown as ExchangeRecord, // what readCore and exchangeRecord have looked at
    { base, path: told?.path, query: told?.query },
    trust,
    new VerifiedBatches(),
  ).gateway.name;

const baseOf = (k: 'req.final' | 'res.final'): string =>
  readSignedText(pair.parts(k).meta, () => 'sealed').base ?? '';

/** The records of a streamed request, at its end. */
async function streamed(length?: number): Promise<{ record: object; opened: Signed; closed: Signed }> {
  const id = exchangeId(1);
  const signer = new MessageSigner(
    new SigningQueue(messageKey(CONSUMER), { soon: setImmediate, record: setImmediate }),
    id,
    clock,
  );
  const head = {
    method: 'POST',
    authority: PROVIDER,
    path: '/r1/TW/GOV/B07/housing/echo/1',
    query: '',
    fields: [
      ['x-road-client', 'TW/GOV/A11/welfare'],
      ['x-road-id', 'client-1'],
      [
        't-road-exchange',
        formatExchange({ id, mode: 'stream', from: CONSUMER, to: PROVIDER, at: clock.now(), length }),
      ],
    ],
  } as const;
  const digest = sha256Base64('seven..');
  const opened = await signer.requestOpen(head);
  const closed = await signer.requestFinal({ ...head, fields: opened.fields }, digest, 7);
  const record = {
    ...draft('req.final', 1, { xid: 'client-1', mode: 'stream' }),
    dg: `sha-256:${digest}`,
    len: 7,
  };
  return { record, opened, closed };
}

void t.test('what the record says of a request is what was signed', async (t) => {
  for (const role of ['c', 'p'] as const) {
    const record = pair.record('req.final', role);
    const base = baseOf('req.final');
    t.equal(verify([record, base]), CONSUMER);
    const receiver = role === 'c' ? 'peer' : 'me';
    for (const [name, value] of [
      [receiver, 'gw.c99.tw.troad.example'], // a message to another gateway, put into the log of this one
      ['client', 'TW/GOV/A11/taxes'],
      ['xid', 'client-2'],
      ['svc', 'TW/GOV/B07/housing/ech'],
      ['svc', 'TW/GOV/B07/housing/echo/1'],
      ['svc', 'TW/GOV/B07/other/echo'],
      ['mode', 'stream'],
      ['op', 'PUT'],
    ] as const)
      t.throws(
        () => verify([{ ...record, [name]: value }, base]),
        { message: /record|signed text/ },
        `${name} ${value}`,
      );
    const { xid: _, client: __, ...less } = record;
    t.equal(verify([less, base]), CONSUMER, 'what the record does not know is not compared');
  }
});

void t.test('and of an answer', async (t) => {
  for (const role of ['c', 'p'] as const) {
    const record = pair.record('res.final', role);
    const base = baseOf('res.final');
    t.equal(verify([record, base]), PROVIDER);
    const receiver = role === 'c' ? 'me' : 'peer';
    for (const [name, value] of [
      [receiver, 'gw.c99.tw.troad.example'],
      ['svc', 'TW/GOV/B07/other/echo'],
      ['mode', 'stream'],
      ['status', 404],
    ] as const)
      t.throws(
        () => verify([{ ...record, [name]: value }, base]),
        { message: /record|signed text/ },
        `${name} ${value}`,
      );
  }
});

void t.test('and of the length of a stream, announced or not', async (t) => {
  for (const length of [undefined, 7]) {
    const { record, opened, closed } = await streamed(length);
    const { base, kid, value: sig } = closed.evidence;
    const signed = { ...record, kid, sig };
    t.equal(verify([signed, base]), CONSUMER);
    t.throws(() => verify([{ ...signed, len: 8 }, base]), { message: /length/ });
    const head = { ...signed, k: 'open', sig: opened.evidence.value, len: undefined, dg: undefined };
    t.equal(verify([head, opened.evidence.base]), CONSUMER);
  }
});

void t.test('a message without its signature, or without what was signed, is no message', async (t) => {
  const dir = t.testdir();
  const audited = async (
    name: string,
    record: object,
    parts: RecordParts,
  ): Promise<readonly AuditReport['result'][]> => {
    const log = await openLog(logOptions(`${dir}/${name}`, { clock }));
    await log.append({ ...pair.record('req.final', 'c'), ...record }, parts);
    await log.close();
    const ask = { storage: nodeStorage(), logs: [`${dir}/${name}`], trust };
    const { result } = await auditLogs({ ...ask, deep: true });
    const { result: shown } = await showExchange({ ...ask, id: exchangeId(1) });
    return [result, shown === 'not found' ? 'bad' : shown];
  };
  const parts = pair.parts('req.final');
  t.same(await audited('whole', {}, parts), ['good', 'good']);
  t.same(await audited('no-sig', { sig: undefined }, parts), ['bad', 'bad']);
  t.same(await audited('no-kid', { kid: undefined }, parts), ['bad', 'bad']);
  t.same(await audited('neither', { sig: undefined, kid: undefined, dg: undefined, len: undefined }, {}), [
    'bad',
    'bad',
  ]);
  t.same(await audited('no-text', {}, {}), ['bad', 'bad']);
  t.same(await audited('no-message', { k: 'deny', out: 'policy.denied', sig: undefined }, {}), [
    'good',
    'good',
  ]);
});

void t.test(
  'a request is not taken for an answer of whoever sent it, nor an answer for a request',
  async (t) => {
    // The log of the one who received them: it says that it had asked, or had been asked.
    const [request, answer] = [pair.record('req.final', 'p'), pair.record('res.final', 'c')];
    const { x, me, peer, sig, kid, dg, len, out, at } = request;
    const asAnswer = { k: 'res.final', at, x, role: 'c', me, peer, sig, kid, dg, len, out };
    t.throws(() => verify([asAnswer, baseOf('req.final')]), { message: /is of a request/ });
    const asRequest = {
      ...answer,
      k: 'req.final',
      role: 'p',
      op: undefined,
      client: undefined,
      svc: undefined,
    };
    t.throws(() => verify([{ ...asRequest, xid: undefined }, baseOf('res.final')]), {
      message: /is of an answer/,
    });
  },
);

void t.test('an answer to another request is not taken for one to the request in the log', async (t) => {
  // Same exchange id, same everything, asked a second later: the consumer puts the second question before the first answer.
  const later = await ExchangePair.sign(1, Object.assign(new HandClock(), { at: clock.at + 1000 }));
  const dir = t.testdir();
  const result = async (name: string, request: ExchangePair): Promise<unknown> => {
    const log = await openLog(logOptions(`${dir}/${name}`, { clock }));
    await request.write(log, 'c', ['req.final']);
    await pair.write(log, 'c', ['res.final']);
    await log.close();
    const ask = { storage: nodeStorage(), logs: [`${dir}/${name}`], trust };
    const report = await auditLogs({ ...ask, deep: true });
    const shown = await showExchange({ ...ask, id: exchangeId(1) });
    return [report.result, shown.result, findingsOf(report).map(({ detail }) => detail)];
  };
  t.same(await result('own', pair), ['good', 'good', []]);
  t.same(await result('other', later), [
    'bad',
    'bad',
    ['the answer was signed for another request than the one recorded'],
  ]);
});

void t.test('what an answer says of its request', async (t) => {
  const { record, opened, closed } = await streamed();
  const [open, final] = [opened.evidence.base, closed.evidence.base];
  const line = (base: string, name: string): string =>
    base
      .split('\n')
      .find((each) => each.startsWith(name))
      ?.slice(name.length + 2) ?? '';
  const asked = ['"@method"', '"@authority"', '"@path"', '"@query"', '"t-road-exchange"'];
  const about = (base: string, label: 'open' | 'final'): string =>
    [
      ...asked.map((name) => `${name};req: ${line(base, name)}`),
      ...(label === 'open' ? [] : [`"content-digest";req;tr: ${line(base, '"content-digest";tr')}`]),
      `"signature-input";req;${label === 'open' ? '' : 'tr;'}key="${label}": ${line(base, '"@signature-params"')}`,
    ].join('\n');
  const requests = [
    [{ ...record, k: 'open' }, open],
    [record, final],
  ] as const;
  const judge = (answer: string, from: number, to: number): boolean => {
    const requested = new AskedRequests();
    for (const [request, base] of requests.slice(from, to)) requested.read(exchangeRecordOf(request), base);
    return requested.read(exchangeRecordOf({ ...record, k: 'res.final' }), answer);
  };
  t.equal(judge(about(open, 'open'), 0, 2), true, 'an early answer');
  t.equal(judge(about(final, 'final'), 0, 2), true);
  t.equal(judge(about(open, 'open'), 0, 1), true, 'to a request that is not over');
  t.equal(judge(about(final, 'final'), 0, 1), false, 'the rest of the request is not in this log');
  t.equal(judge(about(final, 'final'), 0, 0), false);
  const late = new AskedRequests();
  const answer = exchangeRecordOf({ ...record, k: 'res.final' });
  t.equal(late.read(answer, about(final, 'final').replace('POST', 'PUT')), false);
  t.throws(() => late.read(exchangeRecordOf(record), final), { message: /another request/ }, 'in any order');
  for (const name of [...asked, '"content-digest"', '"signature-input"']) {
    const other = about(final, 'final').replace(new RegExp(`^(${name}.*: ).*$`, 'm'), '$1other');
    t.throws(() => judge(other, 0, 2), { message: /another request/ }, name);
    const less = about(final, 'final')
      .replace(new RegExp(`^${name}.*: .*\n?`, 'm'), '')
      .trimEnd();
    t.throws(() => judge(less, 0, 2), { message: /another request/ }, `without ${name}`);
  }
});

const exchangeRecordOf = (record: object): ExchangeRecord =>
  ({ v: 1, ...record }) as unknown as ExchangeRecord; // as above
