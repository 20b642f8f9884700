import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import t from 'tap';
import * as h2 from '../../conformance/builders/h2-frames.ts';
import {
  credentialsOf,
  makeGateways,
  makePair,
  PROVIDER,
  requestHead as head,
  spkiOfIdentity,
  systemClock,
} from '../../conformance/builders/link-pair.ts';
import * as troad from '../../conformance/builders/troad-frames.ts';
import { createLinkClient } from './client.ts';
import type { LinkProtocol } from './link.ts';

// What is no message on one of the three links is none on the others: nothing above can tell them apart.

type Line = readonly [name: string, value: string];

const gateways = await makeGateways();
const tick = (ms = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const textOf = (fields: readonly Line[]): string =>
  fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
const h2Head = (fields: readonly Line[]): Buffer =>
  h2.frame(h2.FRAME.headers, h2.END_HEADERS | h2.END_STREAM, 1, h2.fieldSection(fields));
const h2Greeting = h2.frame(h2.FRAME.settings, 0, 0);

/** The fields of one connection. */
const OF_ONE_HOP: readonly Line[] = [
  ['te', 'trailers'],
  ['trailer', 't-road-end'],
  ['proxy-connection', 'close'],
  ['http2-settings', 'AAMAAABkAAQCAAAAAAIAAAAA'],
];

const REQUEST: Readonly<Record<LinkProtocol, (field: Line) => Buffer>> = {
  'troad/1': (field) =>
    Buffer.concat([
      troad.hello(),
      troad.frame(troad.FRAME.head, 1, troad.requestHead({ method: 'GET', authority: PROVIDER }, 0, [field])),
    ]),
  h2: (field) =>
    Buffer.concat([
      h2.PREFACE,
      h2Greeting,
      h2Head([[':method', 'GET'], [':scheme', 'https'], [':authority', PROVIDER], [':path', '/'], field]),
    ]),
  'http/1.1': (field) => Buffer.from(`GET / HTTP/1.1\r\n${textOf([['host', PROVIDER], field])}\r\n`),
};

for (const protocol of ['troad/1', 'h2', 'http/1.1'] satisfies LinkProtocol[]) {
  void t.test(`${protocol}: a request with a field of one hop is refused`, async (t) => {
    const outcomes: string[] = [];
    const pair = await makePair({
      gateways,
      onArrival: (arrival) => {
        try {
          arrival.rawHead.canonical();
          outcomes.push('taken');
        } catch (cause) {
          outcomes.push((cause as { code: string }).code);
        }
        arrival.abort(new Error('seen'));
      },
      server: { limits: { drainMs: 100 } },
    });
    t.teardown(() => pair.close());
    for (const field of [...OF_ONE_HOP, ['x-a', 'b'] as const]) {
      const socket = tls.connect({
        host: '127.0.0.1',
        port: pair.target.port,
        servername: PROVIDER,
        ca: gateways.authority.rootPem,
        key: gateways.consumer.keyPem,
        cert: gateways.consumer.chainPem,
        ALPNProtocols: [protocol],
      });
      socket.on('error', () => undefined); // however it ends
      await once(socket, 'secureConnect');
      let ended = false;
      socket.on('close', () => (ended = true));
      const frames = new h2.FrameReader();
      socket.on('data', (bytes: Buffer) => {
        if (protocol !== 'h2') return;
        ended ||= frames
          .push(bytes)
          .some(({ type }) => type === h2.FRAME.rstStream || type === h2.FRAME.goaway);
      });
      socket.write(REQUEST[protocol](field));
      while (outcomes.length === 0 && !ended) await tick();
      const [name] = field;
      if (name === 'x-a') t.equal(outcomes.shift(), 'taken', 'another one is not');
      else t.not(outcomes.shift() ?? 'ended', 'taken', name);
      socket.destroy();
    }
  });

  void t.test(`${protocol}: an answer with another status, or a field of one hop, is none`, async (t) => {
    let said: { status: string; fields: readonly Line[] } = { status: '200', fields: [] };
    const sockets = new Set<TLSSocket>();
    const server = tls.createServer(
      {
        key: gateways.provider.keyPem,
        cert: gateways.provider.chainPem,
        ca: gateways.authority.rootPem,
        requestCert: true,
        ALPNProtocols: [protocol],
      },
      (socket) => {
        sockets.add(socket);
        socket.on('error', () => undefined); // the client may leave as it likes
        const frames = new h2.FrameReader();
        const reader = new troad.TroadReader();
        let preface = h2.PREFACE.length;
        if (protocol === 'troad/1') socket.write(troad.hello());
        if (protocol === 'h2') socket.write(h2Greeting);
        socket.on('data', (bytes: Buffer) => {
          const { status, fields } = said;
          if (protocol === 'http/1.1')
            socket.end(
              `HTTP/1.1 ${status} x\r\n${textOf([['connection', 'close'], ['content-length', '0'], ...fields])}\r\n`,
            );
          else if (protocol === 'h2') {
            const rest = bytes.subarray(Math.min(preface, bytes.length));
            preface -= bytes.length - rest.length;
            for (const { type, stream } of frames.push(rest)) {
              if (type !== h2.FRAME.headers) continue;
              const section = h2.fieldSection([[':status', status], ...fields]);
              socket.write(h2.frame(h2.FRAME.headers, h2.END_HEADERS | h2.END_STREAM, stream, section));
            }
          } else {
            for (const { kind, stream } of reader.push(bytes)) {
              if (kind !== troad.FRAME.head) continue;
              socket.write(troad.frame(kind, stream, troad.answerHead(Number(status), 0, fields)));
            }
          }
        });
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = createLinkClient({
      credentials: credentialsOf(gateways.authority, gateways.consumer),
      clock: systemClock,
      random: () => 0,
      verifyPeer: () => undefined,
      limits: { backoffMinMs: 1, backoffMaxMs: 1, drainMs: 50 },
    });
    t.teardown(async () => {
      await client.drain();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    const target = {
      name: PROVIDER,
      host: '127.0.0.1',
      port: (server.address() as AddressInfo).port, // it is not a pipe
      spki: [spkiOfIdentity(gateways.provider)],
    };
    const ask = async (): Promise<string> => {
      try {
        const call = await client.call(target, head('/'), { kind: 'whole', bytes: Buffer.from('q') });
        const { status } = (await call.answer).head;
        call.abort(new Error('seen'));
        return String(status);
      } catch (cause) {
        return (cause as { code?: string }).code ?? String(cause);
      }
    };
    /** An HTTP/1.1 connection ends with its answer here: the next call may still find it. */
    const until = async (isIt: (outcome: string) => boolean): Promise<string> => {
      for (let tries = 0; ; tries += 1) {
        const outcome = await ask();
        if (isIt(outcome) || tries === 50) return outcome;
        await tick();
      }
    };
    for (const status of ['000', '099', '600', '700', '999']) {
      said = { status, fields: [] };
      t.equal(await ask(), 'link.broken', status);
      said = { status: '200', fields: [] };
      t.equal(await until((outcome) => outcome === '200'), '200', `${status}: the next exchange works`);
    }
    for (const field of OF_ONE_HOP) {
      said = { status: '200', fields: [field] };
      const outcome = await ask();
      t.ok(outcome === 'header.malformed' || outcome === 'link.broken', `${field[0]}: ${outcome}`);
    }
    for (const status of ['200', '404', '599']) {
      said = { status, fields: [] };
      t.equal(await until((outcome) => outcome === status), status);
    }
  });
}
