import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request, type IncomingMessage, type RequestOptions } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { startSandbox } from './harness/sandbox.ts';

// Many at once: idle connections cost little memory, and among a thousand streams none starves beside greedy ones.

/** An address has no more than 28,000 ports for what connects to one door; loopback has many addresses. */
const PER_ADDRESS = 2500;
const MAX_KIB = 15;
/** What few connections add is lost in what a process that just started takes anyway. */
const TELLING = 2000;
const STREAM_BYTES = 100 * 1024;
const GREEDY = 4;

const subject = await startSandbox(t.testdir({}));
const { consumer } = subject.ready;
const { hostname, port } = new URL(consumer.url);
const CLIENT = { 'X-Road-Client': 'TW/GOV/A11/welfare' };
const path = (rest: string): string => `/r1/TW/GOV/B07/housing${rest}`;

/** Files that a process may have open. */
const filesOf = (pid: number | 'self'): number =>
  Number(/Max open files\s+(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1] ?? NaN);
/** Files that either process has besides. */
const OTHER_FILES = 400;
const room = Math.min(filesOf('self'), filesOf(consumer.pid)) - OTHER_FILES;
const CONNECTIONS = Math.min(10_000, room);
const STREAMS = Math.min(1000, room);

const residentKiB = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${consumer.pid}/status`, 'utf8'))?.[1] ?? NaN);

const open = async (index: number): Promise<Socket> => {
  const localAddress = `127.0.0.${2 + Math.floor(index / PER_ADDRESS)}`;
  const socket = connect({ host: hostname, port: Number(port), localAddress });
  await once(socket, 'connect');
  return socket;
};

const get = async (rest: string, options: RequestOptions): Promise<IncomingMessage> => {
  const outgoing = request({ host: hostname, port, path: path(rest), headers: CLIENT, ...options });
  outgoing.end();
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]; // as node:http documents
  return answer;
};

await t.test(`an idle connection costs at most ${MAX_KIB} KiB`, async (t) => {
  const sockets: Socket[] = [];
  // What the first ones allocate once (pools, compiled code) is not theirs alone.
  while (sockets.length < 200) sockets.push(await open(sockets.length));
  const before = residentKiB();
  while (sockets.length < CONNECTIONS) {
    const begun = Array.from({ length: Math.min(100, CONNECTIONS - sockets.length) }, (_, i) =>
      open(sockets.length + i),
    );
    sockets.push(...(await Promise.all(begun)));
  }
  // The gateway serves the last one, so it has accepted all.
  const last = await get('/echo', { localAddress: '127.0.0.2' });
  t.equal(last.statusCode, 200, 'beside them requests are carried');
  last.resume();
  const each = (residentKiB() - before) / (CONNECTIONS - 200);
  const text = `${each.toFixed(1)} KiB a connection, ${CONNECTIONS} of them`;
  t.ok(CONNECTIONS < TELLING || each <= MAX_KIB, text);
  t.comment(text);
  // On a machine that took its time the first ones are closed again, because they asked nothing in ten seconds.
  t.notMatch(
    await (await fetch(`${consumer.admin}/metrics`)).text(),
    'gateway.overloaded',
    'none was refused',
  );
  for (const socket of sockets) socket.destroy();
});

await t.test(`${STREAMS} streams beside ${GREEDY} greedy ones: all arrive`, async (t) => {
  const agent = new Agent();
  const greedy = await Promise.all(
    Array.from({ length: GREEDY }, () => get(`/files/${2 ** 40}?seed=g`, { agent })),
  );
  const taken = greedy.map(() => 0);
  for (const [index, answer] of greedy.entries()) {
    answer.on('data', (chunk: Buffer) => (taken[index] = (taken[index] ?? 0) + chunk.length));
    answer.on('error', () => undefined); // broken off below
  }
  let refused = 0;
  const one = async (index: number): Promise<number> => {
    for (;;) {
      const answer = await get(`/files/${STREAM_BYTES}?seed=s${index}`, { agent });
      let bytes = 0;
      for await (const chunk of answer as AsyncIterable<Buffer>) bytes += chunk.length;
      if (answer.statusCode === 200) return bytes;
      // The service is asked 256 things at once (its `maxConcurrent`), and a session with its gateway is waited for in vain
      // for 5 s: whoever comes too soon is told so, and asks again.
      t.ok([503, 504].includes(answer.statusCode ?? 0), `${answer.statusCode}`);
      refused += 1;
      await delay(50);
    }
  };
  const lengths = await Promise.all(Array.from({ length: STREAMS }, (_, index) => one(index)));
  t.comment(`${refused} asked again`);
  t.strictSame([...new Set(lengths)], [STREAM_BYTES], 'every one of them whole');
  t.ok(
    taken.every((bytes) => bytes > 0),
    `and the greedy ones went on: ${taken.map((bytes) => bytes >> 20).join(', ')} MiB`,
  );
  t.notOk(greedy.some((answer) => answer.destroyed));
  for (const answer of greedy) answer.destroy();
  agent.destroy();
});

// A teardown would wait for the processes that it is to end.
await t.test('and ends well', async (t) => {
  t.equal(await subject.stop(), 0);
});
