import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import t from 'tap';
import { twinOf } from '../../conformance/builders/ecdsa-twin.ts';
import { ExchangePair, messageKey, trustDocument } from '../../conformance/builders/exchanges.ts';
import {
  exchangeId,
  HandClock,
  logOptions,
  originOf,
  CONSUMER,
  PROVIDER,
} from '../../conformance/builders/log.ts';
import { base64, sha256Base64 } from '../core/bytes.ts';
import { openLog, type EvidenceLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { signBase } from '../httpsig/algorithm.ts';
import { parseContentDigest } from '../httpsig/digest.ts';
import { LIFETIME_S, SKEW_S } from '../message/profile.ts';
import { findingsOf } from './report.ts';
import { parseTrustFile } from './trust-file.ts';
import { auditLogs, type AuditOptions } from './verify.ts';

const root = mkdtempSync(`${tmpdir()}/troad-exchanges-`);
t.teardown(() => rm(root, { recursive: true, force: true }));
const clock = new HandClock();
const trust = parseTrustFile(JSON.stringify(trustDocument()));
const verify = (logs: string[], more: Partial<AuditOptions> = {}) =>
  auditLogs({ storage: nodeStorage(), logs, trust, deep: true, ...more });

void t.test('two halves that contradict each other', async (t) => {
  const rows: readonly (readonly [
    string,
    string,
    (c: EvidenceLog, p: EvidenceLog, pair: ExchangePair) => Promise<unknown>,
  ])[] = [
    [
      'the provider recorded another digest',
      'contradiction',
      async (c, p, pair) => {
        await pair.write(c, 'c');
        await p.append({ ...pair.record('req.final', 'p'), dg: 'sha-256:AAAA' });
        await pair.write(p, 'p', ['res.final']);
      },
    ],
    [
      'the provider recorded another status',
      'contradiction',
      async (c, p, pair) => {
        await pair.write(c, 'c');
        await pair.write(p, 'p', ['req.final']);
        await p.append({ ...pair.record('res.final', 'p'), status: 500 });
      },
    ],
    [
      'the provider never recorded the answer it gave',
      'missing',
      async (c, p, pair) => {
        await pair.write(c, 'c');
        await pair.write(p, 'p', ['req.final']);
      },
    ],
    ['the consumer never recorded the request it made', 'missing', (_, p, pair) => pair.write(p, 'p')],
    [
      'an answer recorded twice',
      'repeated',
      async (c, p, pair) => {
        await pair.write(c, 'c');
        await pair.write(p, 'p');
        await pair.write(p, 'p', ['res.final']);
      },
    ],
  ];
  for (const [n, [what, kind, play]] of rows.entries()) {
    const [c, p] = await Promise.all([
      openLog(logOptions(`${root}/c-${n}`, { clock, origin: originOf(CONSUMER) })),
      openLog(logOptions(`${root}/p-${n}`, { clock, origin: originOf(PROVIDER) })),
    ]);
    await play(c, p, await ExchangePair.sign(n, clock));
    clock.at += 1000;
    await Promise.all([c.close(), p.close()]);
    const report = await verify([`${root}/c-${n}`, `${root}/p-${n}`], { deep: false });
    t.equal(report.result, 'bad', what);
    t.match(findingsOf(report), [{ kind, exchange: exchangeId(n) }], what);
  }
});

const signedIn = (pair: ExchangePair) => {
  const record = pair.record('req.final', 'c');
  return { ...record, sig: record.sig ?? '' };
};

/** A signature with one bit of one byte flipped; counted from the end when negative. */
function changed(signature: string, at: number): string {
  const bytes = Buffer.from(signature, 'base64');
  const index = at < 0 ? bytes.length + at : at;
  bytes[index] = (bytes[index] ?? 0) ^ 1;
  return bytes.toString('base64');
}

const twin = (signature: string): string => twinOf(Buffer.from(signature, 'base64')).toString('base64');

const cut = (signature: string): string =>
  Buffer.from(signature, 'base64').subarray(0, 36).toString('base64');

void t.test(
  'a digest of another kind beside ours, which gateways accept, makes no log a bad one',
  async (t) => {
    const { algorithm, privateKey } = messageKey(CONSUMER);
    const pair = await ExchangePair.sign(4, clock);
    const auditOf = async (fields: string) => {
      const meta = pair
        .parts('req.final')
        .meta.toString()
        .replace(/^("content-digest": ).*$/m, `$1${fields}`);
      const base = meta.slice(meta.indexOf('\n') + 1);
      const dir = mkdtempSync(`${root}/digest-`);
      const log = await openLog(logOptions(dir, { clock }));
      const sig = base64(signBase(algorithm, privateKey, base));
      await log.append({ ...pair.record('req.final', 'c'), sig }, { meta: Buffer.from(meta) });
      await log.close();
      return verify([dir]);
    };
    const own = `sha-256=:${sha256Base64('question 4')}:`;
    const other = `sha-512=:${'A'.repeat(86)}==:`;
    for (const fields of [own, `${other}, ${own}`, `${own}, ${other}`]) {
      t.equal(parseContentDigest(fields), sha256Base64('question 4'), 'as the gateway reads it');
      const { result, logs } = await auditOf(fields);
      t.equal(result, 'good', fields);
      t.match(logs[0]?.steps.at(-1), { status: 'pass', checked: 1 });
    }
    for (const fields of [other, `sha-256=:${sha256Base64('x')}:`, `${other}, sha-256=:AAAA:`])
      t.match(findingsOf(await auditOf(fields)), [{ kind: 'signature', detail: /digest/ }], fields);
  },
);

void t.test('a key is good for what gateways took while it was in force, to the second', async (t) => {
  const pair = await ExchangePair.sign(3, clock);
  const dir = mkdtempSync(`${root}/validity-`);
  const log = await openLog(logOptions(dir, { clock }));
  await log.append(pair.record('req.final', 'c'), pair.parts('req.final'));
  await log.close();
  const [from, to] = [clock.at - 1e9, clock.at + 1e9];
  for (const [notBefore, notAfter, result] of [
    [clock.at + (LIFETIME_S + SKEW_S) * 1000, to, 'good'], // it came in the last second in which it was good
    [clock.at + (LIFETIME_S + SKEW_S) * 1000 + 1, to, 'bad'],
    [from, clock.at - SKEW_S * 1000, 'good'], // the sender's clock was fast
    [from, clock.at - SKEW_S * 1000 - 1, 'bad'],
  ] as const) {
    const document = trustDocument();
    for (const { messageKeys } of document.gateways)
      for (const key of messageKeys) Object.assign(key, { notBefore, notAfter });
    const report = await verify([dir], { trust: parseTrustFile(JSON.stringify(document)) });
    t.equal(report.result, result, `${notBefore - clock.at}, ${notAfter - clock.at}`);
  }
});

let copies = 0;
void t.test('message signatures: one thing wrong, each told', async (t) => {
  const pair = await ExchangePair.sign(5, clock);
  const other = await ExchangePair.sign(6, clock);
  const good = pair.record('req.final', 'c');
  const meta = pair.parts('req.final').meta;
  const [batched, neighbour] = await Promise.all([
    ExchangePair.sign(7, clock),
    ExchangePair.sign(8, clock),
    ExchangePair.sign(9, clock),
  ]);
  const [shared, sharedOther] = [signedIn(batched), signedIn(neighbour)];
  const sharedMeta = batched.parts('req.final').meta;
  const swap = (from: string | RegExp, to: string): Buffer => Buffer.from(meta.toString().replace(from, to));
  for (const [what, record, part, why] of [
    ['a changed base', good, swap('POST', 'PUT'), /signature is wrong/],
    [
      'another exchange’s signature',
      { ...good, sig: other.record('req.final', 'c').sig ?? '' },
      meta,
      /signature is wrong/,
    ],
    [
      'another exchange’s signature and base',
      { ...good, sig: other.record('req.final', 'c').sig ?? '' },
      other.parts('req.final').meta,
      /nonce/,
    ],
    ['another method in the record', { ...good, op: 'GET' }, meta, /@method/],
    ['another digest in the record', { ...good, dg: pair.record('res.final', 'c').dg ?? '' }, meta, /digest/],
    ['another path beside it', good, swap('"/r1/TW', '"/r2/TW'), /@path/],
    [
      'the provider’s key on a request',
      { ...good, kid: pair.record('res.final', 'c').kid ?? '' },
      meta,
      /key of/,
    ],
    ['an unknown key', { ...good, kid: 'nobody#x' }, meta, /not in the trust file/],
    ['the other signature of its pair', { ...good, sig: twin(good.sig ?? '') }, meta, /signature is wrong/],
    [
      'a batch, the other signature of its root',
      { ...shared, sig: twin(shared.sig) },
      sharedMeta,
      /signature is wrong/,
    ],
    ['a signature that is not base64', { ...good, sig: '%' }, meta, /signature is wrong/],
    [
      'a batch, another root signature',
      { ...shared, sig: changed(shared.sig, -1) },
      sharedMeta,
      /signature is wrong/,
    ],
    [
      'a batch, another place in it',
      { ...shared, sig: changed(shared.sig, 3) },
      sharedMeta,
      /signature is wrong/,
    ],
    [
      'a batch of another size',
      { ...shared, sig: changed(shared.sig, 1) },
      sharedMeta,
      /signature is wrong|of a batch|cut/,
    ],
    ['a batch, the path cut', { ...shared, sig: cut(shared.sig) }, sharedMeta, /is cut/],
    [
      'a batch signature taken for a plain one',
      { ...shared, sig: Buffer.from(shared.sig, 'base64').subarray(-64).toString('base64') },
      sharedMeta,
      /of a batch|cut|signature is wrong/,
    ],
    [
      'the signature of another message of the batch',
      { ...shared, sig: sharedOther.sig },
      sharedMeta,
      /signature is wrong/,
    ],
    [
      'characters that only look like those that were signed',
      shared,
      Buffer.from(sharedMeta.toString().replace('POST', 'P\u014fST')),
      /signature is wrong/,
    ],
    ['a part that is not JSON', good, Buffer.from('x'), /not JSON/],
    ['a part without a base', good, Buffer.from('{}'), /no signature base/],
  ] as const) {
    const dir = `${root}/sig-${(copies += 1)}`;
    const log = await openLog(logOptions(dir, { clock }));
    await log.append(record, { meta: part });
    await log.close();
    t.match(findingsOf(await verify([dir])), [{ kind: 'signature', detail: why, index: '1' }], what);
  }
});
