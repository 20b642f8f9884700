import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import {
  credentialsOf,
  makeGateways,
  makePair,
  PROVIDER,
  receive,
  requestHead as head,
  spkiOfIdentity,
  systemClock,
  type LinkPair,
  type PairOptions,
} from '../../conformance/builders/link-pair.ts';
import {
  answerHead,
  frame,
  FRAME,
  hello,
  numbers,
  requestHead,
  trailerSection,
  TroadReader,
  type Frame,
} from '../../conformance/builders/troad-frames.ts';
import { createLinkClient } from './client.ts';
import type { LinkArrival } from './link.ts';

// A registered gateway that speaks troad/1 as it likes. Whatever it says, a message is complete or broken off, the
// other peers' connections go on, and what it costs is bounded.

const gateways = await makeGateways();
const WHOLE = { kind: 'whole', bytes: Buffer.from('q') } as const;
const MIB = 1024 * 1024;
const tick = (ms = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void; // V8's, see `node --v8-options`
const CLOSING = [['t-road-end', 'x']] as const;
const CODES = { protocol: 3, flood: 4 } as const;

interface RawPeer {
  readonly socket: TLSSocket;
  readonly frames: Frame[];
  readonly closed: Promise<void>;
  isClosed(): boolean;
  say(...parts: readonly Buffer[]): void;
  /** The first frame of a kind, when it has come. */
  heard(kind: number): Promise<Frame>;
}

function rawPeer(socket: TLSSocket): RawPeer {
  const frames: Frame[] = [];
  const reader = new TroadReader();
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => frames.push(...reader.push(bytes)));
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      isClosed = true;
      resolve();
    });
  });
  return {
    socket,
    frames,
    closed,
    isClosed: () => isClosed,
    say: (...parts) => void socket.write(Buffer.concat(parts)),
    async heard(kind) {
      for (;;) {
        const found = frames.find((one) => one.kind === kind);
        if (found !== undefined) return found;
        if (isClosed) throw new Error(`closed before a frame of kind ${kind}`);
        await tick();
      }
    },
  };
}

async function connectTo(port: number): Promise<RawPeer> {
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    servername: PROVIDER,
    ca: gateways.authority.rootPem,
    key: gateways.consumer.keyPem,
    cert: gateways.consumer.chainPem,
    ALPNProtocols: ['troad/1'],
  });
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  return rawPeer(socket);
}

async function pairOf(t: Test, options: Partial<PairOptions>): Promise<LinkPair> {
  const pair = await makePair({ gateways, onArrival: () => undefined, ...options });
  t.teardown(() => pair.close());
  return pair;
}

const ask = (stream: number, length: number, path = '/'): Buffer =>
  frame(FRAME.head, stream, requestHead({ authority: PROVIDER, path }, length));
const data = (stream: number, bytes: number): Buffer => frame(FRAME.data, stream, Buffer.alloc(bytes, 'd'));
const trailers = (stream: number): Buffer => frame(FRAME.trailers, stream, trailerSection(CLOSING));
const reset = (stream: number, code = 1): Buffer => frame(FRAME.reset, stream, numbers(code));
const credit = (stream: number, bytes: number): Buffer => frame(FRAME.credit, stream, numbers(bytes));

