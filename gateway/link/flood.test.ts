import tls, { type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  fieldSection,
  FRAME,
  type Frame,
  frame,
  FrameReader,
  PREFACE,
  uint32,
} from '../../conformance/builders/h2-frames.ts';
import {
  type LinkPair,
  makeGateways,
  makePair,
  type PairOptions,
  PROVIDER,
  receive,
  requestHead,
} from '../../conformance/builders/link-pair.ts';
import { PROTOCOLS, type LinkArrival } from './link.ts';

const gateways = await makeGateways();
const WHOLE = { kind: 'whole', bytes: Buffer.from('q') } as const;
const MIB = 1024 * 1024;
const tick = (ms = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** Waits until a count has stood for a while, however slow this machine is. */
async function still(count: () => number): Promise<number> {
  for (let last = count(); ; last = count()) {
    for (let i = 0; i < 10 && count() === last; i++) await tick(30);
    if (count() === last) return last;
  }
}

async function pairOf(t: Test, options: Partial<PairOptions>): Promise<LinkPair> {
  const pair = await makePair({ gateways, onArrival: () => undefined, ...options });
  t.teardown(() => pair.close());
  return pair;
}

for (const protocol of PROTOCOLS) {
  void t.test(`${protocol}: a receiver that does not read costs its window and no more`, async (t) => {
    const stalled: LinkArrival[] = [];
    const pair = await pairOf(t, {
      client: { protocols: [protocol], limits: { drainMs: 50 } },
      server: { limits: { drainMs: 50 } },
      onArrival: (arrival) => {
        if (arrival.rawHead.path === '/stall') {
          arrival.inflow.start({
            data: () => arrival.inflow.pause(),
            end: () => t.fail('end'),
            error: () => undefined,
          });
          stalled.push(arrival);
        } else if (arrival.rawHead.path === '/unread') stalled.push(arrival);
        else void receive(arrival.inflow).then(() => arrival.answer({ status: 200, fields: [] }, WHOLE));
      },
    });
    const memory = (): number => process.memoryUsage().rss;
    const before = memory();
    const block = Buffer.alloc(65_536);
    const accepted: number[] = [];
    for (const path of Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? '/stall' : '/unread'))) {
      const call = await pair.client.call(pair.target, requestHead(path), { kind: 'stream' });
      const i = accepted.push(0) - 1;
      const push = (): void => {
        for (let more = true; more;) {
          more = call.outflow.write(block);
          accepted[i] = (accepted[i] ?? 0) + block.length;
          if ((accepted[i] ?? 0) > 64 * MIB) return;
        }
      };
      call.outflow.attach({ drain: push, error: () => undefined, finish: () => t.fail('finish') });
      push();
    }
    const total = (): number => accepted.reduce((sum, n) => sum + n, 0);
    await still(total);
    // Window, the sender's own buffer, and on HTTP/1.1 what two kernels hold.
    const bound = (protocol === 'http/1.1' ? 8 : 1) * MIB;
    t.ok(Math.max(...accepted) <= bound, `${Math.max(...accepted)} bytes were taken for one stream`);
    const grown = memory() - before;
    t.ok(grown < 20 * 3 * MIB, `memory grew by ${Math.round(grown / MIB)} MiB for 20 streams`);
    const call = await pair.client.call(pair.target, requestHead('/'), WHOLE);
    t.equal((await call.answer).head.status, 200, 'the others are served meanwhile');
    await receive((await call.answer).inflow);
    const standing = await still(total);
    t.pass('and nothing moves until somebody reads');
    stalled[0]?.inflow.resume();
    stalled[1]?.inflow.start({ data: () => undefined, end: () => undefined, error: () => undefined });
    while (total() === standing) await tick();
    t.ok(total() > standing, 'then it does');
  });

  void t.test(`${protocol}: an asker that does not read the answer, likewise`, async (t) => {
    let accepted = 0;
    let drained = 0;
    const pair = await pairOf(t, {
      client: { protocols: [protocol], limits: { drainMs: 50 } },
      server: { limits: { drainMs: 50 } },
      onArrival: (arrival) => {
        const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream' });
        const push = (): void => {
          drained++;
          for (let more = true; more && accepted < 64 * MIB; accepted += 65_536) {
            more = out.write(Buffer.alloc(65_536));
          }
        };
        out.attach({ drain: push, error: () => undefined, finish: () => undefined });
        push();
      },
    });
    const call = await pair.client.call(pair.target, requestHead('/'), WHOLE);
    const { inflow } = await call.answer;
    const standing = await still(() => accepted);
    t.ok(standing <= (protocol === 'http/1.1' ? 8 : 1) * MIB, `${standing} bytes`);
    let reading = false;
    inflow.start({
      data: () => {
        if (!reading) inflow.pause();
      },
      end: () => t.fail('end'),
      error: () => undefined,
    });
    await still(() => accepted);
    t.ok(accepted <= standing + MIB, 'one chunk read makes no flood');
    reading = true;
    const before = drained;
    inflow.resume();
    while (drained === before) await tick();
    t.ok(accepted > standing, 'goes on when somebody reads');
  });
}

