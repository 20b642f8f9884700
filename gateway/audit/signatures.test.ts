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
import type { ExchangeRecord } from './records.ts';
import type { AuditReport } from './report.ts';
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