void t.test('what an asker may not say ends its connection, with everything on it', async (t) => {
  const outcomes: string[] = [];
  const pair = await pairOf(t, {
    onArrival: (arrival) => {
      if (arrival.rawHead.path === '/held') return;
      receive(arrival.inflow).then(
        () => outcomes.push('end'),
        (cause: { code: string }) => outcomes.push(cause.code),
      );
      if (arrival.rawHead.path === '/answered') arrival.answer({ status: 200, fields: [] }, WHOLE);
    },
    server: { limits: { drainMs: 50, streamsPerSession: 4 } },
  });
  const rows: readonly (readonly [what: string, said: readonly Buffer[], before?: 'end'])[] = [
    ['no greeting', [ask(1, 0)]],
    ['a ping before the greeting', [frame(FRAME.ping, 0, numbers(0, 1))]],
    ['two greetings', [hello(), hello()]],
    ['no exchanges at once', [hello(0)]],
    ['an impossible head', [hello(1, 2 ** 31)]],
    ['the second stream first', [hello(), ask(2, 0)]],
    ['a stream twice', [hello(), ask(1, 5), ask(1, 5)]],
    ['a stream again after its end', [hello(), ask(1, 0, '/answered'), ask(1, 0)], 'end'],
    ['a malformed head', [hello(), frame(FRAME.head, 1, requestHead({ authority: PROVIDER, path: '' }, 0))]],
    ['data of no stream', [hello(), data(1, 5)]],
    ['data behind the head that was all', [hello(), ask(1, 0), data(1, 5)], 'end'],
    ['more data than announced', [hello(), ask(1, 5), data(1, 6)]],
    ['more data than announced, in two', [hello(), ask(1, 5), data(1, 3), data(1, 3)]],
    ['more data than there is credit for', [hello(), ask(1, -1, '/held'), data(1, 65_536), data(1, 1)]],
    ['data after trailers', [hello(), ask(1, -1), trailers(1), data(1, 1)], 'end'],
    ['trailers for an announced length', [hello(), ask(1, 5), data(1, 5), trailers(1)], 'end'],
    ['trailers instead of an announced length', [hello(), ask(1, 5), trailers(1)]],
    ['trailers of no stream', [hello(), trailers(1)]],
    ['no trailers in the trailers', [hello(), ask(1, -1), frame(FRAME.trailers, 1, Buffer.alloc(4))]],
    ['a reset of a stream to come', [hello(), reset(1)]],
    ['enough of an answer', [hello(), ask(1, 0), reset(1, 2)], 'end'],
    ['credit for a stream to come', [hello(), credit(1, 5)]],
    ['credit of nothing', [hello(), ask(1, -1), credit(1, 0)]],
    ['credit beyond all bounds', [hello(), ask(1, -1), credit(1, 2 ** 30), credit(1, 2 ** 30)]],
    ['an answer to no ping', [hello(), frame(FRAME.pong, 0, numbers(0, 1))]],
    ['drain', [hello(), frame(FRAME.drain, 0)]],
    ['an unknown kind', [hello(), frame(99, 0)]],
  ];
  for (const [what, said, before] of rows) {
    outcomes.length = 0;
    const peer = await connectTo(pair.target.port);
    peer.say(...said);
    await peer.closed;
    const bye = peer.frames.find(({ kind }) => kind === FRAME.bye);
    t.equal(bye?.payload.readUInt32BE(0), CODES.protocol, what);
    // Only what was complete before the fault is.
    t.ok(
      outcomes.every((outcome) => outcome === (before ?? 'link.broken')),
      `${what}: ${outcomes.join()}`,
    );
  }
  t.equal(
    pair.events.filter(({ kind }) => kind === 'session.broken').length,
    rows.length,
    'and somebody is told',
  );
});

void t.test('a request that breaks off is an error, wherever', async (t) => {
  const outcomes: string[] = [];
  const gone: string[] = [];
  let arrived = false;
  const pair = await pairOf(t, {
    onArrival: (arrival) => {
      arrived = true;
      arrival.onGone((cause) => gone.push((cause as { code?: string }).code ?? ''));
      receive(arrival.inflow).then(
        () => outcomes.push('end'),
        (cause: { code: string }) => outcomes.push(cause.code),
      );
    },
    server: { limits: { drainMs: 50 } },
  });
  const starts: readonly (readonly [what: string, said: readonly Buffer[]])[] = [
    ['no data', [ask(1, 5)]],
    ['some data', [ask(1, 5), data(1, 4)]],
    ['no trailers', [ask(1, -1), data(1, 4)]],
    ['a frame of data that is cut', [ask(1, 5), data(1, 5).subarray(0, 10)]],
    ['trailers that are cut', [ask(1, -1), data(1, 5), trailers(1).subarray(0, -1)]],
    ['a header that is cut', [ask(1, -1), data(1, 5), trailers(1).subarray(0, 5)]],
  ];
  const ends: readonly (readonly [what: string, end: (peer: RawPeer) => void])[] = [
    ['reset', (peer) => peer.say(reset(1))],
    ['bye', (peer) => peer.say(frame(FRAME.bye, 0, numbers(5)))],
    ['FIN', (peer) => peer.socket.end()],
    ['destroyed', (peer) => peer.socket.destroy()],
  ];
  for (const [what, said] of starts) {
    for (const [how, end] of ends) {
      if (how !== 'FIN' && how !== 'destroyed' && what.includes('cut')) continue; // would be part of the cut frame
      outcomes.length = gone.length = 0;
      arrived = false;
      const peer = await connectTo(pair.target.port);
      peer.say(hello(), ...said);
      while (!arrived) await tick();
      end(peer);
      while (outcomes.length === 0 || gone.length === 0) await tick();
      t.strictSame([outcomes, gone], [['link.broken'], ['link.broken']], `${what}, ${how}`);
      peer.socket.destroy();
    }
  }
  const peer = await connectTo(pair.target.port);
  peer.say(
    hello(),
    ask(1, -1),
    data(1, 5),
    frame(
      FRAME.trailers,
      1,
      trailerSection([
        ['x-a', 'b '],
        ['x-a', 'c'],
      ]),
    ),
  );
  outcomes.length = 0;
  while (outcomes.length === 0) await tick();
  t.match(outcomes, ['end'], 'trailers are lists like any fields');
  peer.say(
    ask(2, -1),
    frame(
      FRAME.trailers,
      2,
      trailerSection([
        ['t-road-end', 'b'],
        ['t-road-end', 'c'],
      ]),
    ),
  );
  while (outcomes.length === 1) await tick();
  t.equal(outcomes[1], 'header.duplicate', 'and judged like any');
  peer.socket.destroy();
});

