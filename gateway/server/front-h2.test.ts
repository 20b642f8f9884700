import { once } from 'node:events';
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { attached, echo, lab, refuse, type Lab } from '../../conformance/builders/front-lab.ts';
import { Authority } from '../../pki/authority.ts';
import type { Consume } from '../exchange/arrival.ts';
import type { FrontLimits } from './front.ts';

const authority = await Authority.create('front h2 test', () => Date.now());
const { keyPem: key, chainPem: cert } = await authority.issueServer();
const client = await authority.issueClient('client');

/** Waits for what happens elsewhere. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(2);
}

interface H2Lab extends Lab {
  readonly session: ClientHttp2Session;
  ask(head: readonly string[], body?: string | Buffer, trailers?: Record<string, string>): Promise<Answered>;
}
interface Answered {
  readonly status: number | undefined;
  readonly headers: Record<string, unknown>;
  readonly text: string;
  readonly code: number | undefined;
}

async function h2Lab(t: Test, consume: Consume, limits: Partial<FrontLimits> = {}): Promise<H2Lab> {
  const made = await lab(t, consume, limits, { key, cert });
  const session = connect(`https://127.0.0.1:${made.target.port}`, {
    ca: authority.rootPem,
    key: client.keyPem,
    cert: client.chainPem,
  });
  session.on('error', () => {});
  await once(session, 'connect');
  t.teardown(() => session.destroy());
  return {
    ...made,
    session,
    async ask(head, body, trailers) {
      const stream = session.request([...head], {
        endStream: body === undefined,
        waitForTrailers: trailers !== undefined,
      });
      stream.on('wantTrailers', () => stream.sendTrailers(trailers ?? {}));
      if (body !== undefined) stream.end(body);
      return answerOn(stream);
    },
  };
}

async function answerOn(stream: ClientHttp2Stream): Promise<Answered> {
  let headers: Record<string, unknown> = {};
  const chunks: Buffer[] = [];
  stream.on('response', (received) => (headers = { ...received }));
  stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
  stream.on('error', () => {});
  if (!stream.closed) await once(stream, 'close').catch(() => undefined);
  const status = headers[':status'];
  const text = Buffer.concat(chunks).toString('latin1');
  return { status: typeof status === 'number' ? status : undefined, headers, text, code: stream.rstCode };
}

const head = (method: string, path = '/r1', ...fields: string[]): string[] => [
  ':method',
  method,
  ':scheme',
  'https',
  ':authority',
  'gw',
  ':path',
  path,
  ...fields,
];

void t.test('carries requests, many at a time', async (t) => {
  const { ask } = await h2Lab(t, (arrival) => setTimeout(() => echo(arrival), Math.random() * 20));
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      n % 2 === 0 ? ask(head('GET', `/r1?${n}`)) : ask(head('POST', `/r1?${n}`), `content ${n}`),
    ),
  );
  for (const [n, { status, text, headers, code }] of answers.entries()) {
    t.equal(status, 200);
    t.match(JSON.parse(text), {
      target: `/r1?${n}`,
      rawHeaders: ['host', 'gw'],
      body: n % 2 === 0 ? '' : `content ${n}`,
      length: n % 2 === 0 ? 0 : 'chunked',
    });
    t.equal(headers['date'], undefined, 'no Date of ours');
    t.equal(code, constants.NGHTTP2_NO_ERROR);
  }
  t.match(JSON.parse((await ask(head('POST', '/', 'content-length', '3'), 'abc')).text), {
    length: 3,
    body: 'abc',
  });
});

void t.test('the client certificate that TLS proved', async (t) => {
  let certificate: Buffer | undefined;
  const { ask } = await h2Lab(t, (arrival) => {
    certificate = arrival.connection.certificate;
    echo(arrival);
  });
  await ask(head('GET'));
  t.ok(certificate?.equals(client.der));
});

void t.test('refusals before a request exists', async (t) => {
  const { ask, refusals } = await h2Lab(t, () => t.fail('nothing may arrive'));
  for (const [what, request, body, code] of [
    ['TRACE', head('TRACE'), undefined, 'framing.method'],
    ['a long target', head('GET', `/${'a'.repeat(8000)}`), undefined, 'framing.target_too_long'],
    [
      '101 fields',
      head('GET', '/', ...Array.from({ length: 101 }, () => ['a', 'b']).flat()),
      undefined,
      'framing.headers_too_large',
    ],
    [
      '17 KiB of fields',
      head('GET', '/', ...Array.from({ length: 17 }, () => ['a', 'b'.repeat(1024)]).flat()),
      undefined,
      'framing.headers_too_large',
    ],
    ['GET with content', head('GET'), 'abc', 'framing.body_unexpected'],
    ['another expectation', head('POST', '/', 'expect', 'magic'), 'abc', 'framing.expectation'],
    ['Host that is not the authority', head('GET', '/', 'host', 'other'), undefined, 'framing.malformed'],
  ] as const) {
    refusals.length = 0;
    const answer = await ask(request, body);
    t.equal(answer.text, code, what);
    t.same(refusals, [code], 'reported once');
  }
});

void t.test('a stream that is gone when its refusal is written ends nothing but itself', async (t) => {
  const { ask, refusals, front, session } = await h2Lab(t, () => t.fail('nothing may arrive'));
  const codes: string[] = [];
  // It is told before it is written: here the client leaves in between.
  refusals.push = (code) => {
    front.destroy(new Error('the client has left'));
    return codes.push(code);
  };
  await ask(head('TRACE'));
  await until(() => session.destroyed);
  t.same(codes, ['framing.method']);
});

void t.test('answers in every framing', async (t) => {
  const { ask } = await h2Lab(t, (arrival) => {
    if (arrival.target === '/204')
      return arrival.answer({ status: 204, fields: [] }, { kind: 'none' }).attach(attached);
    if (arrival.target === '/bad')
      t.throws(() => arrival.answer({ status: 200, fields: [['x', 'a\r\nb']] }, { kind: 'none' }));
    const length = arrival.target === '/counted' || arrival.target === '/short' ? { length: 4 } : {};
    const out = arrival.answer({ status: 200, fields: [['connection', 'x']] }, { kind: 'stream', ...length });
    out.attach(attached);
    out.write(Buffer.from('abc'));
    if (arrival.target === '/broken') setTimeout(() => out.destroy(new Error('cut')), 20);
    else if (arrival.target === '/short') out.end(undefined, []);
    else setTimeout(() => out.end(Buffer.from('d'), []), 5);
  });
  for (const path of ['/counted', '/uncounted', '/bad']) {
    const { text, code, headers } = await ask(head('GET', path));
    t.same([text, code, headers['content-length']], ['abcd', 0, path === '/counted' ? '4' : undefined], path);
    t.same(
      [(await ask(head('HEAD', path))).text, (await ask(head('HEAD', path))).status],
      ['', 200],
      `HEAD ${path}`,
    );
  }
  t.same([(await ask(head('GET', '/204'))).status, (await ask(head('GET', '/204'))).text], [204, '']);
  for (const path of ['/broken', '/short']) {
    t.not((await ask(head('GET', path))).code, constants.NGHTTP2_NO_ERROR, `${path} does not look complete`);
  }
});

void t.test('truncated content is an error, never an end', async (t) => {
  const ends: string[] = [];
  let arrived = 0;
  const consume: Consume = (arrival) => {
    arrived += 1;
    arrival.inflow.start({
      data: () => {},
      end: () => void ends.push('end'),
      error: (cause) => {
        ends.push(cause.message.split(':', 1)[0] ?? '');
        arrival
          .answer({ status: 400, fields: [] }, { kind: 'whole', bytes: Buffer.from('cut') })
          .attach(attached);
      },
    });
  };
  for (const how of ['stream', 'session', 'socket'] as const) {
    for (const fields of [[], ['content-length', '100']]) {
      ends.length = arrived = 0;
      const { session } = await h2Lab(t, consume);
      const stream = session.request(head('POST', '/', ...fields), { endStream: false });
      stream.on('error', () => {});
      stream.write('abc');
      await until(() => arrived > 0);
      if (how === 'stream') stream.destroy(new Error('cut'));
      else if (how === 'session') session.destroy();
      else session.socket.destroy();
      await until(() => ends.length > 0);
      t.same(ends, ['message.incomplete'], `${how} ${fields.join(' ')}`);
    }
  }
  ends.length = 0;
  const { ask } = await h2Lab(t, consume);
  t.equal((await ask(head('POST'), 'abc', { 'x-trailer': '1' })).status, 400);
  t.same(ends, ['framing.trailer']);
});

void t.test('a refused upload is told to stop', async (t) => {
  const { session } = await h2Lab(t, refuse);
  const stream = session.request(head('POST', '/', 'content-length', '100000000000'), { endStream: false });
  let taken = 0;
  const flood = setInterval(() => {
    if (stream.writable && stream.writableLength < 1e6)
      stream.write(Buffer.alloc((taken += 65_536) && 65_536));
  }, 1);
  const { status, text, code } = await answerOn(stream);
  clearInterval(flood);
  t.same([status, text, code], [403, 'no', constants.NGHTTP2_NO_ERROR]);
  t.ok(taken < 100e6, `${taken} bytes`);
});

void t.test('100 Continue is sent when the content is asked for', async (t) => {
  const { session } = await h2Lab(t, (arrival) => setTimeout(() => echo(arrival), 10));
  const stream = session.request(head('POST', '/', 'expect', '100-continue'), { endStream: false });
  stream.on('continue', () => stream.end('abc'));
  t.match(JSON.parse((await answerOn(stream)).text), { body: 'abc' });
});

void t.test('the client that leaves is noticed; one that leaves too often is sent away', async (t) => {
  let [arrived, gone] = [0, 0];
  const { session, refusals, front } = await h2Lab(t, (arrival) => {
    arrived += 1;
    arrival.onGone(() => (gone += 1));
  });
  const stream = session.request(head('GET'));
  stream.on('error', () => {});
  await until(() => arrived === 1);
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => gone === 1);
  for (let n = 0; n < 400 && !session.destroyed; n += 1) {
    const one = session.request(head('GET'));
    one.on('error', () => {});
    one.close(constants.NGHTTP2_CANCEL);
    if (n % 50 === 0) await delay(1);
  }
  // Asked of the server: Node's client may not notice that its connection was reset.
  await until(() => front.connections === 0); // rapid reset
  t.same(refusals, ['framing.malformed']);
});

void t.test('idle sessions end; close lets running requests finish', async (t) => {
  const idle = await h2Lab(t, echo, { idleMs: 1500, headMs: 1500 });
  await idle.ask(head('GET'));
  await until(() => idle.session.closed);

  let release: (() => void) | undefined;
  const { ask, front, session } = await h2Lab(t, (arrival) => (release = () => echo(arrival)));
  const running = ask(head('GET'));
  await until(() => release !== undefined);
  const closed = front.close();
  await delay(30);
  release?.();
  t.equal((await running).status, 200);
  await closed;
  await until(() => session.closed || session.destroyed);
});
