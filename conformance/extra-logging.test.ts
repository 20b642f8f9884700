import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { ShownExtra } from '../gateway/audit/extra.ts';
import type { ShowReport } from '../gateway/audit/show.ts';
import { PolicyDesk, writeUndemandingBundle } from './harness/policy-desk.ts';
import { newFolder, requireGoodLogs, startRoad } from './harness/road.ts';

// The obligation `extra_logging` in two real gateways, one at a time: what the auditor finds of it in the sealed parts.

const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const HOUSING = '/r1/TW/GOV/B07/housing';
const AGENT = 'probe/1 (extra logging)';
const SIDES = ['consumer', 'provider'] as const;
type Side = (typeof SIDES)[number];
const other = (side: Side): Side => (side === 'consumer' ? 'provider' : 'consumer');

t.setTimeout(600_000);
const dir = newFolder(t);
const { sandbox, ready } = await startRoad(join(dir, 'road'), 1, writeUndemandingBundle(dir));
const desk = new PolicyDesk(dir, ready);
const extraLogging = { obligations: { extra_logging: true } } as const;

/** An exchange whose answer has begun. */
async function begin(method: string, path: string, body?: Buffer): Promise<IncomingMessage> {
  const headers = { 'x-road-client': 'TW/GOV/A11/welfare', 'user-agent': AGENT };
  const outgoing = request(ready.consumer.url + HOUSING + path, { method, headers, agent: false });
  outgoing.on('error', () => undefined); // the answer's error says it
  outgoing.end(body);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  return answer;
}

const idOf = (answer: IncomingMessage): string => String(answer.headers['x-road-request-id']);

/** To its end, tidy or not. @returns the id, which a refusal has in its body */
async function exchange(method: string, path: string, body?: Buffer): Promise<string> {
  const answer = await begin(method, path, body);
  let text = '';
  answer.on('data', (chunk: Buffer) => {
    if (text.length < 4096) text += chunk.toString('latin1');
  });
  await new Promise((resolve) => answer.on('error', () => undefined).on('close', resolve));
  return answer.statusCode === 403 ? (JSON.parse(text) as { detail: string }).detail : idOf(answer);
}

interface Noted {
  readonly side: Side;
  readonly kind: string;
  readonly extra: ShownExtra | undefined;
}

/** What `troad audit show` has of an exchange once the gateways have recorded its end. */
async function noted(
  id: string,
  ends: readonly string[],
  sides: readonly Side[] = SIDES,
): Promise<readonly Noted[]> {
  const x = Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url');
  for (const side of sides)
    await desk.record(side, `end of ${x}`, (each) => each.x === x && ends.includes(each.k));
  const { exchanges } = JSON.parse(show(id, '--json')) as ShowReport;
  return (exchanges[0]?.records ?? []).map(({ side, kind, extra }) => ({ side, kind, extra }));
}

function show(id: string, ...more: readonly string[]): string {
  const logs = ['--log', ready.consumer.log, ready.provider.log, '--trust', ready.trust];
  const { status, stdout } = spawnSync(process.execPath, [CLI, 'audit', 'show', id, ...logs, ...more], {
    encoding: 'utf8',
  });
  t.equal(status, 0, 'every statement is checked', { stdout });
  return stdout;
}

const ofSide = (records: readonly Noted[], side: Side): readonly Noted[] =>
  records.filter((each) => each.side === side);

/** What the first record says at each side. The provider's sees the gateway, not the client. */
const ORIGIN = {
  consumer: { address: '127.0.0.1', userAgent: AGENT },
  provider: { address: /^127\./ },
} as const;

await t.test('without the obligation nothing is noted', async (t) => {
  const id = await exchange('POST', '/echo/x', Buffer.from('{"a":1}'));
  const records = await noted(id, ['res.final']);
  t.equal(records.length, 4);
  t.same(
    records.filter(({ extra }) => extra !== undefined),
    [],
  );
  t.notMatch(show(id), /noted/);
});