interface RawPeer {
  readonly socket: TLSSocket;
  readonly frames: Frame[];
  readonly closed: Promise<void>;
  isClosed(): boolean;
}

/** A registered peer that speaks HTTP/2 by hand. */
async function rawPeer(port: number): Promise<RawPeer> {
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    servername: PROVIDER,
    ca: gateways.authority.rootPem,
    key: gateways.consumer.keyPem,
    cert: gateways.consumer.chainPem,
    ALPNProtocols: ['h2'],
  });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  const frames: Frame[] = [];
  const reader = new FrameReader();
  socket.on('data', (bytes: Buffer) => frames.push(...reader.push(bytes)));
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      isClosed = true;
      resolve();
    });
  });
  socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0), frame(FRAME.settings, ACK, 0)]));
  return { socket, frames, closed, isClosed: () => isClosed };
}

const HEAD = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':authority', PROVIDER],
  [':path', '/'],
] as const;
const headers = (
  stream: number,
  fields: readonly (readonly [string, string])[],
  flags = END_HEADERS,
): Buffer => frame(FRAME.headers, flags, stream, fieldSection(fields));

void t.test('a head that is not one never arrives', async (t) => {
  let arrivals = 0;
  let names: string[] = [];
  const pair = await pairOf(t, {
    onArrival: (arrival) => {
      arrivals++;
      names = arrival.rawHead.fields.map(([name]) => name);
      void receive(arrival.inflow).then(() => arrival.answer({ status: 200, fields: [] }, WHOLE));
    },
  });
  const many = Array.from({ length: 101 }, (_, i) => [`x-${i}`, 'y'] as const);
  const bad: readonly (readonly [what: string, fields: readonly (readonly [string, string])[]])[] = [
    ['an upper-case name', [...HEAD, ['X-A', 'b']]],
    ['connection', [...HEAD, ['connection', 'close']]],
    ['transfer-encoding', [...HEAD, ['transfer-encoding', 'chunked']]],
    ['te', [...HEAD, ['te', 'gzip']]],
    ['upgrade', [...HEAD, ['upgrade', 'h2c']]],
    ['no path', HEAD.filter(([name]) => name !== ':path')],
    ['no authority', HEAD.filter(([name]) => name !== ':authority')],
    ['two methods', [...HEAD, [':method', 'GET']]],
    ['two authorities', [...HEAD, [':authority', PROVIDER]]],
    ['an unknown pseudo-header field', [...HEAD, [':x', 'y']]],
    ['a pseudo-header field after a field', [['x-a', 'b'], ...HEAD]],
    ['a host beside the authority', [...HEAD, ['host', 'gw.other.example']]],
    ['the same host beside the authority', [...HEAD, ['host', PROVIDER]]],
    ['two lengths', [...HEAD, ['content-length', '1'], ['content-length', '1']]],
    ['a length that is no number', [...HEAD, ['content-length', '+1']]],
    [
      'CONNECT',
      [
        [':method', 'CONNECT'],
        [':authority', PROVIDER],
      ],
    ],
    ['extended CONNECT', [...HEAD.slice(1), [':method', 'CONNECT'], [':protocol', 'websocket']]],
    ['101 fields', [...HEAD, ...many]],
    ['40 KiB in one field', [...HEAD, ['x-a', 'y'.repeat(16_000)], ['x-b', 'y'.repeat(20_000)]]],
  ];
  for (const [what, fields] of bad) {
    const peer = await rawPeer(pair.target.port);
    const section = fieldSection(fields);
    const parts: Buffer[] = [];
    for (let at = 0; at < section.length; at += 16_000) {
      const last = at + 16_000 >= section.length ? END_HEADERS : 0;
      const part = section.subarray(at, at + 16_000);
      parts.push(
        frame(at === 0 ? FRAME.headers : FRAME.continuation, (at === 0 ? END_STREAM : 0) | last, 1, part),
      );
    }
    peer.socket.write(Buffer.concat(parts));
    const refused = (): boolean =>
      peer.frames.some(({ type }) => type === FRAME.rstStream || type === FRAME.goaway);
    while (!refused() && !peer.isClosed()) await tick();
    t.equal(arrivals, 0, what);
    peer.socket.destroy();
  }
  const peer = await rawPeer(pair.target.port);
  peer.socket.write(headers(1, HEAD, END_HEADERS | END_STREAM));
  while (arrivals === 0) await tick();
  t.pass('the same head without the fault does');
  // nghttp2 drops a field whose value has forbidden octets, and Node does not tell. A covered one is then missed by the
  // signature; nothing of it can reach the service.
  for (const value of ['b\r\nx-c: d', 'b\0']) {
    arrivals = 0;
    const fields = [...HEAD, ['x-a', value], ['x-b', 'c']] as const;
    peer.socket.write(headers(value.length === 2 ? 5 : 3, fields, END_HEADERS | END_STREAM));
    while (arrivals === 0) await tick();
    t.strictSame(names, ['x-b']);
  }
  peer.socket.destroy();
});

