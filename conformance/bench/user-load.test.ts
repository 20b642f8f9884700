import t from 'tap';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { makeCertificates } from './certificates.ts';
import { missing } from './spawn.ts';
import { startUserMachine } from './user-load.ts';

const absent = missing('nginx') ?? missing('openssl');
const skip = absent === undefined ? false : `LIVE BENCHMARK NOT RUN: ${absent}`;

void t.test('a user’s machine keeps its connection, or makes one for each request', { skip }, async (t) => {
  const dir = t.testdir({});
  const { authority, near, user } = await makeCertificates(dir);
  const [key, cert, ca] = [near.key, near.certificate, authority].map((file) => readFileSync(file));
  const seen: { readonly resumed: boolean; readonly proved: boolean }[] = [];
  const server = createServer({ key, cert, ca, requestCert: true }, (_, response) => response.end('x'));
  server.on('secureConnection', (socket) => {
    seen.push({ resumed: socket.isSessionReused(), proved: socket.authorized });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server that listens has an address
  const machine = await startUserMachine(dir, 'x', `127.0.0.1:${port}`, user);
  t.teardown(async () => {
    await machine.stop();
    server.closeAllConnections();
    server.close();
  });
  for (const [connections, expected] of [
    ['kept', 1],
    ['new', 5],
  ] as const) {
    seen.length = 0;
    for (let n = 0; n < 5; n += 1) t.equal(await (await fetch(machine.url[connections])).text(), 'x');
    t.same(
      seen,
      Array.from({ length: expected }, () => ({ resumed: false, proved: true })),
      connections,
    );
  }
});
