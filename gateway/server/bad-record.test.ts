import { connect as connectH2 } from 'node:http2';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { makeCutProxy, type CutProxy } from '../../conformance/builders/cut-proxy.ts';
import { lab, post } from '../../conformance/builders/front-lab.ts';
import { Authority } from '../../pki/authority.ts';
import type { Front } from './front.ts';

// A client needs no certificate to send a TLS record that cannot be deciphered, or somebody on the wire changes one. Node
// then tells of an error and leaves the socket open: a listener that waits for its end keeps a connection and a request.

interface Changed {
  readonly front: Front;
  readonly wire: CutProxy;
  readonly port: number;
  readonly ca: string;
  /** A request is there, with a part of its body. */
  readonly arrived: Promise<unknown>;
  readonly failed: Promise<unknown>;
}

async function setUp(t: Test): Promise<Changed> {
  const authority = await Authority.create('front test', () => Date.now());
  const { keyPem, chainPem } = await authority.issueServer();
  const [arrived, failed] = [Promise.withResolvers<unknown>(), Promise.withResolvers<unknown>()];
  // Deadlines are longer than the test: nothing but the bad record ends the connection.
  const never = { headMs: 3_600_000, idleMs: 3_600_000 };
  const tls = { key: keyPem, cert: chainPem };
  const { front } = await lab(
    t,
    ({ inflow }) => {
      inflow.start({ data: arrived.resolve, end: () => undefined, error: failed.resolve });
    },
    never,
    tls,
  );
  const wire = await makeCutProxy(front.address.port);
  t.teardown(() => wire.close());
  const promises = { arrived: arrived.promise, failed: failed.promise };
  return { front, wire, port: wire.port, ca: authority.rootPem, ...promises };
}

async function allGone({ front }: Changed): Promise<void> {
  while (front.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

const flip = { direction: 'up', how: 'flip', after: 20 } as const;

void t.test('HTTP/1.1: a request whose next record is changed fails, and the connection ends', async (t) => {
  const changed = await setUp(t);
  const { wire, ca, port, arrived, failed } = changed;
  const client = connect({ host: '127.0.0.1', port, ca });
  client.on('error', () => undefined).write(`${post('Content-Length: 1000')}abc`);
  await arrived;
  wire.plan(flip);
  client.write('x'.repeat(100));
  t.ok((await failed) instanceof Error);
  await allGone(changed);
});

void t.test('HTTP/1.1: an idle connection with a changed record ends', async (t) => {
  const changed = await setUp(t);
  const { wire, ca, port } = changed;
  const client = connect({ host: '127.0.0.1', port, ca });
  client.on('error', () => undefined);
  await new Promise((resolve) => client.once('secureConnect', resolve));
  wire.plan(flip);
  client.write(post('Content-Length: 3'));
  await allGone(changed);
  t.pass('gone');
});

void t.test('h2: a request whose next record is changed fails, and the connection ends', async (t) => {
  const changed = await setUp(t);
  const { wire, ca, port, arrived, failed } = changed;
  const session = connectH2(`https://127.0.0.1:${port}`, { ca });
  session.on('error', () => undefined);
  const stream = session.request({ ':method': 'POST', ':path': '/x' });
  stream.on('error', () => undefined).write('abc');
  await arrived;
  wire.plan(flip);
  stream.write('x'.repeat(100));
  t.ok((await failed) instanceof Error);
  await allGone(changed);
});
