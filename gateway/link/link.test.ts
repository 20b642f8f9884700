import { createHash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import {
  CONSUMER,
  makeGateways,
  makePair,
  PROVIDER,
  receive,
  requestHead,
  send,
} from '../../conformance/builders/link-pair.ts';
import { sha256 } from '../core/bytes.ts';
import type { Fields } from '../core/fields.ts';
import type { LinkArrival, LinkProtocol } from './link.ts';
import { X509Certificate } from 'node:crypto';

const gateways = await makeGateways();
const END: Fields = [
  ['t-road-end', 'length=5'],
  ['signature', 'final=:AAAA:'],
];

/** Sends back what comes, as it comes, and closes with the trailers it got. */
function echo(arrival: LinkArrival): void {
  const fields: Fields = [['x-seen', arrival.rawHead.path]];
  if (arrival.rawHead.length !== undefined || arrival.endsWithHead) {
    void receive(arrival.inflow).then(({ bytes }) => {
      arrival.answer({ status: 200, fields }, { kind: 'whole', bytes });
    });
    return;
  }
  const out = arrival.answer({ status: 200, fields }, { kind: 'stream' });
  out.attach({
    drain: () => arrival.inflow.resume(),
    error: (cause) => arrival.abort(cause),
    finish: () => undefined,
  });
  arrival.inflow.start({
    data: (chunk) => {
      if (!out.write(chunk)) arrival.inflow.pause();
    },
    end: (trailers) => out.end(undefined, trailers),
    error: (cause) => arrival.abort(cause),
  });
}

for (const protocol of ['troad/1', 'h2', 'http/1.1'] satisfies LinkProtocol[]) {
  void t.test(protocol, async (t) => {
    let handler: (arrival: LinkArrival) => void = echo;
    const pair = await makePair({
      gateways,
      onArrival: (arrival) => handler(arrival),
      client: { protocols: [protocol] },
    });
    t.teardown(() => pair.close());
    t.beforeEach(() => {
      handler = echo;
    });

    await t.test('carries a whole request and a whole answer', async (t) => {
      let raw: LinkArrival['rawHead'] | undefined;
      handler = (arrival) => {
        raw = arrival.rawHead;
        echo(arrival);
      };
      const head = requestHead('/r1/a%20b', {
        query: '?q=%7e',
        fields: [
          ['x-a', '1, 2'],
          ['t-road-exchange', 'v=1'],
        ],
      });
      const call = await pair.client.call(pair.target, head, { kind: 'whole', bytes: Buffer.from('hello') });
      const { head: answer, inflow } = await call.answer;
      t.equal(answer.status, 200);
      t.strictSame(answer.fields, [['x-seen', '/r1/a%20b?q=%7e']]);
      t.strictSame(await receive(inflow), { bytes: Buffer.from('hello'), trailers: [] });
      if (raw === undefined) throw new Error('no request came');
      const { canonical, ...rest } = raw;
      t.strictSame(rest, {
        method: 'POST',
        authority: PROVIDER,
        path: '/r1/a%20b?q=%7e',
        fields: head.fields,
        length: 5,
      });
      t.strictSame(canonical(), head.fields);
      t.equal(call.session.protocol, protocol);
    });

    await t.test('carries a request that ends with its head', async (t) => {
      let ends: boolean | undefined;
      handler = (arrival) => {
        ends = arrival.endsWithHead;
        echo(arrival);
      };
      for (const method of ['GET', 'POST']) {
        const call = await pair.client.call(pair.target, requestHead('/', { method }), {
          kind: 'whole',
          bytes: Buffer.alloc(0),
        });
        const { inflow } = await call.answer;
        t.strictSame(await receive(inflow), { bytes: Buffer.alloc(0), trailers: [] });
        t.equal(ends, true, method);
      }
    });

    await t.test('ends HEAD, 204, 205 and 304 with the head', async (t) => {
      handler = (arrival) => {
        const status = arrival.rawHead.method === 'HEAD' ? 200 : Number(arrival.rawHead.path.slice(1));
        arrival.answer(
          { status, fields: [['x-y', 'z']] },
          { kind: 'whole', bytes: Buffer.from(status === 200 ? 'dropped' : '') },
        );
      };
      for (const [method, path] of [
        ['HEAD', '/'],
        ['GET', '/204'],
        ['GET', '/304'],
        ['GET', '/205'],
        ['HEAD', '/'],
      ] as const) {
        const call = await pair.client.call(pair.target, requestHead(path, { method }), {
          kind: 'whole',
          bytes: Buffer.alloc(0),
        });
        const { head, inflow } = await call.answer;
        t.strictSame(head.fields, [['x-y', 'z']]);
        t.strictSame(await receive(inflow), { bytes: Buffer.alloc(0), trailers: [] }, `${method} ${path}`);
      }
    });

    await t.test('carries streams in both directions at once, trailers after both', async (t) => {
      const call = await pair.client.call(pair.target, requestHead('/stream'), { kind: 'stream' });
      const { head, inflow } = await call.answer; // before the first byte of the request
      t.equal(head.status, 200);
      const seen: string[] = [];
      let onChunk: () => void = () => undefined;
      const received = receive(inflow, (chunk) => {
        seen.push(chunk.toString());
        onChunk();
      });
      let finished = false;
      call.outflow.attach({
        drain: () => undefined,
        error: (e) => t.fail(e),
        finish: () => (finished = true),
      });
      for (const word of ['one', 'two', 'three']) {
        const back = new Promise<void>((resolve) => (onChunk = resolve));
        call.outflow.write(Buffer.from(word));
        await back; // ping-pong: neither end waits for the other's end
        t.equal(seen.at(-1), word);
      }
      call.outflow.end(Buffer.from('last'), END);
      const { bytes, trailers } = await received;
      t.equal(bytes.toString(), 'onetwothreelast');
      t.strictSame(trailers, END);
      t.equal(finished, true);
    });

    await t.test('carries a large stream unchanged', async (t) => {
      const call = await pair.client.call(pair.target, requestHead('/large'), { kind: 'stream' });
      const { inflow } = await call.answer;
      const block = Buffer.alloc(65_536, 'abcdefg');
      const sent = createHash('sha256');
      const got = createHash('sha256');
      const received = new Promise<Fields>((resolve, reject) => {
        inflow.start({ data: (chunk) => got.update(chunk), end: resolve, error: reject });
      });
      function* blocks(): Generator<Buffer> {
        for (let i = 0; i < 512; i++) {
          sent.update(block);
          yield block;
        }
      }
      await send(call.outflow, blocks(), END);
      t.strictSame(await received, END);
      t.ok(got.digest().equals(sent.digest()));
    });

    await t.test('how a body is cut into chunks changes nothing', async () => {
      const chunkLists = fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { maxLength: 12 });
      await fc.assert(
        fc.asyncProperty(chunkLists, fc.boolean(), async (list, lastWithEnd) => {
          const chunks = list.map((bytes) => Buffer.from(bytes));
          const call = await pair.client.call(pair.target, requestHead('/chunks'), { kind: 'stream' });
          const last = lastWithEnd ? chunks.at(-1) : undefined;
          for (const chunk of last === undefined ? chunks : chunks.slice(0, -1)) call.outflow.write(chunk);
          call.outflow.end(last, END);
          const { inflow } = await call.answer;
          const { bytes, trailers } = await receive(inflow);
          return bytes.equals(Buffer.concat(chunks)) && trailers.length === END.length;
        }),
        { numRuns: 40 },
      );
    });

    await t.test('an early answer arrives whole and stops the upload', async (t) => {
      const gone = t.captureFn(() => undefined);
      handler = (arrival) => {
        arrival.onGone(gone);
        arrival.answer({ status: 403, fields: [] }, { kind: 'whole', bytes: Buffer.alloc(100_000, 'n') });
      };
      const call = await pair.client.call(pair.target, requestHead('/denied'), { kind: 'stream' });
      const stopped = new Promise<Error>((resolve) => {
        const push = (): void => {
          while (call.outflow.write(Buffer.alloc(16_384)));
        };
        call.outflow.attach({ drain: push, error: resolve, finish: () => t.fail('finished') });
        push();
      });
      const { head, inflow } = await call.answer;
      t.equal(head.status, 403);
      t.equal((await receive(inflow)).bytes.length, 100_000);
      t.match(await stopped, { code: 'link.broken' });
      t.equal(gone.calls.length, 0, 'the answer was complete: nobody left before');
    });

    await t.test('a refused body still gets its answer', async (t) => {
      handler = (arrival) => {
        arrival.inflow.start({
          data: () => {
            arrival.inflow.destroy(new Error('too large'));
            arrival.answer({ status: 413, fields: [] }, { kind: 'whole', bytes: Buffer.from('no') });
          },
          end: () => t.fail('ended'),
          error: () => undefined,
        });
      };
      const call = await pair.client.call(pair.target, requestHead('/413'), { kind: 'stream' });
      call.outflow.write(Buffer.alloc(10));
      const { head, inflow } = await call.answer;
      t.equal(head.status, 413);
      t.equal((await receive(inflow)).bytes.toString(), 'no');
    });

    await t.test('carries many exchanges at once without swapping answers', async (t) => {
      const paths = Array.from({ length: 100 }, (_, i) => `/${i}`);
      const seen = await Promise.all(
        paths.map(async (path) => {
          const call = await pair.client.call(pair.target, requestHead(path), {
            kind: 'whole',
            bytes: Buffer.from(path),
          });
          const { head, inflow } = await call.answer;
          return [head.fields[0]?.[1], (await receive(inflow)).bytes.toString()];
        }),
      );
      t.strictSame(
        seen,
        paths.map((path) => [path, path]),
      );
      t.ok(pair.server.sessions <= (protocol === 'http/1.1' ? 32 : 2), `${pair.server.sessions} sessions`);
    });

    await t.test('both ends know the connection', async (t) => {
      let arrival: LinkArrival | undefined;
      handler = (a) => {
        arrival = a;
        echo(a);
      };
      const call = await pair.client.call(pair.target, requestHead('/'), {
        kind: 'whole',
        bytes: Buffer.from('x'),
      });
      await receive((await call.answer).inflow);
      const consumer = new X509Certificate(arrival?.session.peerCertificate ?? '');
      t.equal(consumer.checkHost(CONSUMER), CONSUMER);
      t.ok(call.session.peerCertificate.equals(gateways.provider.der));
      t.equal(call.session.tls.peer, sha256(gateways.provider.der).toString('base64url'));
      t.match(call.session.tls, { v: 'TLSv1.3', g: 'X25519MLKEM768', suite: /^TLS_/ });
      t.equal(arrival?.session.tls.g, 'unknown');
      const label = 'EXPORTER-troad-test';
      t.ok(
        call.session
          .exportKeyingMaterial(label, 32)
          .equals(arrival?.session.exportKeyingMaterial(label, 32) ?? Buffer.alloc(0)),
      );
    });

    await t.test('a break of one exchange is an error at the other end', async (t) => {
      const ends: string[] = [];
      handler = (arrival) => {
        arrival.onGone((cause) => ends.push(`gone ${(cause as { code?: string }).code}`));
        arrival.inflow.start({
          data: () => call.outflow.destroy(new Error('we stop')),
          end: () => ends.push('end'),
          error: (cause) => ends.push(`error ${(cause as { code?: string }).code}`),
        });
      };
      const call = await pair.client.call(pair.target, requestHead('/'), { kind: 'stream' });
      call.outflow.attach({
        drain: () => 0,
        error: () => t.fail('told of its own destroy'),
        finish: () => t.fail('finished'),
      });
      call.outflow.write(Buffer.from('a'));
      await t.rejects(call.answer);
      while (ends.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
      t.strictSame(ends.toSorted(), ['error link.broken', 'gone link.broken']);
    });

    await t.test('a broken answer is an error, with and without data before it', async (t) => {
      for (const before of [0, 1, 100_000]) {
        handler = (arrival) => {
          const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream' });
          if (before > 0) out.write(Buffer.alloc(before));
          setTimeout(() => out.destroy(new Error('service died')), 20);
        };
        const call = await pair.client.call(pair.target, requestHead('/'), {
          kind: 'whole',
          bytes: Buffer.alloc(1),
        });
        const { inflow } = await call.answer;
        await t.rejects(receive(inflow), { code: 'link.broken' }, `${before} bytes`);
      }
    });

    await t.test('mistakes of ours are told to us', async (t) => {
      const whole = { kind: 'whole', bytes: Buffer.alloc(0) } as const;
      await t.rejects(
        pair.client.call(pair.target, requestHead('/', { authority: 'gw.c' }), whole),
        /authority/,
      );
      const head = requestHead('/', { fields: [['transfer-encoding', 'chunked']] });
      await t.rejects(pair.client.call(pair.target, head, whole), /transfer-encoding/);
      const call = await pair.client.call(pair.target, requestHead('/'), { kind: 'stream' });
      t.throws(() => call.outflow.end(undefined, []), /trailers/);
      call.abort(new Error('enough'));
      await t.rejects(call.answer, /enough/);
    });
  });
}