for (const side of SIDES) {
  await t.test(`${side}: origin in the first record, sizes and times in the last`, async (t) => {
    await desk.enforce(side, extraLogging);
    const id = await exchange('PUT', '/files/x', Buffer.alloc(1234, 7));
    const records = await noted(id, ['res.final']);
    const [first, last] = ofSide(records, side);
    t.match(first, { kind: 'req.final', extra: ORIGIN[side] });
    t.equal(first?.extra?.requestBytes, undefined, 'not known yet');
    t.match(last, {
      kind: 'res.final',
      extra: { requestBytes: 1234, answerBytes: Number, requestMs: Number, answerMs: Number },
    });
    t.ok((last?.extra?.answerBytes ?? 0) > 0);
    t.equal(last?.extra?.address, undefined, 'told once');
    t.same(
      ofSide(records, other(side)).map(({ extra }) => extra),
      [undefined, undefined],
      'the other gateway executes its own obligations',
    );
    const text = show(id);
    t.match(text, /noted {6}from 127\.[^\n]*來源位址/);
    t.match(text, /noted {6}request 1234 bytes in \d+ ms, answer \d+ bytes in \d+ ms {2}內容大小與時間/);
    t.equal(text.includes(AGENT), side === 'consumer');
  });

  await t.test(`${side}: streams, and what is broken off`, async (t) => {
    const whole = await noted(await exchange('PUT', `/files/x`, Buffer.alloc(300_000)), ['res.final']);
    const own = ofSide(whole, side);
    t.same(own.map(({ kind }) => kind).toSorted(), ['open', 'req.final', 'res.final']);
    t.match(own.find(({ kind }) => kind === 'open')?.extra, ORIGIN[side], 'on the head');
    t.equal(own.find(({ kind }) => kind === 'req.final')?.extra, undefined);
    t.match(own.find(({ kind }) => kind === 'res.final')?.extra, { requestBytes: 300_000 });

    await desk.enforce(side, { obligations: { extra_logging: true, max_response_bytes: 100_000 } });
    const cut = ofSide(
      await noted(await exchange('GET', '/files/300000?chunked'), ['abort', 'res.final']),
      side,
    );
    const end = cut.find(({ kind }) => kind === 'abort')?.extra;
    t.match(end, { requestBytes: 0, answerBytes: Number, requestMs: Number, answerMs: Number });
    t.ok((end?.answerBytes ?? Infinity) <= 100_000, 'what had gone on');

    await desk.enforce(side, { obligations: { extra_logging: true, read_only: true } });
    const id = await exchange('POST', '/echo/x', Buffer.from('{}'));
    const [refused] = (await noted(id, ['deny'], [side])).filter(({ kind }) => kind === 'deny');
    t.match(refused?.extra, { ...ORIGIN[side], requestBytes: 0, answerBytes: 0 }, 'in its only record');
    await desk.enforce(side);
  });
}

await t.test('a decision made again may demand it: noted from that record on', async (t) => {
  const answer = await begin('GET', '/events?count=100000&ms=50');
  answer.on('error', () => undefined).resume();
  await once(answer, 'data');
  await desk.enforce('consumer', extraLogging);
  const x = Buffer.from(idOf(answer).replaceAll('-', ''), 'hex').toString('base64url');
  await desk.record('consumer', 'decided again', (each) => each.x === x && each.k === 'recheck');
  answer.destroy();
  const records = ofSide(await noted(idOf(answer), ['abort']), 'consumer');
  const of = (wanted: string) => records.find(({ kind }) => kind === wanted)?.extra;
  t.equal(of('req.final'), undefined, 'not demanded yet');
  t.match(of('recheck'), ORIGIN.consumer);
  t.match(of('abort'), { requestBytes: 0, answerBytes: Number });
  t.equal(of('abort')?.requestMs, undefined, 'nobody took the time of the request');
  await desk.enforce('consumer');
});

await t.test('who asked and with what is sealed, and in no operator’s line', async (t) => {
  for (const side of SIDES)
    for (const record of await desk.records(side)) t.notMatch(JSON.stringify(record), /probe\/1|127\.0/);
  await sandbox.stop();
  requireGoodLogs(t, ready);
});
