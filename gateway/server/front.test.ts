import { createHash } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import {
  attached,
  bodyOf,
  echo,
  GET,
  lab,
  post,
  refuse,
  send,
  type Played,
} from '../../conformance/builders/front-lab.ts';
import { field, readResponses } from '../../conformance/harness/responses.ts';
import { connect, converse, PATIENCE_MS } from '../../conformance/harness/raw-socket.ts';
import { REFUSALS } from '../core/refusals.ts';
import type { Arrival } from '../exchange/arrival.ts';

/** Waits for what happens elsewhere. */
const until = (condition: () => boolean) => async (): Promise<void> => {
  while (!condition()) await delay(2);
};

void t.test('carries requests one after the other', async (t) => {
  const { play } = await lab(t, echo);
  const first = { method: 'GET', target: '/r1?q', rawHeaders: ['Host', 'gw'], length: 0, body: '' };
  const played = await play([send(GET), { awaitAnswers: 1 }, send(`${post('Content-Length: 3')}abc`)], 2);
  t.equal(played.ending, 'open', 'the connection is kept');
  t.same(JSON.parse(bodyOf(played.responses[0])), first);
  t.match(JSON.parse(bodyOf(played.responses[1])), { length: 3, body: 'abc' });
  t.equal(played.responses[0]?.fields.length, 2, 'no Date or Server of ours');

  const chunked = await play(
    [
      send(post('Transfer-Encoding: chunked')),
      send('3\r\nabc\r\n'),
      { pauseMs: 5 },
      send('1\r\nd\r\n0\r\n\r\n'),
    ],
    1,
  );
  t.match(JSON.parse(bodyOf(chunked.responses[0])), { length: 'chunked', body: 'abcd' });
  const closing = await play('GET / HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n');
  t.equal(closing.ending, 'fin');
  t.equal(closing.responses[0] && field(closing.responses[0], 'connection'), 'close');
});

void t.test('refusals before a request exists', async (t) => {
  const { play, refusals } = await lab(t, () => t.fail('nothing may arrive'));
  for (const [text, code] of [
    [
      'GET / HTTP/1.1\r\nHost: gw\r\nAccept: application/problem+json\r\nContent-Length: x\r\n\r\n',
      'framing.malformed',
    ],
    ['GET / HTTP/2.0\r\nHost: gw\r\n\r\n', 'framing.version'],
    ['TRACE / HTTP/1.1\r\nHost: gw\r\n\r\n', 'framing.method'],
    [`GET /${'a'.repeat(9000)} HTTP/1.1\r\n\r\n`, 'framing.target_too_long'],
    [`GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(2100)}\r\n`, 'framing.headers_too_large'],
    [`${post('Expect: magic\r\nContent-Length: 1')}a`, 'framing.expectation'],
    [`GET / HTTP/1.1\r\nHost: gw\r\nContent-Length: ${GET.length}\r\n\r\n${GET}`, 'framing.body_unexpected'],
    [post('Upgrade: websocket\r\nConnection: Upgrade'), 'framing.upgrade'],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc', 'framing.malformed'],
  ] as const) {
    const { responses, ending } = await play(text);
    t.equal(bodyOf(responses[0]), code, code);
    t.equal(responses[0]?.status, REFUSALS[code].status);
    t.equal(responses.length, 1, 'what follows is not read as a request');
    t.equal(ending, 'fin', 'closed, and the answer was not taken back');
    t.equal(refusals.pop(), code, 'reported once');
    t.equal(refusals.length, 0);
  }
  const { responses } = await play(
    'GET / HTTP/1.1\r\nAccept: application/problem+json\r\nContent-Length: x\r\n\r\n',
  );
  t.equal(
    responses[0] && field(responses[0], 'content-type'),
    'application/problem+json',
    'Accept was heeded',
  );
});

