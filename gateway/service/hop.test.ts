import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { Sink } from '../core/flow.ts';
import { ServiceHop } from './hop.ts';
import type { ServiceAnswer, ServiceRequest } from './service.ts';

// The hop against services made of raw bytes (attack catalogue C10 U01–U04).

const TARGET = { basePath: '/base', timeoutMs: 1_000, connectMs: 500, maxConcurrent: 4 };
const GET: ServiceRequest = {
  method: 'GET',
  pathAndQuery: '/x?y',
  fields: [],
  body: { kind: 'whole', bytes: Buffer.alloc(0) },
};

/** A service that answers each connection as told, once it has a request's head. */
async function service(t: Pick<Test, 'teardown'>, answer: (socket: Socket, head: string) => void) {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      heads.push(bytes.toString('latin1'));
      answer(socket, bytes.toString('latin1'));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const hop = new ServiceHop({ ...TARGET, origin: `http://127.0.0.1:${port}` });
  t.teardown(async () => {
    await hop.destroy();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { hop, heads };
}

/** Everything of one answer's body, or the error that broke it. */
function bodyOf({ inflow }: ServiceAnswer): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const sink: Sink = {
      data: (chunk) => (text += chunk.toString('latin1')),
      end: () => resolve(text),
      error: reject,
    };
    inflow.start(sink);
  });
}

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
      'service.broken',
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
  const silent = await service(t, () => undefined);
  await t.rejects(silent.hop.call(GET).answer, { code: 'service.timeout' });
  const stopped = await service(t, (socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc'),
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
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal((await hop.call(GET).answer).status, 204);
});
