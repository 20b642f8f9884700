import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { SecurityEventRefused } from '../identity/security-event.ts';
import { SignalPoll } from './signal-poll.ts';

type Answer = (body: unknown, response: ServerResponse, request: IncomingMessage) => void;

/** A transmitter that answers each poll by the next of the answers, then holds polls back. */
async function transmitter(
  t: Test,
  answers: readonly Answer[],
): Promise<{ url: string; polls: unknown[]; tokens: (string | undefined)[] }> {
  const polls: unknown[] = [];
  const tokens: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    void json(request).then((body) => {
      const answer = answers[polls.length];
      polls.push(body);
      tokens.push(request.headers.authorization);
      answer?.(body, response, request);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/poll`, polls, tokens };
}

const answering =
  (sets: object, moreAvailable = false): Answer =>
  (_, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ sets, moreAvailable }));
  };

function poll(
  t: Test,
  url: string,
  take: (set: string) => Promise<void>,
  token = 't0ken',
): { problems: string[] } {
  const problems: string[] = [];
  const poller = new SignalPoll({
    url,
    token,
    pauseMs: 10,
    take,
    onProblem: (detail) => problems.push(detail),
  });
  t.teardown(() => poller.close());
  return { problems };
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 6000 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
}

void t.test('takes what there is, and acknowledges it with the next poll', async (t) => {
  const { url, polls, tokens } = await transmitter(t, [answering({ a: 'set-a', b: 'set-b' }), answering({})]);
  const taken: string[] = [];
  poll(t, url, async (set) => void taken.push(set));
  await until(() => polls.length >= 3);
  t.same(taken, ['set-a', 'set-b']);
  t.match(polls, [
    { ack: [], setErrs: {}, returnImmediately: false },
    { ack: ['a', 'b'], setErrs: {} },
    { ack: [], setErrs: {} },
  ]);
  t.same(new Set(tokens), new Set(['Bearer t0ken']));
});

void t.test('refuses by its code; what is ours to mend comes again', async (t) => {
  const { url, polls } = await transmitter(t, [answering({ a: 'bad', b: 'later', c: 'good' })]);
  const { problems } = poll(t, url, async (set) => {
    if (set === 'bad') throw new SecurityEventRefused('invalid_key', 'unknown key');
    if (set === 'later') throw new Error('disk full');
  });
  await until(() => polls.length >= 2);
  t.same(polls[1], {
    maxEvents: 100,
    returnImmediately: false,
    ack: ['c'],
    setErrs: { a: { err: 'invalid_key', description: 'not taken' } },
  });
  t.equal(problems.length, 2);
});

void t.test('nothing can be taken: it comes again, and not in a hot loop', async (t) => {
  const failing = Array.from({ length: 50 }, () => answering({ a: 'later' }, true));
  const { url, polls } = await transmitter(t, failing);
  const { problems } = poll(t, url, () => Promise.reject(new Error('disk full')));
  await until(() => problems.length > 0);
  // A poll takes a millisecond or two: without a pause there would be dozens by now.
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.same(problems, ['disk full']);
  t.equal(polls.length, 1);
});

for (const [what, answer] of [
  ['an error', (_: unknown, response: ServerResponse) => response.writeHead(500).end()],
  ['HTML', (_: unknown, response: ServerResponse) => response.end('<html>')],
  [
    'a redirect',
    (_: unknown, response: ServerResponse) =>
      response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  ],
  ['a list', (_: unknown, response: ServerResponse) => response.end('{"sets":[]}')],
  [
    'endless bytes',
    (_: unknown, response: ServerResponse) => response.end(Buffer.alloc(2 * 1024 * 1024, 0x20)),
  ],
] as const) {
  void t.test(`${what} is a problem to tell, and nothing is lost`, async (t) => {
    const { url, polls } = await transmitter(t, [answer]);
    const { problems } = poll(t, url, () => Promise.reject(new Error('nothing to take')));
    await until(() => problems.length > 0);
    t.equal(problems.length, 1);
    t.equal(polls.length, 1, 'no hot loop');
  });
}

void t.test('a provider that ends every connection is named, with what happened', async (t) => {
  const { url } = await transmitter(t, [(_, response) => response.destroy()]);
  const { problems } = poll(t, url, async () => undefined);
  await until(() => problems.length > 0);
  const [problem = ''] = problems;
  t.ok(problem.startsWith(`${url}: `), problem);
  t.notMatch(problem, /fetch failed/, 'which is what the runtime says of everything');
});

void t.test('stops while a poll is held back', async (t) => {
  const { url, polls } = await transmitter(t, []);
  const poller = new SignalPoll({
    url,
    token: undefined,
    pauseMs: 10,
    take: async () => undefined,
    onProblem: () => undefined,
  });
  await until(() => polls.length > 0);
  await poller.close();
  t.equal(polls.length, 1);
});