void t.test('what comes before the answer is never read as a request', async (t) => {
  const seen: string[] = [];
  const { play, refusals } = await lab(t, (arrival) => {
    seen.push(arrival.target);
    // The last of these comes in two packets.
    void until(() => last === 0 || last < refusals.length)().then(() => setTimeout(() => echo(arrival), 10));
  });
  let last = 0;
  for (const [what, text] of [
    ['a pipelined request', `${GET}GET /second HTTP/1.1\r\nHost: gw\r\n\r\n`],
    ['a pipelined request behind content', `${post('Content-Length: 3')}abc${GET}`],
    ['bytes behind the last chunk', `${post('Transfer-Encoding: chunked')}0\r\n\r\nX`],
    ['an empty line', `${GET}\r\n`],
  ] as const) {
    seen.length = 0;
    const { responses, ending } = await play(text);
    t.equal(seen.length, 1, what);
    t.equal(responses.length, 1);
    t.equal(responses[0]?.status, 200, 'the answer is not touched');
    t.equal(ending, 'fin');
  }
  seen.length = 0;
  last = refusals.length;
  const { responses, ending } = await play([send(GET), { wait: until(() => seen.length > 0) }, send(GET)]);
  t.same([seen.length, responses.length, ending], [1, 1, 'fin'], 'also in a later packet');
  t.same(refusals, Array(5).fill('framing.malformed'), 'each is reported');
});

void t.test('a refused upload costs its head', async (t) => {
  const { target } = await lab(t, refuse);
  const socket = await connect(target);
  const answer: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => void answer.push(chunk));
  socket.write(post('Content-Length: 107374182400'));
  let taken = 0;
  const flood = setInterval(() => {
    while (!socket.destroyed && socket.writableLength < 1e6) {
      socket.write(Buffer.alloc(65_536));
      taken += 65_536;
    }
  }, 1);
  await new Promise((resolve) => socket.on('end', resolve)); // although it is still sending
  clearInterval(flood);
  socket.destroy();
  const [response] = readResponses(Buffer.concat(answer), []);
  t.equal(response?.status, 403, 'the client reads why although it is still sending');
  t.equal(response && field(response, 'connection'), 'close');
  t.ok(taken < 2e9, `${taken} bytes`);
});

void t.test('a refused small upload keeps the connection', async (t) => {
  const { play } = await lab(t, refuse);
  const request = `${post('Content-Length: 3')}abc`;
  const { responses, ending } = await play([send(request), { awaitAnswers: 1 }, send(request)], 2);
  t.same([responses.map(({ status }) => status), ending], [[403, 403], 'open']);
  const early = await play([send(post('Content-Length: 3')), { awaitAnswers: 1 }, send(`abc${GET}`)]);
  t.same(
    [early.responses.map(({ status }) => status), early.ending],
    [[403], 'fin'],
    'content still missing: closed',
  );
});

void t.test('100 Continue is sent when the content is asked for, and only then', async (t) => {
  const request = post('Expect: 100-Continue\r\nContent-Length: 3');
  const admitting = await lab(t, (arrival) => setTimeout(() => echo(arrival), 10));
  const admitted = await admitting.play([send(request), { awaitAnswers: 1 }, send('abc')], 2);
  t.same(
    admitted.responses.map(({ status }) => status),
    [100, 200],
  );
  const refusing = await lab(t, refuse);
  const refused = await refusing.play([send(request)]);
  t.same(
    refused.responses.map(({ status }) => status),
    [403],
  );
  t.equal(refused.ending, 'fin', 'nobody knows whether content will follow');
});

