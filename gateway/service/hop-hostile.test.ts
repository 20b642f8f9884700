import { once } from 'node:events';
import { createServer } from 'node:net';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { bodyOf, GET, hopTo, service, TARGET, until } from './hop-fixture.ts';
import { ServiceHop } from './hop.ts';

// Services that were taken over, or are simply broken (attack catalogue C10 U01–U04).

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n';

void t.test('an answer ahead of the question is nobody’s answer', async (t) => {
  const talking = createServer((socket) => socket.write(`${OK}no`));
  const { hop, sockets } = await hopTo(t, talking);
  // As soon as it is connected the request leaves, so either the bytes were there first or they follow the question.
  const outcome = await hop.call(GET).answer.then(bodyOf, (cause: unknown) => cause);
  if (outcome !== 'no') t.match(outcome, { code: 'service.malformed' });
  await until(() => sockets.size <= 1);

  let asked = 0;
  const late = await service(t, (socket) => {
    asked += 1;
    socket.write(`${OK}n${asked}`);
    if (asked === 1) setTimeout(() => socket.write(`${OK}no`), 20);
  });
  t.equal(await bodyOf(await late.hop.call(GET).answer), 'n1');
  await until(() => late.sockets.size === 0); // what came behind it ended the connection
  t.equal(await bodyOf(await late.hop.call(GET).answer), 'n2');
  t.equal(late.connections(), 2);
});

void t.test(
  'what lies in the system’s memory when the next question is asked is not its answer',
  async (t) => {
    // The service is another thread: it goes on while this one is busy, and says what it has written.
    const program = `
    const { createServer } = require('node:net');
    const { parentPort, workerData } = require('node:worker_threads');
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.write(${JSON.stringify(OK)} + 'ok');
        setTimeout(() => socket.write(${JSON.stringify(OK)} + 'no', () => Atomics.add(workerData, 0, 1)), 20);
      });
    });
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`;
    const written = new Int32Array(new SharedArrayBuffer(4));
    const talking = new Worker(program, { eval: true, workerData: written });
    t.teardown(() => talking.terminate());
    const [port] = (await once(talking, 'message')) as [number]; // the program above
    const hop = new ServiceHop({ ...TARGET, origin: `http://127.0.0.1:${port}` });
    t.teardown(() => hop.destroy());
    const answers: string[] = [];
    for (let i = 0; i < 3; i += 1) {
      answers.push(await bodyOf(await hop.call(GET).answer));
      await new Promise((resolve) => setTimeout(resolve)); // the answer is read; what follows is not
      while (Atomics.load(written, 0) <= i); // busy, as with another exchange
    }
    t.same(answers, ['ok', 'ok', 'ok']);
  },
);

void t.test('bytes behind an answer end the connection', async (t) => {
  for (const more of ['x', '\r\n', `${OK}no`, '0\r\n\r\n']) {
    const { hop, connections } = await service(t, (socket) => socket.write(`${OK}ok${more}`));
    for (let i = 1; i <= 2; i += 1) {
      t.equal(await bodyOf(await hop.call(GET).answer), 'ok');
      t.equal(connections(), i, JSON.stringify(more));
    }
  }
  const head = await service(t, (socket) => socket.write(`${OK}ok`));
  for (let i = 1; i <= 2; i += 1) {
    const answer = await head.hop.call({ ...GET, method: 'HEAD' }).answer;
    t.match(answer, { length: 2, hasBody: false });
    t.equal(await bodyOf(answer), '', 'content of a HEAD is none');
    t.equal(head.connections(), i);
  }
});

void t.test('an answer that is cut anywhere is never complete', async (t) => {
  const whole = 'HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n';
  const counted = `${OK}ok`;
  let text = '';
  const { hop } = await service(t, (socket) => socket.end(text));
  for (const full of [whole, counted]) {
    for (let length = 0; length < full.length; length += 1) {
      text = full.slice(0, length);
      const outcome = await hop
        .call(GET)
        .answer.then(bodyOf)
        .catch((cause: unknown) => cause);
      t.match(outcome, { code: 'service.broken' }, `${length} of ${full.length} bytes`);
    }
  }
  text = whole;
  t.equal(await hop.call(GET).answer.then(bodyOf), 'abc');
});

void t.test('byte by byte an answer is the same', async (t) => {
  const text = `HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\nabc\r\n0\r\n\r\n`;
  const { hop } = await service(t, (socket) => {
    socket.setNoDelay(true);
    void (async () => {
      for (const byte of text) {
        socket.write(byte);
        await new Promise(setImmediate);
      }
    })();
  });
  const answer = await hop.call(GET).answer;
  t.match(answer, { status: 200, rawHeaders: ['X', 'y', 'Transfer-Encoding', 'chunked'], length: undefined });
  t.equal(await bodyOf(answer), 'abc');
});

void t.test('a head has to come in time as a whole', async (t) => {
  const { hop, sockets } = await service(
    t,
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('X: y\r\n'), 20);
      socket.on('close', () => clearInterval(timer));
    },
    { timeoutMs: 200 },
  );
  await t.rejects(hop.call(GET).answer, { code: 'service.timeout' }, 'however busy it looks');
  await until(() => sockets.size === 0);
  const flood = await service(
    t,
    (socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 103 Early\r\n\r\n'), 20);
      socket.on('close', () => clearInterval(timer));
    },
    { timeoutMs: 200 },
  );
  await t.rejects(flood.hop.call(GET).answer, { code: 'service.timeout' }, 'interim answers are none');
});

void t.test('floods end early', async (t) => {
  const rows: readonly (readonly [what: string, piece: string, before: string])[] = [
    ['interim answers', 'HTTP/1.1 103 Early\r\n\r\n', ''],
    ['fields', 'X: y\r\n', 'HTTP/1.1 200 OK\r\n'],
    ['a field', 'y'.repeat(1024), 'HTTP/1.1 200 OK\r\nX: '],
    ['a status line', 'y'.repeat(1024), 'HTTP/1.1 200 '],
    ['trailers', 'X: y\r\n', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n'],
    ['an extension', 'y'.repeat(1024), 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;'],
  ];
  for (const [what, piece, before] of rows) {
    let written = 0;
    const { hop, sockets } = await service(t, (socket) => {
      socket.write(before);
      const more = (): void => {
        if (socket.destroyed) return;
        written += piece.length;
        socket.write(piece, () => setImmediate(more));
      };
      more();
    });
    const outcome = await hop
      .call(GET)
      .answer.then(bodyOf)
      .catch((cause: unknown) => cause);
    t.match(outcome, { code: 'service.malformed' }, what);
    await until(() => sockets.size === 0);
    t.ok(written < 10_000_000, `${written} bytes`);
  }
});

void t.test(
  'a service that hangs up before the whole request is its failure, also while it is sent',
  async (t) => {
    const { hop } = await service(t, (socket) => socket.resetAndDestroy());
    const call = hop.call({ ...GET, method: 'PUT', body: { kind: 'stream' } });
    const lost = new Promise<Error>((resolve) =>
      call.outflow.attach({ drain: () => undefined, error: resolve, finish: () => undefined }),
    );
    call.outflow.write(Buffer.alloc(1000));
    t.match(await lost, { code: 'service.broken' });
    await t.rejects(call.answer, { code: 'service.broken' });
  },
);