void t.test('floods end with the connection, before they cost much', async (t) => {
  let arrivals = 0;
  const pair = await pairOf(t, {
    onArrival: (arrival: LinkArrival) => {
      arrivals++;
      if (arrival.rawHead.path !== '/open') {
        arrival.answer({ status: 200, fields: [] }, { kind: 'whole', bytes: Buffer.alloc(60_000) });
      }
    },
    server: { limits: { resetsPerSecond: 50, streamsPerSession: 100, drainMs: 50 } },
  });
  const repeat = (count: number, part: (i: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, i) => part(i + 1)));
  const floods: readonly (readonly [what: string, most: number, bytes: () => Buffer])[] = [
    // 200 at once and 50 more a second, were this machine to take that long.
    ['rapid reset', 1000, () => repeat(5000, (i) => Buffer.concat([ask(i, 5, '/open'), reset(i)]))],
    [
      'rapid reset of whole requests',
      1000,
      () => repeat(5000, (i) => Buffer.concat([ask(i, 0, '/open'), reset(i)])),
    ],
    ['more exchanges than allowed', 1000, () => repeat(5000, (i) => ask(i, 0, '/open'))],
    ['pings', 0, () => repeat(100_000, (i) => frame(FRAME.ping, 0, numbers(0, i)))],
    ['answers that nobody reads', 2000, () => repeat(5000, (i) => ask(i, 0))],
  ];
  for (const [what, most, bytes] of floods) {
    arrivals = 0;
    const peer = await connectTo(pair.target.port);
    await peer.heard(FRAME.hello);
    const rss = process.memoryUsage().rss;
    peer.socket.pause(); // who does not read makes us keep the answers
    peer.say(hello(), bytes());
    for (let waited = 0; waited < 1500 && pair.server.sessions > 0; waited += 10) await tick(10);
    peer.socket.resume();
    await peer.closed;
    t.ok(arrivals <= most, `${what}: ${arrivals} arrived`);
    const grown = (process.memoryUsage().rss - rss) / MIB;
    t.ok(grown < 150, `${what}: memory grew by ${Math.round(grown)} MiB`);
  }
  while (pair.server.sessions > 0) await tick();
  t.equal(pair.events.filter(({ kind }) => kind === 'session.broken').length, floods.length);
});

