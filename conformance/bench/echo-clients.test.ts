import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { ECHO_BODY } from './backend.ts';
import { announcedLength, EchoClients } from './echo-clients.ts';

const body = ECHO_BODY.toString('latin1');
const ok = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

void t.test('a head says how long its body is, if it is a 200', (t) => {
  t.equal(announcedLength('HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 1024'), 1024);
  t.equal(announcedLength('HTTP/1.1 200 OK\r\nContent-Length: 7\r\nDate: x'), 7);
  for (const head of [
    'HTTP/1.1 204 No Content',
    'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1024',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked',
    'HTTP/1.1 200 OK\r\nX-Content-Length: 1024',
    'HTTP/1.1 200 OK\r\nContent-Length: 1e3',
  ])
    t.ok(Number.isNaN(announcedLength(head)), head);
  t.end();
});

/** Answers each request with what `answer` writes. @returns the requests' bytes */
async function serve(t: Test, answer: (socket: Socket) => void): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((socket) => {
    let text = '';
    socket.setEncoding('latin1').on('error', () => undefined);
    socket.on('data', (piece: string) => {
      text += piece;
      if (!text.endsWith('x'.repeat(1024))) return;
      asked.push(text);
      text = '';
      answer(socket);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/a?b`, asked }; // it listens
}

void t.test('requests take turns on the connections, and wait for one', async (t) => {
  const { url, asked } = await serve(t, (socket) => {
    socket.write(ok.slice(0, 50));
    setImmediate(() => socket.write(ok.slice(50)));
  });
  const clients = await EchoClients.connect({ url, headers: { 'X-Road-Client': 'A' } }, 2);
  t.same(await Promise.all([1, 2, 3, 4, 5].map(() => clients.exchange())), Array(5).fill(true));
  clients.close();
  t.equal(asked.length, 5);
  t.match(
    asked[0],
    /^POST \/a\?b HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\nX-Road-Client: A\r\n[^]+\r\n\r\nx{1024}$/,
  );
});

for (const [what, answer] of [
  ['another status', ok.replace('200 OK', '503 No')],
  ['another body', ok.replace('agency of', 'AGENCY OF')],
  ['a shorter one', ok.replace(`${body.length}`, '5').slice(0, -body.length + 5)],
  ['no length', ok.replace(/Content-Length: \d+/, 'X: y')],
] as const)
  void t.test(`${what} is an error, and the next request does not hang`, async (t) => {
    const { url } = await serve(t, (socket) => socket.write(answer));
    const clients = await EchoClients.connect({ url, headers: {} }, 1);
    t.same([await clients.exchange(), await clients.exchange()], [false, false]);
    clients.close();
  });

void t.test('so is a connection that ends in the middle, or ended before', async (t) => {
  const { url } = await serve(t, (socket) => socket.end(ok.slice(0, -1)));
  const clients = await EchoClients.connect({ url, headers: {} }, 1);
  t.same([await clients.exchange(), await clients.exchange()], [false, false]);
  clients.close();
});
