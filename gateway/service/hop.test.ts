import t from 'tap';
import { bodyOf, GET, service, TARGET, until } from './hop-fixture.ts';
import { ServiceHop } from './hop.ts';

// The hop against services made of raw bytes (attack catalogue C10 U01–U04).

void t.test('sends the very bytes that were authorised, and reads the answer', async (t) => {
  const { hop, heads } = await service(t, (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nok'),
  );
  const call = hop.call({ ...GET, pathAndQuery: '/a%20b?q=%2F', fields: [['x-road-id', 'TW-1']] });
  const answer = await call.answer;
  t.equal(answer.status, 200);
  t.equal(answer.length, 2);
  t.same(answer.rawHeaders, ['Content-Length', '2', 'X-A', '1', 'x-a', '2']);
  t.equal(await bodyOf(answer), 'ok');
  t.match(heads[0], /^GET \/base\/a%20b\?q=%2F HTTP\/1\.1\r\n/);
  t.match(heads[0], 'x-road-id: TW-1');
});

void t.test('what is not acceptable HTTP is the service’s failure', async (t) => {
  const rows: [string, string, string][] = [
    [
      'two lengths',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc',
      'service.malformed',
    ],
    [
      'length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'service.malformed',
    ],
    ['a folded field', 'HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n', 'service.malformed'],
    ['a status of 999', 'HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n', 'service.malformed'],
    ['no HTTP at all', 'SSH-2.0-OpenSSH\r\n', 'service.malformed'],
    ['an end that is only the connection’s', 'HTTP/1.1 200 OK\r\n\r\nabc', 'service.malformed'],
    [
      'an upgrade nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
      'service.malformed',
    ],
  ];
  for (const [what, bytes, code] of rows) {
    const { hop } = await service(t, (socket) => socket.end(bytes));
    await t.rejects(hop.call(GET).answer, { name: 'Unavailable', code }, what);
  }
});

void t.test('interim answers are dropped, bytes behind an answer are nobody’s answer', async (t) => {
  let requests = 0;
  const { hop } = await service(t, (socket) => {
    requests++;
    const late = requests === 1 ? 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged' : '';
    socket.write(
      `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nn${requests}${late}`,
    );
  });
  for (const expected of ['n1', 'n2']) {
    const answer = await hop.call(GET).answer;
    t.equal(await bodyOf(answer), expected);
  }
});

void t.test('broken off, silent and unreachable are told apart', async (t) => {
  const broken = await service(t, (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc'));
  const answer = await broken.hop.call(GET).answer;
  await t.rejects(bodyOf(answer), { code: 'service.broken' });
  const closing = await service(t, (socket) => socket.destroy());
  await t.rejects(closing.hop.call(GET).answer, { code: 'service.broken' });
  const silent = await service(t, () => undefined, { timeoutMs: 300 });
  await t.rejects(silent.hop.call(GET).answer, { code: 'service.timeout' });
  const stopped = await service(
    t,
    (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc'),
    { timeoutMs: 1000 },
  );
  await t.rejects(bodyOf(await stopped.hop.call(GET).answer), { code: 'service.timeout' });
  const nobody = new ServiceHop({ ...TARGET, origin: 'http://127.0.0.1:1' });
  t.teardown(() => nobody.destroy());
  await t.rejects(nobody.call(GET).answer, { code: 'service.unreachable' });
});

void t.test('a body that is given up reaches the service one byte short, never complete', async (t) => {
  const { hop, heads } = await service(t, () => undefined);
  for (const length of [undefined, 4]) {
    const body = length === undefined ? ({ kind: 'stream' } as const) : ({ kind: 'stream', length } as const);
    const call = hop.call({ ...GET, method: 'PUT', body });
    call.outflow.attach({ drain: () => undefined, error: () => undefined, finish: () => undefined });
    call.outflow.write(Buffer.from('abc'));
    setTimeout(() => call.outflow.destroy(new Error('bad digest')), 100);
    await t.rejects(call.answer, { message: 'bad digest' });
  }
  t.notMatch(heads.join(''), /\r\n0\r\n\r\n/, 'no last chunk');
  t.notMatch(heads.join(''), 'abcd');
});

void t.test('more than it may have at once is refused at once, and room comes back', async (t) => {
  const { hop } = await service(t, (socket) => {
    setTimeout(() => socket.write('HTTP/1.1 204 No Content\r\n\r\n'), 50);
  });
  const running = Array.from({ length: TARGET.maxConcurrent }, () => hop.call(GET).answer);
  t.throws(() => hop.call(GET), { code: 'service.overloaded' });
  for (const answer of await Promise.all(running)) {
    t.notOk(answer.hasBody);
    answer.inflow.start({ data: () => undefined, end: () => undefined, error: () => undefined });
  }
  const again = (): Promise<number> => hop.call(GET).answer.then(({ status }) => status);
  let status = 0;
  for (let tries = 0; status === 0 && tries < 2000; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    status = await Promise.resolve()
      .then(again)
      .catch(() => 0);
  }
  t.equal(status, 204);
});

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const POST = { ...GET, method: 'POST' };

void t.test('a connection is kept while the service keeps it', async (t) => {
  const rows: readonly (readonly [what: string, answer: string, connections: number])[] = [
    ['as HTTP/1.1 does', OK, 1],
    ['with a hint that is long enough', OK.replace('\r\n\r\n', '\r\nKeep-Alive: timeout=60\r\n\r\n'), 1],
    [
      'with a hint that is too short to ask again',
      OK.replace('\r\n\r\n', '\r\nKeep-Alive: timeout=2\r\n\r\n'),
      3,
    ],
    ['not when it closes', OK.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'), 3],
    ['not as HTTP/1.0', OK.replace('1.1', '1.0'), 3],
    ['without content', 'HTTP/1.1 204 No Content\r\n\r\n', 1],
    [
      'in chunks, with trailers',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n',
      1,
    ],
  ];
  for (const [what, answer, connections] of rows) {
    const running = await service(t, (socket) => socket.write(answer));
    for (let i = 0; i < 3; i += 1) await bodyOf(await running.hop.call(GET).answer);
    t.equal(running.connections(), connections, what);
    t.equal(running.heads.length, 3);
  }
});

void t.test('a connection that nobody uses is closed', async (t) => {
  const { hop, sockets } = await service(t, (socket) =>
    socket.write(OK.replace('\r\n\r\n', '\r\nKeep-Alive: timeout=3\r\n\r\n')),
  );
  await bodyOf(await hop.call(GET).answer);
  t.equal(sockets.size, 1);
  await until(() => sockets.size === 0);
});

void t.test('what was sent is not sent again, even on a kept connection that was closed', async (t) => {
  let asked = 0;
  const { hop, heads } = await service(t, (socket) => {
    asked += 1;
    if (asked === 1) socket.write(OK);
    else socket.destroy();
  });
  await bodyOf(await hop.call(GET).answer);
  await t.rejects(hop.call(POST).answer, { code: 'service.broken' });
  await t.rejects(hop.call(GET).answer, { code: 'service.broken' });
  t.equal(heads.length, 3);
});

void t.test('a kept connection that the service closed meanwhile is not used', async (t) => {
  const { hop, sockets, connections } = await service(t, (socket) => socket.end(OK));
  for (let i = 0; i < 3; i += 1) {
    await bodyOf(await hop.call(GET).answer);
    await until(() => sockets.size === 0);
  }
  t.equal(connections(), 3);
});

void t.test('what a request is framed as', async (t) => {
  const { hop, heads } = await service(t, (socket) => socket.write('HTTP/1.1 204 No Content\r\n\r\n'));
  const head = async (request: Partial<typeof GET>): Promise<string> => {
    heads.length = 0;
    await hop.call({ ...GET, ...request }).answer;
    return heads.join('');
  };
  const bytes = Buffer.from('content');
  t.match(
    await head({}),
    /^GET \/base\/x\?y HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\nconnection: keep-alive\r\n\r\n$/,
  );
  t.match(await head({ method: 'POST' }), /content-length: 0\r\n\r\n$/);
  t.notMatch(await head({ method: 'DELETE' }), /content-length/);
  t.match(await head({ method: 'PUT', body: { kind: 'whole', bytes } }), /content-length: 7\r\n\r\ncontent$/);
  const long = Buffer.alloc(40_000, 'l');
  const sent = hop.call({ ...GET, method: 'PUT', body: { kind: 'whole', bytes: long } });
  heads.length = 0;
  await sent.answer;
  await until(() => heads.join('').endsWith('l'.repeat(40_000)));
});

void t.test('a request that would be another one is not sent', async (t) => {
  const { hop, connections } = await service(t, () => undefined);
  for (const request of [
    { method: 'GET / HTTP/1.1\r\nX' },
    { method: 'get' },
    { pathAndQuery: '/a b' },
    { pathAndQuery: '/a\r\nX: 1' },
    { pathAndQuery: '/\u{4e2d}' },
    { fields: [['x', 'a\r\nY: b']] as const },
    { fields: [['x', 'a\0']] as const },
    { fields: [['x\r\nY', 'a']] as const },
    { fields: [['x y', 'a']] as const },
    { fields: [['', 'a']] as const },
    { fields: [['host', 'other']] as const },
    { fields: [['content-length', '9']] as const },
    { fields: [['transfer-encoding', 'chunked']] as const },
    { fields: [['expect', '100-continue']] as const },
  ]) {
    t.throws(() => hop.call({ ...GET, ...request }), Error, JSON.stringify(request));
  }
  t.equal(connections(), 0);
  const { answer } = hop.call(GET);
  await until(() => connections() === 1);
  t.throws(
    () => Array.from({ length: 4 }, () => hop.call(GET)),
    { code: 'service.overloaded' },
    'and takes no room',
  );
  hop.destroy();
  await t.rejects(answer);
});

void t.test('a call can be given up at any time', async (t) => {
  const cause = new Error('given up');
  const { hop, sockets } = await service(t, (socket, bytes) => {
    if (bytes.includes('/head')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab');
    else if (bytes.includes('/whole')) socket.write(OK);
  });
  const early = hop.call(GET);
  early.abort(cause);
  await t.rejects(early.answer, cause);
  const waiting = hop.call(GET);
  await until(() => sockets.size === 1);
  waiting.abort(cause);
  await t.rejects(waiting.answer, cause);
  const started = await hop.call({ ...GET, pathAndQuery: '/head' }).answer;
  const body = bodyOf(started);
  started.inflow.destroy(cause);
  await t.rejects(body, cause);
  const whole = hop.call({ ...GET, pathAndQuery: '/whole' });
  t.equal(await bodyOf(await whole.answer), 'ok');
  whole.abort(cause);
  t.equal(
    await bodyOf(await hop.call({ ...GET, pathAndQuery: '/whole' }).answer),
    'ok',
    'it is somebody else’s by then',
  );
  await until(() => sockets.size === 1);
});