void t.test('truncated content is an error, never an end', async (t) => {
  const ends: string[] = [];
  let arrived = 0;
  const { play } = await lab(t, (arrival) => {
    arrived += 1;
    arrival.inflow.start({
      data: () => {},
      end: () => void ends.push('end'),
      error: (cause) => {
        ends.push(cause.message.split(':', 1)[0] ?? '');
        arrival.answer({ status: 400, fields: [] }, { kind: 'whole', bytes: Buffer.from('cut') });
      },
    });
  });
  for (const text of [
    `${post('Content-Length: 4')}abc`,
    post('Content-Length: 4'),
    `${post('Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\n`,
  ]) {
    ends.length = 0;
    const { responses, ending } = await play([send(text), { end: 'fin' }]);
    t.same(ends, ['message.incomplete']);
    t.equal(responses[0]?.status, 400, 'half-closed: the client may still read why');
    t.equal(ending, 'fin');
    ends.length = arrived = 0;
    await play([send(text), { wait: until(() => arrived > 0) }, { end: 'rst' }]);
    await until(() => ends.length > 0)();
    t.same(ends, ['message.incomplete'], 'reset');
  }
  for (const [tail, code] of [
    ['3;x\r\nabc\r\n', 'framing.malformed'],
    ['0\r\nHost: x\r\n\r\n', 'framing.trailer'],
  ] as const) {
    ends.length = 0;
    const { responses, ending } = await play(`${post('Transfer-Encoding: chunked')}1\r\na\r\n${tail}${GET}`);
    t.same(ends, [code]);
    t.same([responses.length, responses[0]?.status, ending], [1, 400, 'fin']);
  }
});

void t.test('an upload that is given up half-way can still be answered', async (t) => {
  let arrived = 0;
  const { play } = await lab(t, (arrival) => {
    let heard = 0;
    arrived += 1;
    arrival.inflow.start({
      data: () => {
        heard += 1;
        if (heard === 1) arrival.inflow.destroy(new Error('enough'));
        t.equal(heard, 1, 'nothing after that');
      },
      end: () => t.fail('not an end'),
      error: (cause) => {
        t.equal(cause.message, 'enough');
        setTimeout(
          () => arrival.answer({ status: 413, fields: [] }, { kind: 'whole', bytes: Buffer.from('no') }),
          5,
        );
      },
    });
  });
  const { responses, ending } = await play([
    send(`${post('Content-Length: 900000')}abc`),
    { wait: until(() => arrived > 0) },
    send('def'.repeat(100_000)),
  ]);
  t.same([responses[0]?.status, ending], [413, 'fin']);
});

void t.test('the client that leaves is noticed', async (t) => {
  const gone: string[] = [];
  let arrived = 0;
  const { play } = await lab(t, (arrival) => {
    arrived += 1;
    arrival.onGone((cause) => void gone.push(cause.message.slice(0, 22)));
    if (arrival.target === '/taken') arrival.inflow.start({ data() {}, end() {}, error() {} });
  });
  const content = post('Content-Length: 3') + 'abc';
  for (const request of [GET, content, content.replace('/r1', '/taken')])
    for (const end of ['fin', 'rst'] as const) {
      gone.length = arrived = 0;
      await play(
        [send(request), { wait: until(() => arrived > 0) }, { end }, { wait: until(() => gone.length > 0) }],
        0,
      );
      t.equal(gone.length, 1, `${end} behind ${request.slice(0, 11)}`);
    }
});