void t.test('bytes that trickle in do not keep more memory than the window', async (t) => {
  const held: LinkArrival[] = [];
  const pair = await pairOf(t, {
    onArrival: (arrival) => {
      if (arrival.rawHead.path === '/held') held.push(arrival);
      else arrival.inflow.start({ data: () => undefined, end: () => undefined, error: () => undefined });
    },
    server: { limits: { drainMs: 50 } },
  });
  const peer = await connectTo(pair.target.port);
  await peer.heard(FRAME.hello);
  // One byte of the held stream in every TLS record, the rest of the record for one that is read.
  peer.say(hello(), ask(1, -1, '/held'), ask(2, -1, '/read'));
  await tick(20);
  gc(); // what is kept counts, not what has yet to be collected: the peer's own frames are 45 MB
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 3000; i++) {
    peer.say(data(1, 1), data(2, 15_000));
    if (i % 50 === 49) await tick(1);
    for (const { kind, payload } of peer.frames.splice(0)) {
      if (kind === FRAME.bye) t.fail(`code ${payload.readUInt32BE(0)}`);
    }
    if (peer.isClosed()) break;
  }
  if (!peer.isClosed()) {
    peer.say(frame(FRAME.ping, 0, numbers(0, 1)));
    await peer.heard(FRAME.pong); // all of it has been read, however slow this machine is
  }
  gc();
  const grown = (process.memoryUsage().arrayBuffers - before) / MIB;
  t.ok(grown < 40, `${Math.round(grown)} MiB for 3000 bytes`);
  const inflow = held[0]?.inflow;
  if (inflow === undefined) throw new Error('nothing arrived');
  const body = receive(inflow);
  peer.say(trailers(1));
  t.equal((await body).bytes.length, 3000, 'and nothing of it was lost');
  peer.socket.destroy();
});

