import { createHash, randomBytes } from 'node:crypto';
import { createServer as createHttpServer, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import t, { type Test } from 'tap';
import { Authority } from '../../pki/authority.ts';
import type { Inflow, Loan, Outflow } from '../core/flow.ts';
import { bodyOf, GET, hopTo, service, until } from './hop-fixture.ts';
import type { ServiceHop } from './hop.ts';

// Large bodies both ways: every byte arrives, memory that is lent is used again, and whoever is slow is waited for.

const CONTENT = randomBytes(12 << 20);
const DIGEST = createHash('sha256').update(CONTENT).digest('hex');
const authority = await Authority.create('hop test', () => Date.now());
const { keyPem, chainPem } = await authority.issueServer();

/** Of odd sizes, so that reads, chunks and writes do not fall together. */
function* pieces(): Generator<Buffer> {
  for (let at = 0, size = 1; at < CONTENT.length; at += size, size = ((size * 7) % 150_001) + 1) {
    yield CONTENT.subarray(at, at + size);
  }
}

type Framing = 'counted' | 'chunked';
type Scheme = 'http' | 'https';

/** A service as most are: made with an HTTP library, which reads and frames as it should. */
async function libraryService(
  t: Pick<Test, 'teardown'>,
  scheme: Scheme,
  listener: RequestListener,
  maxConcurrent = 4,
): Promise<ServiceHop> {
  if (scheme === 'http')
    return (await hopTo(t, createHttpServer(listener), { maxConcurrent, timeoutMs: 20_000 })).hop;
  return secureHop(t, createHttpsServer({ key: keyPem, cert: chainPem }, listener));
}

async function secureHop(
  t: Pick<Test, 'teardown'>,
  server: TlsServer,
  ca: string = authority.rootPem,
  host = '127.0.0.1',
): Promise<ServiceHop> {
  server.on('tlsClientError', () => undefined);
  server.on('secureConnection', (socket: Socket) => socket.on('error', () => undefined));
  const { hop } = await hopTo(t, server, { ca, connectMs: 20_000, timeoutMs: 20_000 }, `https://${host}`);
  return hop;
}

/** Answers with the content. */
async function give(response: ServerResponse, framing: Framing): Promise<void> {
  if (framing === 'counted') response.setHeader('content-length', CONTENT.length);
  for (const piece of pieces()) {
    if (!response.write(piece)) await new Promise((resolve) => response.once('drain', resolve));
  }
  response.end();
}

interface Seen {
  readonly digest: string;
  readonly lent: number;
  readonly buffers: number;
}

/** @param most chunks that are looked at later only; @param early gives memory back before it was read */
function late(inflow: Inflow, most: number, early = false): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256');
    const held: { readonly chunk: Buffer; readonly loan: Loan | undefined }[] = [];
    const buffers = new Set<ArrayBufferLike>();
    let lent = 0;
    const read = (keep: number): void => {
      while (held.length > keep) {
        const next = held.shift();
        if (next === undefined) return;
        hash.update(next.chunk);
        if (!early) next.loan?.done();
      }
    };
    inflow.start({
      data: (chunk, loan) => {
        held.push({ chunk, loan });
        if (loan !== undefined) {
          lent += 1;
          buffers.add(chunk.buffer);
        }
        if (early) loan?.done();
        read(most);
        if (held.length < most || most === 0) return;
        inflow.pause();
        setImmediate(() => inflow.resume());
      },
      end: () => {
        read(0);
        resolve({ digest: hash.digest('hex'), lent, buffers: buffers.size });
      },
      error: reject,
    });
  });
}