void t.test('more or less than announced is an error', async (t) => {
  const outcomes: string[] = [];
  const pair = await pairOf(t, {
    onArrival: (arrival) => {
      receive(arrival.inflow).then(
        () => outcomes.push('end'),
        (cause: { code: string }) => outcomes.push(cause.code),
      );
    },
  });
  for (const [bytes, expected] of [
    [3, 'link.broken'],
    [5, 'link.broken'],
    [4, 'end'],
  ] as const) {
    const peer = await rawPeer(pair.target.port);
    peer.socket.write(
      Buffer.concat([
        headers(1, [...HEAD, ['content-length', '4']]),
        frame(FRAME.data, END_STREAM, 1, Buffer.alloc(bytes)),
      ]),
    );
    while (outcomes.length === 0) await tick();
    t.equal(outcomes.shift(), expected, `${bytes} of 4`);
    peer.socket.destroy();
  }
});

void t.test('floods end with the session, before they cost much', async (t) => {
  let arrivals = 0;
  const pair = await pairOf(t, {
    onArrival: () => arrivals++,
    server: { limits: { resetsPerSecond: 50, streamsPerSession: 100, drainMs: 50 } },
  });
  const repeat = (count: number, part: (i: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, i) => part(i)));
  const calm = 11;
  const goawayCode = (peer: RawPeer): number | undefined =>
    peer.frames.find(({ type }) => type === FRAME.goaway)?.payload.readUInt32BE(4);
  const floods: readonly (readonly [what: string, bytes: () => Buffer])[] = [
    [
      'rapid reset (CVE-2023-44487)',
      () =>
        repeat(5000, (i) =>
          Buffer.concat([headers(2 * i + 1, HEAD), frame(FRAME.rstStream, 0, 2 * i + 1, uint32(8))]),
        ),
    ],
    [
      'heads that make us reset (CVE-2025-8671)',
      () => repeat(5000, (i) => headers(2 * i + 1, [...HEAD, ['host', 'x']])),
    ],
    [
      'continuations without end (CVE-2024-27983)',
      () =>
        Buffer.concat([
          headers(1, HEAD, 0),
          repeat(2000, () => frame(FRAME.continuation, 0, 1, fieldSection([['x-a', 'y'.repeat(4000)]]))),
        ]),
    ],
    ['settings (CVE-2019-9515)', () => repeat(200_000, () => frame(FRAME.settings, 0, 0))],
    ['pings (CVE-2019-9512)', () => repeat(200_000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)))],
    ['a window beyond 2^31', () => repeat(2, () => frame(FRAME.windowUpdate, 0, 0, uint32(0x7fffffff)))],
    ['a window update of 0', () => frame(FRAME.windowUpdate, 0, 0, uint32(0))],
  ];
  for (const [what, bytes] of floods) {
    arrivals = 0;
    const peer = await rawPeer(pair.target.port);
    const flood = bytes();
    const rss = process.memoryUsage().rss;
    if (/pings|settings/.test(what)) peer.socket.pause(); // who does not read makes us keep the answers
    peer.socket.write(flood);
    await tick(20);
    while (pair.server.sessions > 0) await tick(5);
    peer.socket.resume();
    await peer.closed;
    // 200 at once and 50 more a second, were this machine to take that long.
    t.ok(arrivals <= 1000, `${what}: ${arrivals} arrived`);
    const grown = (process.memoryUsage().rss - rss) / MIB;
    t.ok(grown < 100, `${what}: memory grew by ${Math.round(grown)} MiB`);
    t.comment(`${what}: GOAWAY code ${goawayCode(peer)}`);
    // Closing over unread bytes makes TCP drop what was sent last, so the reason does not always get through.
    if (what.startsWith('rapid') || what.startsWith('heads')) t.match(goawayCode(peer) ?? calm, calm, what);
  }
  while (pair.server.sessions > 0) await tick();
  t.ok(
    pair.events.some(({ kind }) => kind === 'session.broken'),
    'and somebody is told',
  );
});
