import net, { type AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { makeCutProxy } from '../../conformance/builders/cut-proxy.ts';
import {
  credentialsOf,
  type LinkPair,
  makeGateways,
  makePair,
  type PairOptions,
  receive,
  requestHead,
  systemClock,
} from '../../conformance/builders/link-pair.ts';
import { PROTOCOLS, type LinkArrival, type LinkTarget } from './link.ts';
import { createLinkServer } from './server.ts';

const gateways = await makeGateways();
const WHOLE = { kind: 'whole', bytes: Buffer.from('q') } as const;
const END = [['t-road-end', 'x']] as const;

const QUICK = { backoffMinMs: 1, backoffMaxMs: 5, connectMs: 30_000 };

const answerAll = (arrival: LinkArrival): void => {
  void receive(arrival.inflow).then(
    () => arrival.answer({ status: 200, fields: [] }, WHOLE),
    () => undefined,
  );
};

async function pairOf(t: Test, options: Partial<PairOptions> = {}): Promise<LinkPair> {
  const pair = await makePair({
    gateways,
    onArrival: answerAll,
    ...options,
    client: { ...options.client, limits: { ...QUICK, ...options.client?.limits } },
  });
  t.teardown(() => pair.close());
  return pair;
}

const ask = async (pair: LinkPair, target: LinkTarget = pair.target): Promise<number> => {
  const call = await pair.client.call(target, requestHead('/'), WHOLE);
  const { head, inflow } = await call.answer;
  await receive(inflow);
  return head.status;
};
const tick = (ms = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const opened = (pair: LinkPair): number =>
  pair.events.filter((event) => event.kind === 'session.opened' && event.session.id.startsWith('out')).length;

void t.test('why nothing came through', async (t) => {
  const free = net.createServer();
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
  const mute = net.createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  const chatty = net.createServer((socket) =>
    socket.on('error', () => undefined).end('220 mail.example ESMTP\r\n'),
  );
  await new Promise<void>((resolve) => chatty.listen(0, '127.0.0.1', resolve));
  const portOf = (server: net.Server): number => (server.address() as AddressInfo).port;
  const closedPort = portOf(free);
  await new Promise((resolve) => free.close(resolve));
  t.teardown(() => {
    mute.close();
    chatty.close();
  });
  const pair = await pairOf(t);
  const at = (host: string, port: number): LinkTarget => ({ ...pair.target, host, port });
  await t.rejects(ask(pair, at('127.0.0.1', closedPort)), { code: 'link.unreachable' }, 'nobody listens');
  await tick(10);
  // Too long for a name: no resolver is asked, there may be none.
  const nowhere = `${'a'.repeat(64)}.invalid`;
  await t.rejects(ask(pair, at(nowhere, 1)), { code: 'link.unreachable' }, 'no such name');
  await tick(10);
  const impatient = await pairOf(t, { client: { limits: { connectMs: 200 } } });
  await t.rejects(ask(impatient, at('127.0.0.1', portOf(mute))), { code: 'link.timeout' }, 'silence');
  await t.rejects(ask(pair, at('127.0.0.1', portOf(chatty))), { code: 'link.peer_rejected' }, 'not TLS');
  await tick(10);
  t.equal(await ask(pair), 200, 'and the right address still works');
});

for (const protocol of PROTOCOLS) {
  void t.test(`${protocol}: a server that restarts is found again`, async (t) => {
    const pair = await pairOf(t, { client: { protocols: [protocol] } });
    t.equal(await ask(pair), 200);
    await pair.server.drain();
    await t.rejects(ask(pair), { code: /^link\.(unreachable|broken)$/ });
    const again = createLinkServer({
      credentials: credentialsOf(gateways.authority, gateways.provider),
      clock: systemClock,
      verifyPeer: () => undefined,
      onArrival: answerAll,
    });
    await again.listen({ host: '127.0.0.1', port: pair.target.port });
    t.teardown(async () => {
      await pair.client.drain();
      await again.drain();
    });
    let status = 0;
    for (let tries = 0; status !== 200 && tries < 50; tries++) {
      status = await ask(pair).catch(() => 0);
    }
    t.equal(status, 200);
  });

  void t.test(`${protocol}: draining lets what runs come to its end`, async (t) => {
    const out: Promise<unknown>[] = [];
    const pair = await pairOf(t, {
      client: { protocols: [protocol] },
      onArrival: (arrival) => {
        const answer = arrival.answer({ status: 200, fields: [] }, { kind: 'stream' });
        out.push(receive(arrival.inflow).then(({ bytes, trailers }) => answer.end(bytes, trailers)));
      },
    });
    const calls = await Promise.all(
      [1, 2, 3].map(() => pair.client.call(pair.target, requestHead('/'), { kind: 'stream' })),
    );
    const answers = await Promise.all(calls.map((call) => call.answer));
    const bodies = answers.map(({ inflow }) => receive(inflow));
    for (const call of calls) call.outflow.write(Buffer.from('a'));
    let drained = 0;
    const servers = pair.server.drain().then(() => drained++);
    await tick(30);
    const clients = pair.client.drain().then(() => drained++);
    await t.rejects(pair.client.call(pair.target, requestHead('/'), WHOLE), { code: 'link.unreachable' });
    await tick(30);
    t.equal(drained, 0, 'waits');
    for (const call of calls) call.outflow.end(Buffer.from('b'), END);
    for (const body of bodies) t.strictSame((await body).bytes.toString(), 'ab');
    await Promise.all([servers, clients, ...out]);
    t.equal(drained, 2);
    t.equal(pair.server.sessions, 0);
  });

  void t.test(`${protocol}: what does not end in time is cut`, async (t) => {
    for (const side of ['client', 'server'] as const) {
      const pair = await pairOf(t, {
        client: { protocols: [protocol], limits: { drainMs: 50 } },
        server: { limits: { drainMs: 50 } },
        onArrival: () => undefined,
      });
      const call = await pair.client.call(pair.target, requestHead('/'), { kind: 'stream' });
      call.outflow.write(Buffer.from('a'));
      await tick(20);
      await pair[side].drain();
      await t.rejects(call.answer, { code: 'link.broken' }, side);
    }
  });

  void t.test(`${protocol}: draining under load loses no exchange that was answered for`, async (t) => {
    const pair = await pairOf(t, { client: { protocols: [protocol] } });
    const outcomes = new Map<string, number>();
    let stop = false;
    const worker = async (): Promise<void> => {
      while (!stop) {
        const outcome = await ask(pair).then(String, (cause: { code: string }) => cause.code);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (outcome === 'link.unreachable') return;
      }
    };
    const workers = Array.from({ length: 32 }, worker);
    while ((outcomes.get('200') ?? 0) <= 50 && outcomes.size <= 1) await tick();
    await pair.server.drain();
    stop = true;
    await Promise.all(workers);
    t.comment(JSON.stringify([...outcomes]));
    t.ok((outcomes.get('200') ?? 0) > 50);
    t.equal(outcomes.get('link.peer_rejected'), undefined);
    t.equal(outcomes.get('link.broken'), undefined);
  });

  void t.test(`${protocol}: a peer that vanished without a word is noticed`, async (t) => {
    let proxy!: Awaited<ReturnType<typeof makeCutProxy>>;
    const limits = { pingEveryMs: 100, pingTimeoutMs: 1000, idleMs: 5000 };
    const gone: string[] = [];
    let arrived = false;
    const pair = await pairOf(t, {
      client: { protocols: [protocol], limits },
      server: { limits },
      onArrival: (arrival) => {
        arrived = true;
        arrival.onGone((cause) => gone.push(cause.message));
      },
      via: async (port) => (proxy = await makeCutProxy(port)).port,
    });
    t.teardown(() => proxy.close());
    if (protocol === 'http/1.1') return; // there is no ping: the deadlines of the exchange have to do
    const call = await pair.client.call(pair.target, requestHead('/'), { kind: 'stream' });
    while (!arrived) await tick();
    proxy.plan({ direction: 'up', after: 0, how: 'stall' });
    call.outflow.write(Buffer.from('into the void'));
    await t.rejects(call.answer, { code: 'link.broken', message: /no sign of life/ });
    while (gone.length === 0) await tick();
    t.match(gone, [/no sign of life/], 'at both ends');
  });
}

void t.test('sessions to one peer', async (t) => {
  const held: LinkArrival[] = [];
  const pair = await pairOf(t, {
    onArrival: (arrival) => held.push(arrival),
    client: { limits: { spreadAt: 4, connectMs: 4000 } },
    server: { limits: { streamsPerSession: 8 } },
  });
  const calls = await Promise.all(
    Array.from({ length: 16 }, () => pair.client.call(pair.target, requestHead('/'), WHOLE)),
  );
  t.equal(opened(pair), 2, 'a second one when the first is busy, and no third');
  const perSession = new Map<string, number>();
  for (const { session } of calls) perSession.set(session.id, (perSession.get(session.id) ?? 0) + 1);
  t.strictSame([...perSession.values()], [8, 8], 'never more exchanges than the other side allows');
  const bodies = calls.map(async ({ answer }) => receive((await answer).inflow));
  const late = pair.client.call(pair.target, requestHead('/late'), WHOLE);
  const tooLate = pair.client.call(pair.target, requestHead('/too-late'), WHOLE);
  while (held.length < 16) await tick();
  const first = held.shift();
  first?.answer({ status: 200, fields: [] }, WHOLE);
  const call = await late;
  t.ok(call, 'a call that waits gets the room of one that ended');
  await t.rejects(tooLate, { code: 'link.timeout' }, 'or gives up in time');
  while (held.length < 16) await tick();
  for (const arrival of held) arrival.answer({ status: 200, fields: [] }, WHOLE);
  await Promise.all([...bodies, receive((await call.answer).inflow)]);
});

void t.test('a body under way gets a session that small exchanges leave', async (t) => {
  const pair = await pairOf(t, { client: { protocols: ['troad/1'] } });
  for (let i = 0; i < 20; i++) await Promise.all([1, 2, 3, 4].map(() => ask(pair)));
  t.equal(opened(pair), 1, 'small ones share one');
  const large = await pair.client.call(pair.target, requestHead('/'), { kind: 'stream' });
  t.equal(await ask(pair), 200);
  while (opened(pair) < 2) await tick();
  const small = await pair.client.call(pair.target, requestHead('/'), WHOLE);
  t.not(small.session, large.session);
  await receive((await small.answer).inflow);
  large.outflow.end(undefined, END);
  await receive((await large.answer).inflow);
});

void t.test('a session is replaced before it runs out of stream numbers', async (t) => {
  const pair = await pairOf(t, { client: { limits: { exchangesPerSession: 5 } } });
  for (let i = 0; i < 12; i++) t.equal(await ask(pair), 200);
  t.equal(opened(pair), 3);
  while (pair.server.sessions > 1) await tick();
});

void t.test('calls that wait are bounded', async (t) => {
  const pair = await pairOf(t, {
    onArrival: () => undefined,
    client: { limits: { waitingPerPeer: 3, connectMs: 2000, sessionsPerPeer: 1, drainMs: 1 } },
    server: { limits: { streamsPerSession: 1, drainMs: 1 } },
  });
  await pair.client.call(pair.target, requestHead('/'), WHOLE);
  const waiting = [1, 2, 3, 4].map(() => pair.client.call(pair.target, requestHead('/'), WHOLE));
  const outcomes = await Promise.all(
    waiting.map((call) =>
      call.then(
        () => 'ok',
        (cause: Error) => cause.message,
      ),
    ),
  );
  t.match(outcomes, [/no free session/, /no free session/, /no free session/, /3 calls wait/]);
});

void t.test('a failure is not repeated for every call', async (t) => {
  let attempts = 0;
  const wall = net.createServer((socket) => {
    attempts++;
    socket.on('error', () => undefined);
    socket.destroy();
  });
  await new Promise<void>((resolve) => wall.listen(0, '127.0.0.1', resolve));
  t.teardown(() => wall.close());
  const pair = await pairOf(t, {
    client: { limits: { backoffMinMs: 100, backoffMaxMs: 100, connectMs: 2000 } },
  });
  const target = { ...pair.target, port: (wall.address() as AddressInfo).port };
  const storm = (): Promise<PromiseSettledResult<number>[]> =>
    Promise.allSettled(Array.from({ length: 50 }, () => ask(pair, target)));
  const began = performance.now();
  for (const { status } of await storm()) t.equal(status, 'rejected');
  for (const { status } of await storm()) t.equal(status, 'rejected');
  t.equal(attempts, 2, '100 calls, 2 attempts');
  t.ok(performance.now() - began >= 70, 'the second one after a pause');
});

void t.test('the registry moves a gateway', async (t) => {
  const pair = await pairOf(t);
  const seen: string[] = [];
  const elsewhere = createLinkServer({
    credentials: credentialsOf(gateways.authority, gateways.provider),
    clock: systemClock,
    verifyPeer: () => undefined,
    onArrival: (arrival) => {
      seen.push(arrival.rawHead.path);
      answerAll(arrival);
    },
  });
  const port = await elsewhere.listen({ host: '127.0.0.1', port: 0 });
  t.equal(await ask(pair), 200);
  t.equal(await ask(pair, { ...pair.target, port }), 200);
  t.strictSame(seen, ['/']);
  while (pair.server.sessions > 0) await tick();
  t.pass('the old sessions are closed');
  await pair.client.drain();
  await elsewhere.drain();
});
