import http2, { type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import fc from 'fast-check';
import t from 'tap';
import { makeCutProxy } from '../../conformance/builders/cut-proxy.ts';
import {
  credentialsOf,
  makeGateways,
  makePair,
  PROVIDER,
  receive,
  requestHead,
  spkiOfIdentity,
  systemClock,
} from '../../conformance/builders/link-pair.ts';
import { createLinkClient } from './client.ts';
import type { LinkArrival, LinkProtocol } from './link.ts';

// What a peer, or the network, can do to make a cut message look complete. Each row was seen to reach an application
// as a plain `end` from some version of Node, or is the nearest thing to it. One outcome is allowed: an error.

const tick = (ms = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const gateways = await makeGateways();
const TRAILER = { 't-road-end': 'length=4' };

/** How a body came out: `end`, or the code of the error. Never both. */
async function outcome(body: Promise<unknown>): Promise<string> {
  try {
    await body;
    return 'end';
  } catch (cause) {
    return (cause as { code?: string }).code ?? String(cause);
  }
}

type BreakOff = (stream: http2.Http2Stream) => void;
/** Node's `close` ends a stream that has neither length nor trailers tidily before it resets it: a clean END_STREAM. */
const h2Breaks: readonly (readonly [what: string, breakOff: BreakOff, withoutLength: string])[] = [
  ['close(NO_ERROR)', (s) => s.close(http2.constants.NGHTTP2_NO_ERROR), 'message.completion'],
  ['close(CANCEL)', (s) => s.close(http2.constants.NGHTTP2_CANCEL), 'message.completion'],
  ['close(INTERNAL_ERROR)', (s) => s.close(http2.constants.NGHTTP2_INTERNAL_ERROR), 'message.completion'],
  ['destroy() without an error', (s) => void s.destroy(), 'link.broken'],
  ['destroy() with an error', (s) => void s.destroy(new Error('x')), 'link.broken'],
  ['the session destroyed', (s) => s.session?.destroy(), 'link.broken'],
  ['the session destroyed with a code', (s) => s.session?.destroy(undefined, 2), 'link.broken'],
  ['the socket destroyed', (s) => void rawSocket(s).destroy(), 'link.broken'],
  ['the socket ended', (s) => void rawSocket(s).end(), 'link.broken'],
];

const sockets = new WeakMap<http2.Http2Session, TLSSocket>();
function rawSocket(stream: http2.Http2Stream): TLSSocket {
  const socket = stream.session === undefined ? undefined : sockets.get(stream.session);
  if (socket === undefined) throw new Error('no socket');
  return socket;
}

void t.test('an answer over HTTP/2', async (t) => {
  let behave: (stream: ServerHttp2Stream) => void = () => undefined;
  const peer = http2.createSecureServer({
    key: gateways.provider.keyPem,
    cert: gateways.provider.chainPem,
    ca: gateways.authority.rootPem,
    requestCert: true,
  });
  const plain = new Set<TLSSocket>();
  let last: TLSSocket | undefined;
  peer.prependListener('secureConnection', (socket: TLSSocket) => {
    plain.add((last = socket));
    socket.on('error', () => undefined);
  });
  peer.on('session', (session) => {
    if (last !== undefined) sockets.set(session, last);
    session.on('error', () => undefined);
  });
  peer.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => undefined);
    behave(stream);
  });
  await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve));
  const client = createLinkClient({
    credentials: credentialsOf(gateways.authority, gateways.consumer),
    clock: systemClock,
    random: () => 0,
    verifyPeer: () => undefined,
    limits: { backoffMinMs: 1 },
  });
  t.teardown(async () => {
    await client.drain();
    for (const socket of plain) socket.destroy();
    await new Promise((resolve) => peer.close(resolve));
  });
  const target = {
    name: PROVIDER,
    host: '127.0.0.1',
    port: (peer.address() as AddressInfo).port,
    spki: [spkiOfIdentity(gateways.provider)],
  };
  const ask = async (paused = false): Promise<string> => {
    const call = await client.call(target, requestHead('/'), { kind: 'whole', bytes: Buffer.from('q') });
    const answer = await call.answer;
    if (paused) await tick(40);
    return outcome(receive(answer.inflow));
  };

  for (const [what, breakOff, withoutLength] of h2Breaks) {
    for (const length of [undefined, '10']) {
      for (const bytes of [0, 4]) {
        const announced = length === undefined ? {} : { 'content-length': length };
        const row = `${what}, ${bytes} bytes, ${length === undefined ? 'no length' : 'length 10'}`;
        behave = (stream) => {
          stream.respond({ ':status': 200, ...announced });
          if (bytes > 0) stream.write('abcd');
          setTimeout(() => breakOff(stream), 15);
        };
        t.equal(await ask(), length === undefined ? withoutLength : 'link.broken', row);
      }
    }
    behave = (stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.write('abcd');
      setTimeout(() => breakOff(stream), 15);
    };
    t.equal(await ask(), 'link.broken', `${what}, trailers still to come`);
    t.equal(await ask(true), 'link.broken', `${what}, before anybody reads`);
  }

  behave = (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('abcd');
  };
  t.equal(await ask(), 'message.completion', 'a tidy end without length and trailers is not complete');

  behave = (stream) => {
    stream.respond({ ':status': 200, 'content-length': '4' });
    stream.write('abcd');
    setTimeout(() => stream.close(http2.constants.NGHTTP2_NO_ERROR), 15);
  };
  t.equal(await ask(), 'end', 'all announced bytes came: complete whatever follows');

  behave = (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(TRAILER));
    stream.end('abcd');
  };
  t.equal(await ask(), 'end', 'trailers came');
  t.equal(await ask(true), 'end', 'trailers came before anybody read');

  behave = (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ signature: 'x'.repeat(40_000) }));
    stream.end('abcd');
  };
  t.equal(await ask(), 'link.broken', 'trailers that are too large');

  for (const [what, fields] of [
    ['a byte that is not ASCII', { 'x-a': 'é' }],
    ['a field of the transport', { te: 'trailers' }],
  ] as const) {
    behave = (stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => {
        stream.sendTrailers(fields);
      });
      stream.end('abcd');
    };
    t.not(await ask(), 'end', `trailers with ${what}`);
  }

  const noAnswer = async (): Promise<string> => {
    const call = await client.call(target, requestHead('/'), { kind: 'whole', bytes: Buffer.from('q') });
    return outcome(call.answer);
  };
  for (const [what, breakOff] of h2Breaks) {
    behave = (stream) => setTimeout(() => breakOff(stream), 5);
    t.equal(await noAnswer(), 'link.broken', `${what} instead of an answer`);
  }
});