void t.test('what an answering gateway may not say', async (t) => {
  let behave: (peer: RawPeer, stream: number) => void = () => undefined;
  const peers = new Set<RawPeer>();
  const server = tls.createServer(
    {
      key: gateways.provider.keyPem,
      cert: gateways.provider.chainPem,
      ca: gateways.authority.rootPem,
      requestCert: true,
      ALPNProtocols: ['troad/1'],
    },
    (socket) => {
      const peer = rawPeer(socket);
      peers.add(peer);
      peer.say(hello());
      let asked = 0;
      socket.on('data', () => {
        for (const { kind, stream } of peer.frames) {
          if (kind === FRAME.head && stream > asked) behave(peer, (asked = stream));
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
    limits: { backoffMinMs: 1, backoffMaxMs: 1, sessionsPerPeer: 1 },
  });
  t.teardown(async () => {
    await client.drain();
    for (const { socket } of peers) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const target = {
    name: PROVIDER,
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port, // it is not a pipe
    spki: [spkiOfIdentity(gateways.provider)],
  };
  const outcome = async (
    method = 'POST',
    body: typeof WHOLE | { kind: 'stream' } = WHOLE,
  ): Promise<string> => {
    try {
      const call = await client.call(target, head('/', { method }), body);
      const { inflow } = await call.answer;
      const { bytes } = await receive(inflow);
      call.abort(new Error('over'));
      return `end ${bytes.length}`;
    } catch (cause) {
      return (cause as { code?: string }).code ?? String(cause);
    }
  };
  const reply = (stream: number, status: number, length: number): Buffer =>
    frame(FRAME.head, stream, answerHead(status, length));
  const rows: readonly (readonly [what: string, expected: string, said: (stream: number) => Buffer[]])[] = [
    ['an answer', 'end 4', (s) => [reply(s, 200, 4), data(s, 4)]],
    ['a streamed answer', 'end 4', (s) => [reply(s, 200, -1), data(s, 4), trailers(s)]],
    ['more than announced', 'end 4', (s) => [reply(s, 200, 4), data(s, 4), data(s, 1)]],
    ['less than announced', 'link.broken', (s) => [reply(s, 200, 4), data(s, 3), reset(s)]],
    ['a reset', 'link.broken', (s) => [reset(s)]],
    ['data before the head', 'link.broken', (s) => [data(s, 4)]],
    ['trailers before the head', 'link.broken', (s) => [trailers(s)]],
    ['two heads', 'link.broken', (s) => [reply(s, 200, 4), reply(s, 200, 4)]],
    ['an answer that nobody asked for', 'link.broken', (s) => [reply(s + 1, 200, 0)]],
    ['a status of 101', 'link.broken', (s) => [reply(s, 101, 0)]],
    ['a body of 204', 'link.broken', (s) => [reply(s, 204, 4), data(s, 4)]],
    ['trailers of 204', 'link.broken', (s) => [reply(s, 204, -1), trailers(s)]],
    ['enough before the answer', 'link.broken', (s) => [reset(s, 2)]],
    ['enough in the answer', 'link.broken', (s) => [reply(s, 200, 4), data(s, 3), reset(s, 2)]],
    ['bye', 'link.broken', () => [frame(FRAME.bye, 0, numbers(5))]],
    [
      'a malformed field',
      'header.malformed',
      (s) => [frame(FRAME.head, s, answerHead(200, 0, [['via', 'x']]))],
    ],
  ];
  for (const [what, expected, said] of rows) {
    behave = (peer, stream) => peer.say(...said(stream));
    t.equal(await outcome(), expected, what);
    behave = (peer, stream) => peer.say(reply(stream, 200, 0));
    let after = '';
    for (let tries = 0; after !== 'end 0' && tries < 1000; tries++) after = await outcome();
    t.equal(after, 'end 0', `${what}: the next exchange works`);
  }

  behave = (peer, stream) => peer.say(reply(stream, 200, -1), data(stream, 65_536), data(stream, 1));
  const unread = await client.call(target, head('/'), WHOLE);
  const { inflow } = await unread.answer;
  await tick(20);
  await t.rejects(receive(inflow), { code: 'link.broken' }, 'more data than credit');

  behave = (peer, stream) => peer.say(reply(stream, 200, 0), reset(stream, 2));
  t.equal(await outcome('POST', { kind: 'stream' }), 'end 0', 'an early answer is complete');
  behave = (peer) => peer.say(frame(FRAME.drain, 0));
  const call = await client.call(target, head('/slow'), WHOLE);
  const isSlow = ({ payload }: Frame): boolean => payload.includes('/slow');
  const ofSlow = (): RawPeer | undefined => [...peers].find((peer) => peer.frames.some(isSlow));
  while (ofSlow() === undefined) await tick();
  behave = (peer, stream) => peer.say(reply(stream, 200, 0));
  let { session } = call;
  while (session === call.session) {
    const other = await client.call(target, head('/'), WHOLE);
    await other.answer;
    ({ session } = other);
  }
  t.pass('after DRAIN calls go elsewhere');
  const drained = ofSlow();
  drained?.say(reply(drained.frames.find(isSlow)?.stream ?? 0, 200, 0));
  t.equal((await call.answer).head.status, 200, 'what ran before ends in peace');
  await drained?.closed;
  t.pass('and the connection is closed by the one who was asked to');
});

void t.test('a small exchange does not wait for a large one', async (t) => {
  let arrived = 0;
  const pair = await pairOf(t, {
    onArrival: (arrival) => {
      if (arrival.rawHead.path === '/bulk') {
        arrival.inflow.start({
          data: (chunk) => (arrived += chunk.length),
          end: () => arrival.answer({ status: 200, fields: [] }, WHOLE),
          error: () => undefined,
        });
      } else {
        void receive(arrival.inflow).then(() => arrival.answer({ status: 200, fields: [] }, WHOLE));
      }
    },
    client: { protocols: ['troad/1'], limits: { sessionsPerPeer: 1 } },
  });
  const call = await pair.client.call(pair.target, head('/bulk'), { kind: 'stream' });
  const block = Buffer.alloc(65_536);
  let pushed = 0;
  let stop = false;
  const push = (): void => {
    while (!stop) {
      pushed += block.length;
      if (!call.outflow.write(block)) return;
    }
    call.outflow.end(undefined, CLOSING);
  };
  call.outflow.attach({ drain: push, error: (cause) => t.fail(cause), finish: () => undefined });
  push();
  const between: number[] = [];
  for (let i = 0; i < 50; i++) {
    const before = arrived;
    const small = await pair.client.call(pair.target, head('/small'), WHOLE);
    await receive((await small.answer).inflow);
    between.push(arrived - before);
  }
  stop = true;
  t.equal((await call.answer).head.status, 200);
  t.equal(arrived, pushed, 'and the large one is whole');
  t.ok(arrived > 4 * MIB, `${Math.round(arrived / MIB)} MiB went by`);
  const median = between.toSorted((a, b) => a - b)[25] ?? Infinity;
  t.ok(median < 2 * MIB, `${Math.round(median / 1024)} KiB of it went by during a small exchange`);
});