void t.test('answers in every framing', async (t) => {
  const answers: Record<string, (arrival: Arrival) => void> = {
    '/chunks': (arrival) => {
      const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream' });
      out.attach(attached);
      out.write(Buffer.from('ab'));
      t.equal(out.write(Buffer.alloc(0)), true, 'an empty chunk is no end');
      out.write(Buffer.from('c'));
      setTimeout(() => out.end(Buffer.from('d'), []), 5);
    },
    '/counted': (arrival) => {
      const out = arrival.answer(
        {
          status: 200,
          fields: [
            ['transfer-encoding', 'x'],
            ['connection', 'x'],
          ],
        },
        { kind: 'stream', length: 4 },
      );
      out.attach(attached);
      out.write(Buffer.from('abc'));
      setTimeout(() => out.end(Buffer.from('d'), []), 5);
    },
    '/empty': (arrival) =>
      arrival.answer({ status: 200, fields: [] }, { kind: 'whole', bytes: Buffer.alloc(0) }).attach(attached),
    '/none': (arrival) =>
      arrival.answer({ status: 200, fields: [] }, { kind: 'none', length: 7 }).attach(attached),
    '/204': (arrival) => arrival.answer({ status: 204, fields: [] }, { kind: 'none' }).attach(attached),
    '/304': (arrival) =>
      arrival.answer({ status: 304, fields: [] }, { kind: 'none', length: 9 }).attach(attached),
    '/short': (arrival) => {
      const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream', length: 4 });
      out.attach(attached);
      out.end(Buffer.from('abc'), []);
    },
    '/long': (arrival) => {
      const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream', length: 2 });
      out.attach(attached);
      out.write(Buffer.from('abc'));
    },
    '/broken': (arrival) => {
      const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream' });
      out.attach(attached);
      out.write(Buffer.from('abc'));
      setTimeout(() => out.destroy(new Error('cut')), 20);
    },
    '/aborted': (arrival) => arrival.abort(new Error('cut')),
  };
  const { play } = await lab(t, (arrival) => answers[arrival.target]?.(arrival));
  const ask = async (path: string, method = 'GET', count = 1): Promise<Played> =>
    play(`${method} ${path} HTTP/1.1\r\nHost: gw\r\n\r\n`, count, [method]);
  for (const path of ['/chunks', '/counted']) {
    const { responses, ending } = await ask(path);
    t.same([bodyOf(responses[0]), responses[0]?.complete, ending], ['abcd', true, 'open'], path);
    t.equal(responses[0]?.fields.length, 1, 'framing of ours alone');
    const head = await ask(path, 'HEAD');
    t.same([head.responses.length, head.ending], [1, 'open'], `HEAD ${path}`);
  }
  for (const [path, method, fields] of [
    ['/empty', 'GET', [['content-length', '0']]],
    ['/none', 'GET', [['content-length', '0']]],
    ['/none', 'HEAD', [['content-length', '7']]],
    ['/204', 'GET', []],
    ['/304', 'GET', [['content-length', '9']]],
  ] as const) {
    const { responses, ending } = await ask(path, method);
    t.same([responses[0]?.fields, ending], [fields, 'open'], `${method} ${path}`);
  }
  for (const path of ['/short', '/long', '/broken']) {
    const { responses, ending } = await ask(path, 'GET', Infinity);
    t.not(responses[0]?.complete, true, `${path} does not look complete`);
    t.equal(ending, 'reset', 'and no tidy end');
  }
  t.equal((await ask('/aborted', 'GET', Infinity)).ending, 'reset');
});

void t.test('an answer field cannot start another line', async (t) => {
  const { play } = await lab(t, (arrival) => {
    t.throws(() => arrival.answer({ status: 200, fields: [['x', 'a\r\nset-cookie: b']] }, { kind: 'none' }));
    t.throws(() => arrival.answer({ status: 200, fields: [['x y', 'a']] }, { kind: 'none' }));
    arrival.answer({ status: 200, fields: [['x', 'a']] }, { kind: 'none' }).attach(attached);
  });
  t.equal((await play(GET, 1)).responses[0]?.status, 200);
});

void t.test('content flows both ways at once, no faster than it is taken', async (t) => {
  const size = 64 * 1024 * 1024;
  let paused = 0;
  const { target } = await lab(t, (arrival) => {
    const out = arrival.answer({ status: 200, fields: [] }, { kind: 'stream' });
    out.attach({ ...attached, drain: () => arrival.inflow.resume() });
    arrival.inflow.start({
      data: (chunk) => {
        if (out.write(chunk)) return;
        paused += 1;
        arrival.inflow.pause();
      },
      end: () => out.end(undefined, []),
      error: (cause) => out.destroy(cause),
    });
  });
  const agent = new Agent();
  t.teardown(() => agent.destroy());
  for (const framing of [{ 'content-length': String(size) }, { 'transfer-encoding': 'chunked' }]) {
    let [sent, received, ahead] = [0, 0, 0];
    const [sentHash, receivedHash] = [createHash('sha256'), createHash('sha256')];
    await new Promise<void>((resolve, reject) => {
      const request = httpRequest(
        { ...target, method: 'POST', path: '/', headers: framing, agent },
        (response) => {
          response.on('data', (chunk: Buffer) => {
            // A reader that stands still for a while: the sender has to stop as well, whatever lies between.
            if (received === 0) {
              response.pause();
              setTimeout(() => response.resume(), 300);
            }
            receivedHash.update(chunk);
            received += chunk.length;
            ahead = Math.max(ahead, sent - received);
          });
          response.on('end', resolve).on('error', reject);
        },
      );
      request.on('error', reject);
      const more = (): void => {
        while (sent < size) {
          const chunk = Buffer.alloc(Math.min(size - sent, 100_000), (sent / 100_000) & 0xff);
          sentHash.update(chunk);
          sent += chunk.length;
          if (!request.write(chunk)) return void request.once('drain', more);
        }
        request.end();
      };
      more();
    });
    t.equal(receivedHash.digest('hex'), sentHash.digest('hex'), `same bytes, ${Object.keys(framing).join()}`);
    t.ok(ahead < size / 2, `${ahead} bytes under way at most`);
  }
  t.ok(paused > 0, 'back-pressure was felt');
});

