import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { startSandbox } from './harness/sandbox.ts';

// Many at once: idle connections cost little memory, and among a thousand streams none starves beside greedy ones.

const CONNECTIONS = 6000;
/** Connections of one address are bounded (front.ts); loopback has many addresses. */
const PER_ADDRESS = 1500;
const MAX_KIB = 15;
const STREAMS = 1000;
const STREAM_BYTES = 100 * 1024;
const GREEDY = 4;

const subject = await startSandbox(t.testdir({}));
const { consumer } = subject.ready;
const { hostname, port } = new URL(consumer.url);
const CLIENT = { 'X-Road-Client': 'TW/GOV/A11/welfare' };
const path = (rest: string): string => `/r1/TW/GOV/B07/housing${rest}`;

const residentKiB = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${consumer.pid}/status`, 'utf8'))?.[1] ?? NaN);

const open = async (index: number): Promise<Socket> => {
  const localAddress = `127.0.0.${2 + Math.floor(index / PER_ADDRESS)}`;
  const socket = connect({ host: hostname, port: Number(port), localAddress });
  await once(socket, 'connect');
  return socket;
};

await t.test(`an idle connection costs at most ${MAX_KIB} KiB`, async (t) => {
  const sockets: Socket[] = [];
  // What the first ones allocate once (pools, compiled code) is not theirs alone.
  for (let i = 0; i < 200; i += 1) sockets.push(await open(i));
  const before = residentKiB();
  while (sockets.length < CONNECTIONS) {
    const begun = Array.from({ length: 100 }, (_, i) => open(sockets.length + i));
    sockets.push(...(await Promise.all(begun)));
  }
  await delay(200); // the gateway may still be accepting the last ones: then it would look cheaper, never dearer
  const each = (residentKiB() - before) / (CONNECTIONS - 200);
  t.comment(`${each.toFixed(1)} KiB a connection`);
  t.ok(each <= MAX_KIB, `${each.toFixed(1)} KiB a connection`);
  t.notOk(
    sockets.some((socket) => socket.destroyed),
    'none was refused',
  );
  for (const socket of sockets) socket.destroy();
});

const download = async (rest: string, agent: Agent): Promise<IncomingMessage> => {
  const outgoing = request({ host: hostname, port, path: path(rest), headers: CLIENT, agent });
  outgoing.end();
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]; // as node:http documents
  return answer;
};

await t.test(`${STREAMS} streams beside ${GREEDY} greedy ones: all arrive`, async (t) => {
  const agent = new Agent();
  const greedy = await Promise.all(
    Array.from({ length: GREEDY }, () => download(`/files/${2 ** 40}?seed=g`, agent)),
  );
  const taken = greedy.map(() => 0);
  for (const [index, answer] of greedy.entries()) {
    answer.on('data', (chunk: Buffer) => (taken[index] = (taken[index] ?? 0) + chunk.length));
    answer.on('error', () => undefined); // broken off below
  }
  let refused = 0;
  const one = async (index: number): Promise<number> => {
    for (;;) {
      const answer = await download(`/files/${STREAM_BYTES}?seed=s${index}`, agent);
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
