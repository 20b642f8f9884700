import { createServer } from 'node:tls';
import t from 'tap';
import { makeCutProxy } from '../../conformance/builders/cut-proxy.ts';
import { Authority } from '../../pki/authority.ts';
import { bodyOf, GET, hopTo, TARGET, until } from './hop-fixture.ts';
import { ServiceHop } from './hop.ts';

void t.test(
  'an answer changed on the way from a service fails at once, and its connection ends',
  async (t) => {
    const authority = await Authority.create('hop test', () => Date.now());
    const { keyPem, chainPem } = await authority.issueServer();
    let more = (): void => undefined;
    // The service keeps the connection, as many do that Node's TLS tells of an alert.
    const service = createServer({ key: keyPem, cert: chainPem }, (socket) => {
      socket
        .on('error', () => undefined)
        .on('data', () => {
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(100)}`);
        });
      more = () => void socket.write('x'.repeat(100));
    });
    await hopTo(t, service);
    const address = service.address();
    if (address === null || typeof address === 'string') throw new Error('unreachable: it listens on a port');
    const wire = await makeCutProxy(address.port);
    // Patience is longer than the test: nothing but the bad record ends the wait.
    const origin = `https://127.0.0.1:${wire.port}`;
    const hop = new ServiceHop({ ...TARGET, origin, ca: authority.rootPem, timeoutMs: 3_600_000 });
    t.teardown(async () => {
      hop.destroy();
      await wire.close();
    });
    const body = bodyOf(await hop.call(GET).answer);
    wire.plan({ direction: 'down', how: 'flip', after: 20 });
    more();
    await t.rejects(body, { code: 'service.broken' });
    await until(() => wire.connections === 0);
  },
);