void t.test('a request over HTTP/2', async (t) => {
  const arrived: Promise<string>[] = [];
  const gone: string[] = [];
  const pair = await makePair({
    gateways,
    onArrival: (arrival) => {
      arrival.onGone((cause) => gone.push((cause as { code?: string }).code ?? ''));
      arrived.push(outcome(receive(arrival.inflow)));
    },
    server: { limits: { resetsPerSecond: 10_000, drainMs: 100 } },
  });
  t.teardown(() => pair.close());
  const open = async (): Promise<http2.ClientHttp2Session> => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: pair.target.port,
      servername: PROVIDER,
      ca: gateways.authority.rootPem,
      key: gateways.consumer.keyPem,
      cert: gateways.consumer.chainPem,
      ALPNProtocols: ['h2'],
    });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const session = http2.connect('https://link.invalid', { createConnection: () => socket });
    socket.on('error', () => undefined);
    session.on('error', () => undefined);
    sockets.set(session, socket);
    return session;
  };
  const fields = { ':method': 'POST', ':path': '/', ':authority': PROVIDER, ':scheme': 'https' };
  const settled = async (): Promise<string> => {
    while (arrived.length === 0) await tick();
    return (await arrived.shift()) ?? '';
  };

  for (const [what, breakOff, withoutLength] of h2Breaks) {
    for (const [row, more, options, body, expected] of [
      ['no length', {}, {}, 'abcd', withoutLength],
      ['no data', {}, {}, '', withoutLength],
      ['length 10', { 'content-length': '10' }, {}, 'abcd', 'link.broken'],
      ['trailers still to come', {}, { waitForTrailers: true }, 'abcd', 'link.broken'],
    ] as const) {
      const session = await open();
      const stream = session.request({ ...fields, ...more }, { endStream: false, ...options });
      stream.on('error', () => undefined);
      if (body !== '') stream.write(body);
      while (arrived.length === 0) await tick();
      await tick(15);
      breakOff(stream);
      t.equal(await settled(), expected, `${what}, ${row}`);
      session.destroy();
    }
  }
  t.equal(gone.length, h2Breaks.length * 4, 'each was told');

  const session = await open();
  const stream = session.request(fields, { endStream: false });
  stream.on('error', () => undefined);
  stream.end('abcd');
  t.equal(await settled(), 'message.completion', 'a tidy end without trailers');
  const good = session.request(fields, { endStream: false, waitForTrailers: true });
  good.on('error', () => undefined);
  good.on('wantTrailers', () => good.sendTrailers(TRAILER));
  good.end('abcd');
  t.equal(await settled(), 'end', 'a tidy end with trailers');
  session.destroy();
});

