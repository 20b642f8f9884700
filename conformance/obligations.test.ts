import { request } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { PolicyDesk, writeUndemandingBundle, type ExchangeRecord, type Side } from './harness/policy-desk.ts';
import { newFolder, requireGoodLogs, startRoad } from './harness/road.ts';

// Duties that come with an allow, in two real gateways. Either of them executes its own: the other one's policy asks for
// nothing, so what is seen is the work of one side.

const HOUSING = '/r1/TW/GOV/B07/housing';
const KiB = 1024;

const dir = newFolder(t);
const { sandbox, ready } = await startRoad(join(dir, 'road'), 1, writeUndemandingBundle(dir));
const desk = new PolicyDesk(dir, ready);

/** The newest record of a side with that outcome, once it is there. */
const recordOf = (side: Side, out: string, since: number): Promise<ExchangeRecord> =>
  desk.record(side, out, (each) => each.out === out && each.at >= since);

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly bytes: number;
  /** Broken off, never a tidy end. */
  readonly broken: boolean;
  readonly elapsedMs: number;
}

interface Sent {
  readonly method?: string;
  readonly path: string;
  /** The length is announced, unless it is sent in several pieces. */
  readonly body?: Buffer | readonly Buffer[];
}

const send = ({ method = 'GET', path, body = [] }: Sent): Promise<Answer> =>
  new Promise((resolve) => {
    const began = performance.now();
    const seen = { status: 0, body: '', bytes: 0 };
    const over = (broken: boolean): void =>
      resolve({ ...seen, broken, elapsedMs: performance.now() - began });
    const headers = {
      'x-road-client': 'TW/GOV/A11/welfare',
      ...(Buffer.isBuffer(body) ? { 'content-length': body.length } : {}),
    };
    const outgoing = request(
      ready.consumer.url + HOUSING + path,
      { method, headers, agent: false },
      (answer) => {
        seen.status = answer.statusCode ?? 0;
        answer.on('data', (chunk: Buffer) => {
          seen.bytes += chunk.length;
          if (seen.bytes < 4096) seen.body += chunk.toString('latin1');
        });
        answer.on('end', () => over(false));
        answer.on('error', () => over(true));
      },
    );
    outgoing.on('error', () => over(true));
    if (Buffer.isBuffer(body)) outgoing.end(body);
    else {
      for (const piece of body) outgoing.write(piece);
      outgoing.end();
    }
  });

for (const side of ['consumer', 'provider'] as const) {
  await t.test(`${side}: read_only and max_request_bytes are refused on the head`, async (t) => {
    await desk.enforce(side, { obligations: { read_only: true } });
    t.equal((await send({ path: '/echo/x' })).status, 200, 'reading is allowed');
    let since = Date.now();
    const refused = await send({ method: 'POST', path: '/echo/x', body: Buffer.from('{}') });
    t.equal(refused.status, 403);
    t.match(refused.body, /GET, HEAD and OPTIONS/);
    t.match(await recordOf(side, 'policy.read_only', since), {
      k: 'deny',
      op: 'POST',
      pol: { allow: true, obligations: { read_only: true } },
    });

    await desk.enforce(side, { obligations: { max_request_bytes: 100 * KiB } });
    const exact = await send({ method: 'PUT', path: '/files/x', body: Buffer.alloc(100 * KiB) });
    t.equal(exact.status, 200, 'the bound itself is allowed');
    since = Date.now();
    const announced = await send({ method: 'PUT', path: '/files/x', body: Buffer.alloc(100 * KiB + 1) });
    t.equal(announced.status, 413);
    t.match(await recordOf(side, 'policy.request_too_large', since), { k: 'deny' }, 'before a byte went on');

    since = Date.now();
    const streamed = await send({
      method: 'PUT',
      path: '/files/x',
      body: Array.from({ length: 32 }, () => Buffer.alloc(16 * KiB)),
    });
    t.equal(streamed.status, 413, 'without an announced length it ends at the limit');
    const partial = await recordOf(side, 'policy.request_too_large', since);
    t.equal(partial.k, 'abort');
    t.ok((partial.sent?.req ?? 0) <= 100 * KiB, `${partial.sent?.req} bytes had gone on`);
  });

  await t.test(`${side}: max_response_bytes`, async (t) => {
    await desk.enforce(side, { obligations: { max_response_bytes: 100 * KiB } });
    const exact = await send({ path: `/files/${100 * KiB}` });
    t.match(exact, { status: 200, bytes: 100 * KiB, broken: false });
    let since = Date.now();
    const announced = await send({ path: `/files/${100 * KiB + 1}` });
    t.equal(announced.status, 403);
    t.match(announced.body, /Ask for less/);
    t.match(await recordOf(side, 'policy.response_too_large', since), { k: 'abort', sent: { res: 0 } });

    since = Date.now();
    const streamed = await send({ path: `/files/${300 * KiB}?chunked` });
    t.match(streamed, { status: 200, broken: true }, 'the client sees that it is not whole');
    t.ok(streamed.bytes <= 100 * KiB, `${streamed.bytes} bytes came through`);
    const partial = await recordOf(side, 'policy.response_too_large', since);
    t.equal(partial.k, 'abort');
    t.ok((partial.sent?.res ?? 0) <= 100 * KiB, `${partial.sent?.res} bytes had gone on`);

    await desk.enforce(side, { obligations: { max_response_bytes: 10, max_request_bytes: 10 } });
    t.equal((await send({ path: '/files/11' })).status, 403, 'short answers, too');
    t.match(await send({ path: '/files/10' }), { status: 200, bytes: 10 });
    const chunked = await send({ method: 'PUT', path: '/files/x', body: [Buffer.alloc(6), Buffer.alloc(6)] });
    t.equal(chunked.status, 413, 'and short requests');
    await desk.enforce(side);
  });
}

for (const side of ['consumer', 'provider'] as const) {
  await t.test(
    `${side}: max_bytes_per_second holds either direction back, and all of it comes`,
    async (t) => {
      await desk.enforce(side, { obligations: { max_bytes_per_second: 512 * KiB } });
      const download = await send({ path: `/files/${1024 * KiB}` });
      t.match(download, { status: 200, bytes: 1024 * KiB, broken: false });
      t.ok(download.elapsedMs > 1000, `1 MiB of answer in ${Math.round(download.elapsedMs)} ms`);
      const chunked = await send({ path: `/files/${768 * KiB}?chunked` });
      t.match(chunked, { status: 200, bytes: 768 * KiB, broken: false });
      t.ok(chunked.elapsedMs > 750, `768 KiB without a length in ${Math.round(chunked.elapsedMs)} ms`);
      const upload = await send({ method: 'PUT', path: '/files/x', body: Buffer.alloc(1024 * KiB) });
      t.match(upload, { status: 200, broken: false });
      t.ok(upload.elapsedMs > 1000, `1 MiB of request in ${Math.round(upload.elapsedMs)} ms`);
      await desk.enforce(side);
    },
  );
}

await t.test('everything is in the logs, and they agree', async (t) => {
  await sandbox.stop();
  requireGoodLogs(t, ready);
});