for (const scheme of ['http', 'https'] as const) {
  for (const framing of ['counted', 'chunked'] as const) {
    void t.test(
      `${scheme}, ${framing}: every byte of an answer, whenever its memory comes back`,
      async (t) => {
        const hop = await libraryService(t, scheme, (_, response) => void give(response, framing));
        for (const most of [0, 3, 30]) {
          const seen = await late((await hop.call(GET).answer).inflow, most);
          t.equal(seen.digest, DIGEST, `${most} behind`);
          t.ok(seen.lent > 20, `${seen.lent} chunks were lent`);
          if (most === 0) t.ok(seen.buffers <= seen.lent / 4, `in ${seen.buffers} buffers`);
        }
      },
    );

    void t.test(`${scheme}, ${framing}: every byte of a request, and its memory comes back`, async (t) => {
      let digest = '';
      const hop = await libraryService(t, scheme, (request, response) => {
        const hash = createHash('sha256');
        request.on('data', (chunk: Buffer) => hash.update(chunk));
        request.on('end', () => {
          digest = hash.digest('hex');
          response.writeHead(204).end();
        });
      });
      const length = framing === 'counted' ? { length: CONTENT.length } : {};
      const call = hop.call({ ...GET, method: 'PUT', body: { kind: 'stream', ...length } });
      const given = await sendAll(call.outflow);
      t.equal((await call.answer).status, 204);
      t.equal(digest, DIGEST);
      t.equal(given.back, given.lent, 'all memory came back');
    });
  }
}

void t.test('more answers at once than there is lent memory for are the same', async (t) => {
  const hop = await libraryService(t, 'http', (_, response) => void give(response, 'counted'), 40);
  const all = Array.from({ length: 40 }, async (_, i) => late((await hop.call(GET).answer).inflow, i % 4));
  for (const { digest } of await Promise.all(all)) t.equal(digest, DIGEST);
  // What they waited with is free again.
  const { lent, buffers } = await late((await hop.call(GET).answer).inflow, 0);
  t.ok(lent > 20 && buffers <= lent / 4, `${lent} chunks in ${buffers} buffers`);
});

/** Sends the content as its owner would who reuses the memory at once. */
async function sendAll(outflow: Outflow): Promise<{ lent: number; back: number }> {
  const given = { lent: 0, back: 0 };
  let drained: () => void = () => undefined;
  const finished = new Promise<void>((resolve, reject) => {
    outflow.attach({ drain: () => drained(), error: reject, finish: resolve });
  });
  for (const piece of pieces()) {
    const chunk = Buffer.from(piece);
    given.lent += 1;
    const done = (): void => {
      given.back += 1;
      chunk.fill(0);
    };
    const room = new Promise<void>((resolve) => (drained = resolve));
    if (!outflow.write(chunk, { done })) await room;
  }
  outflow.end(undefined, []);
  await finished;
  return given;
}

void t.test('memory that comes back too early has other bytes, and these tests would see it', async (t) => {
  const hop = await libraryService(t, 'http', (_, response) => void give(response, 'counted'));
  t.not((await late((await hop.call(GET).answer).inflow, 3, true)).digest, DIGEST);
});

void t.test('a receiver that takes nothing makes the service wait, and is not its failure', async (t) => {
  let written = 0;
  const server = createServer((socket) => {
    socket.on('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${1 << 30}\r\n\r\n`);
      const more = (): void => {
        while (socket.write(CONTENT.subarray(0, 1 << 16))) written += 1 << 16;
      };
      socket.on('drain', more);
      more();
    });
  });
  const { hop } = await hopTo(t, server, { timeoutMs: 1000 });
  const { inflow } = await hop.call(GET).answer;
  let [received, failure]: [number, Error | undefined] = [0, undefined];
  let most = 1 << 20;
  await new Promise((resolve) => setTimeout(resolve, 1300));
  inflow.start({
    data: (chunk, loan) => {
      received += chunk.length;
      loan?.done();
      if (received >= most) inflow.pause();
    },
    end: () => undefined,
    error: (cause) => (failure = cause),
  });
  await until(() => received >= 1 << 20);
  const before = received;
  await new Promise((resolve) => setTimeout(resolve, 1300));
  t.ok(received - before <= 1 << 20, 'what was under way');
  t.equal(failure, undefined, 'longer than the service may be silent');
  t.ok(written < 64 << 20, `${written} bytes were written`);
  most = Infinity;
  inflow.resume();
  await until(() => received > before + (1 << 20));
  inflow.destroy(new Error('enough'));
});