const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
const h1Answers: readonly (readonly [what: string, text: string, expected: string])[] = [
  ['nothing at all', '', 'link.broken'],
  ['a cut head', 'HTTP/1.1 200 OK\r\ncontent-le', 'link.broken'],
  ['less than announced', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabcd', 'link.broken'],
  ['no byte of what was announced', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n', 'link.broken'],
  ['a cut chunk', `${CHUNKED}a\r\nabcd`, 'link.broken'],
  ['no last chunk', `${CHUNKED}4\r\nabcd\r\n`, 'link.broken'],
  ['a cut last chunk', `${CHUNKED}4\r\nabcd\r\n0\r\n`, 'link.broken'],
  ['cut inside the trailers', `${CHUNKED}4\r\nabcd\r\n0\r\nt-road-end: length=4\r\n`, 'link.broken'],
  ['chunked without trailers', `${CHUNKED}4\r\nabcd\r\n0\r\n\r\n`, 'message.completion'],
  ['a doubled trailer', `${CHUNKED}0\r\nt-road-end: a\r\nt-road-end: a\r\n\r\n`, 'header.duplicate'],
  [
    'a trailer of the transport',
    `${CHUNKED}0\r\ntransfer-encoding: x\r\nx-a: b\r\n\r\n`,
    'message.completion',
  ],
  ['an end by closing', 'HTTP/1.1 200 OK\r\n\r\nabcd', 'link.broken'],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nabcd', 'link.broken'],
  ['another coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 'link.broken'],
  [
    'both framings',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n',
    'link.broken',
  ],
  ['another protocol', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n', 'link.broken'],
  ['whole', 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd', 'end'],
  ['with trailers', `${CHUNKED}4\r\nabcd\r\n0\r\nt-road-end: length=4\r\n\r\n`, 'end'],
];

void t.test('an answer over HTTP/1.1', async (t) => {
  let text = '';
  let closed: () => void = () => undefined;
  const peer = tls.createServer(
    {
      key: gateways.provider.keyPem,
      cert: gateways.provider.chainPem,
      ca: gateways.authority.rootPem,
      requestCert: true,
      ALPNProtocols: ['http/1.1'],
    },
    (socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(text, 'latin1'));
    },
  );
  await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve));
  const client = createLinkClient({
    credentials: credentialsOf(gateways.authority, gateways.consumer),
    clock: systemClock,
    random: () => 0,
    verifyPeer: () => undefined,
    limits: { backoffMinMs: 1 },
    onEvent: (event) => {
      if (event.kind === 'session.closed') closed();
    },
  });
  t.teardown(async () => {
    await client.drain();
    await new Promise((resolve) => peer.close(resolve));
  });
  const target = {
    name: PROVIDER,
    host: '127.0.0.1',
    port: (peer.address() as AddressInfo).port,
    spki: [spkiOfIdentity(gateways.provider)],
  };
  for (const [what, bytes, expected] of h1Answers) {
    text = bytes;
    // The peer says keep-alive and hangs up: wait until that is seen.
    const over = new Promise<void>((resolve) => (closed = resolve));
    const call = await client.call(target, requestHead('/'), { kind: 'whole', bytes: Buffer.from('q') });
    t.equal(await outcome(call.answer.then(({ inflow }) => receive(inflow))), expected, what);
    await over;
  }
});

const POST = `POST / HTTP/1.1\r\nhost: ${PROVIDER}\r\n`;
const h1Requests: readonly (readonly [what: string, text: string, expected: string])[] = [
  ['less than announced', `${POST}content-length: 10\r\n\r\nabcd`, 'link.broken'],
  ['a cut chunk', `${POST}transfer-encoding: chunked\r\n\r\na\r\nabcd`, 'link.broken'],
  ['no last chunk', `${POST}transfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n`, 'link.broken'],
  [
    'cut inside the trailers',
    `${POST}transfer-encoding: chunked\r\n\r\n0\r\nt-road-end: a\r\n`,
    'link.broken',
  ],
  ['chunked without trailers', `${POST}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`, 'message.completion'],
  ['whole', `${POST}content-length: 4\r\n\r\nabcd`, 'end'],
  ['with trailers', `${POST}transfer-encoding: chunked\r\n\r\n0\r\nt-road-end: a\r\n\r\n`, 'end'],
];
/** Never becomes an arrival. */
const h1Refused: readonly (readonly [what: string, text: string])[] = [
  ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n'],
  ['no host', 'GET / HTTP/1.1\r\n\r\n'],
  ['two hosts', `GET / HTTP/1.1\r\nhost: ${PROVIDER}\r\nhost: ${PROVIDER}\r\n\r\n`],
  ['both framings', `${POST}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['two lengths', `${POST}content-length: 4\r\ncontent-length: 4\r\n\r\nabcd`],
  ['another coding', `${POST}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
  ['an upgrade', `GET / HTTP/1.1\r\nhost: ${PROVIDER}\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n`],
  ['CONNECT', `CONNECT ${PROVIDER}:443 HTTP/1.1\r\nhost: ${PROVIDER}\r\n\r\n`],
  ['an absolute target', `GET https://${PROVIDER}/ HTTP/1.1\r\nhost: ${PROVIDER}\r\n\r\n`],
  ['Connection naming a field', `${POST}connection: signature\r\ncontent-length: 0\r\n\r\n`],
  ['101 fields', `${POST}${'x: y\r\n'.repeat(100)}\r\n`],
  ['40 KiB of fields', `${POST}x: ${'y'.repeat(40_000)}\r\n\r\n`],
  ['another expectation', `${POST}expect: more\r\ncontent-length: 0\r\n\r\n`],
  ['bare line feeds', `GET / HTTP/1.1\nhost: ${PROVIDER}\n\n`],
  ['a clear-text HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
];

void t.test('a request over HTTP/1.1', async (t) => {
  const arrived: Promise<string>[] = [];
  const pair = await makePair({
    gateways,
    onArrival: (arrival: LinkArrival) => arrived.push(outcome(receive(arrival.inflow))),
    server: { limits: { drainMs: 100 } },
  });
  t.teardown(() => pair.close());
  const sendRaw = async (text: string): Promise<void> => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: pair.target.port,
      servername: PROVIDER,
      ca: gateways.authority.rootPem,
      key: gateways.consumer.keyPem,
      cert: gateways.consumer.chainPem,
      ALPNProtocols: ['http/1.1'],
    });
    socket.on('error', () => undefined);
    socket.end(text, 'latin1');
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
  };
  for (const [what, text, expected] of h1Requests) {
    void sendRaw(text);
    while (arrived.length === 0) await tick();
    t.equal(await arrived.shift(), expected, what);
  }
  for (const [what, text] of h1Refused) {
    await sendRaw(text);
    t.equal(arrived.length, 0, what);
  }
});

for (const protocol of ['troad/1', 'h2', 'http/1.1'] satisfies LinkProtocol[]) {
  void t.test(`${protocol}: a wire cut at any byte never makes a complete message of a part`, async (t) => {
    // A flipped bit in the length of a TLS record makes the other end wait for bytes that never come.
    const quick = { connectMs: 300, pingEveryMs: 50, pingTimeoutMs: 100, idleMs: 300 };
    const requests: Promise<string>[] = [];
    let proxy!: Awaited<ReturnType<typeof makeCutProxy>>;
    const pair = await makePair({
      gateways,
      onArrival: (arrival) => {
        const whole = receive(arrival.inflow).then(({ bytes, trailers }) => {
          if (bytes.length !== 3000 || trailers.length !== 1) throw new Error(`short: ${bytes.length}`);
          const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream' });
          out.write(bytes.subarray(0, 1000));
          out.end(bytes.subarray(1000), trailers);
        });
        requests.push(outcome(whole));
      },
      client: {
        protocols: [protocol],
        limits: { ...quick, backoffMinMs: 1, backoffMaxMs: 2, sessionsPerPeer: 1 },
      },
      server: { limits: quick },
      via: async (port) => {
        proxy = await makeCutProxy(port);
        t.teardown(() => proxy.close());
        return proxy.port;
      },
    });
    t.teardown(() => pair.close());
    const exchange = async (): Promise<string> => {
      const body = (async () => {
        const call = await pair.client.call(pair.target, requestHead('/'), { kind: 'stream' });
        call.outflow.write(Buffer.alloc(2000, 'a'));
        call.outflow.end(Buffer.alloc(1000, 'b'), [['t-road-end', 'x']]);
        const { bytes } = await receive((await call.answer).inflow);
        if (bytes.length !== 3000) throw new Error(`short: ${bytes.length}`);
      })();
      return outcome(body);
    };
    while ((await exchange()) !== 'end'); // that much patience has not every machine
    const directions = fc.constantFrom('up' as const, 'down' as const);
    const ways = fc.constantFrom('fin' as const, 'rst' as const, 'flip' as const);
    let cuts = 0;
    await fc.assert(
      fc.asyncProperty(directions, ways, fc.integer({ min: 0, max: 3500 }), async (direction, how, after) => {
        proxy.plan({ direction, how, after });
        const outcomes = [await exchange(), ...(await Promise.all(requests.splice(0)))];
        proxy.plan({ direction: 'up', how: 'fin', after: Infinity });
        if (outcomes.some((o) => o.startsWith('link.'))) cuts++;
        return outcomes.every((o) => o === 'end' || o.startsWith('link.'));
      }),
      { numRuns: 60 },
    );
    t.ok(cuts > 20, `${cuts} of 60 were cut`);
    // The last cut may not have been noticed yet.
    while ((await exchange()) !== 'end') await tick(10);
    t.pass('works again after all that');
  });
}