void t.test('a paused inflow hears nothing until it is resumed', async (t) => {
  let heard = 0;
  const { play } = await lab(t, (arrival) => {
    arrival.inflow.start({
      data: () => {
        heard += 1;
        arrival.inflow.pause();
        const upTo = heard;
        setTimeout(() => {
          t.equal(heard, upTo);
          arrival.inflow.resume();
        }, 5);
      },
      end: () => arrival.answer({ status: 204, fields: [] }, { kind: 'none' }).attach(attached),
      error: (cause) => t.fail(cause.message),
    });
  });
  const { responses } = await play(
    `${post('Transfer-Encoding: chunked')}1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n`,
    1,
  );
  t.same([heard, responses[0]?.status], [3, 204]);
});

void t.test('deadlines', async (t) => {
  const { play, refusals } = await lab(t, echo, { headMs: 1000, idleMs: 1500 });
  const slow = await play([{ drip: Buffer.from(GET), everyMs: 50 }]);
  t.same([slow.responses[0]?.status, slow.ending], [408, 'fin'], 'a head one byte at a time');
  t.same(refusals, ['framing.timeout']);
  const silent = await play([]);
  t.same([silent.received.length, silent.ending], [0, 'fin'], 'nothing asked, nothing answered');
  const begun = performance.now();
  const idle = await play([send(GET)]);
  t.equal(idle.ending, 'fin', 'idle');
  t.ok(performance.now() - begun > 1400, 'kept until then');
});

void t.test('one address cannot take all places', async (t) => {
  const { target, refusals, front } = await lab(t, echo, { connectionsPerAddress: 3 });
  const sockets = await Promise.all([connect(target), connect(target), connect(target)]);
  const over = await converse(target, [send(GET)], PATIENCE_MS);
  t.not(over.ending, 'open');
  t.equal(over.received.length, 0);
  t.same(refusals, ['gateway.overloaded']);
  t.equal(front.connections, 3);
  sockets[0]?.destroy();
  await until(() => front.connections === 2)();
  const { received } = await converse(target, [send(GET), { awaitAnswers: 1 }], 0);
  t.ok(received.length > 0, 'a place that got free is given again');
  for (const socket of sockets) socket.destroy();
});

void t.test('close: idle connections go, running requests are answered', async (t) => {
  let arrived = 0;
  let release = (): void => {};
  const { front, target } = await lab(t, (arrival) => {
    arrived += 1;
    release = () => echo(arrival);
  });
  const idle = converse(target, [], PATIENCE_MS);
  const running = converse(target, [send(GET)], PATIENCE_MS);
  await until(() => front.connections === 2 && arrived > 0)();
  const closed = front.close();
  t.equal((await idle).ending, 'fin');
  await t.rejects(connect(target), 'no new connection');
  release();
  const { received, ending } = await running;
  const [response] = readResponses(received, []);
  t.same([response?.status, response && field(response, 'connection'), ending], [200, 'close', 'fin']);
  await closed;
});