void t.test('a service that does not read is waited for no longer than for an answer', async (t) => {
  const { hop } = await service(t, (socket) => socket.pause(), { timeoutMs: 200 });
  const call = hop.call({ ...GET, method: 'PUT', body: { kind: 'stream' } });
  let lost: Error | undefined;
  call.outflow.attach({ drain: () => undefined, error: (cause) => (lost = cause), finish: () => undefined });
  let roomy = true;
  for (let i = 0; i < 1000 && roomy; i += 1) roomy = call.outflow.write(CONTENT);
  t.notOk(roomy, 'back-pressure');
  await t.rejects(call.answer, { code: 'service.timeout' });
  t.match(lost, { code: 'service.timeout' });
});

void t.test('a source that is slow is not the service’s failure', async (t) => {
  const { hop } = await service(
    t,
    (socket, bytes) => bytes.endsWith('0\r\n\r\n') && socket.write('HTTP/1.1 204 No Content\r\n\r\n'),
    { timeoutMs: 1000 },
  );
  const call = hop.call({ ...GET, method: 'PUT', body: { kind: 'stream' } });
  call.outflow.attach({ drain: () => undefined, error: () => undefined, finish: () => undefined });
  call.outflow.write(Buffer.from('abc'));
  await new Promise((resolve) => setTimeout(resolve, 1300));
  call.outflow.end(undefined, []);
  t.equal((await call.answer).status, 204);
});

void t.test(
  'an answer before the end of the request is taken, and ends the connection with it',
  async (t) => {
    const { hop, sockets } = await service(t, (socket, bytes) => {
      if (bytes.startsWith('PUT')) socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
    });
    const call = hop.call({ ...GET, method: 'PUT', body: { kind: 'stream', length: 1000 } });
    const told = new Promise<Error>((resolve) => {
      call.outflow.attach({ drain: () => undefined, error: resolve, finish: () => undefined });
    });
    call.outflow.write(Buffer.alloc(10));
    const answer = await call.answer;
    t.equal(answer.status, 413);
    t.equal(await bodyOf(answer), 'no');
    t.match(await told, { code: 'service.broken' });
    await until(() => sockets.size === 0);
  },
);

void t.test('a body of another length than announced never arrives as whole', async (t) => {
  for (const sent of [3, 5]) {
    const { hop, heads, sockets } = await service(t, () => undefined);
    const call = hop.call({ ...GET, method: 'PUT', body: { kind: 'stream', length: 4 } });
    call.outflow.attach({ drain: () => undefined, error: () => undefined, finish: () => undefined });
    call.outflow.end(Buffer.alloc(sent, 'z'), []);
    await t.rejects(call.answer, /content|short/);
    await until(() => sockets.size === 0);
    t.notMatch(heads.join(''), 'zzzz');
  }
});

void t.test('https: the service proves its name to us, to the authorities we were told', async (t) => {
  const answer = (socket: Socket): unknown =>
    socket.on('data', () => socket.write('HTTP/1.1 204 No Content\r\n\r\n'));
  const asked: (string | false | null)[] = [];
  let connections = 0;
  const server = createTlsServer({ key: keyPem, cert: chainPem }, (socket) => {
    connections += 1;
    asked.push(socket.servername, socket.alpnProtocol);
    answer(socket);
  });
  const hop = await secureHop(t, server, authority.rootPem, 'localhost');
  for (let i = 0; i < 3; i += 1) t.equal((await hop.call(GET).answer).status, 204);
  t.equal(connections, 1, 'kept');
  t.equal(asked[0], 'localhost');

  const other = await Authority.create('somebody else', () => Date.now());
  const foreign = createTlsServer({ key: keyPem, cert: chainPem }, answer);
  await t.rejects((await secureHop(t, foreign, other.rootPem)).call(GET).answer, {
    code: 'service.unreachable',
  });

  const link = await other.issueLink('elsewhere.test');
  const misnamed = createTlsServer({ key: link.keyPem, cert: link.chainPem }, answer);
  await t.rejects((await secureHop(t, misnamed, other.rootPem)).call(GET).answer, {
    code: 'service.unreachable',
    message: /altnames/,
  });

  const plain = createServer((socket) => socket.on('data', () => socket.write('HTTP/1.1 400 Bad\r\n\r\n')));
  const { hop: downgraded } = await hopTo(t, plain);
  await t.rejects(downgraded.call(GET).answer, { code: 'service.malformed' });
});
