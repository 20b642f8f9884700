import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { makeGateways, makePair, PROVIDER, type LinkPair } from '../../conformance/builders/link-pair.ts';
import type { Identity } from '../../pki/authority.ts';

// Connections are few. One peer, or one address before it has proved to be a peer, gets a share of them.

const gateways = await makeGateways();
const other = await gateways.authority.issueLink('gw.c01.tw.troad.example');
const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2));

/** A quarter is 2. */
async function pairOf(t: Test): Promise<LinkPair> {
  const pair = await makePair({
    gateways,
    onArrival: () => undefined,
    server: { limits: { connections: 8, connectMs: 60_000, drainMs: 50 } },
  });
  t.teardown(() => pair.close());
  return pair;
}

/** @returns undefined when it was closed without a greeting */
async function session(port: number, { keyPem: key, chainPem: cert }: Identity, from = '127.0.0.1') {
  const socket: TLSSocket = tls.connect({
    socket: connect({ host: '127.0.0.1', port, localAddress: from }),
    servername: PROVIDER,
    ca: gateways.authority.rootPem,
    key,
    cert,
    ALPNProtocols: ['troad/1'],
  });
  socket.on('error', () => undefined); // shows as the end
  return new Promise<TLSSocket | undefined>((resolve) => {
    socket.once('data', () => resolve(socket));
    socket.once('close', () => resolve(undefined));
  });
}

void t.test('a peer that opens connections without end does not shut out the others', async (t) => {
  const { server, target, events } = await pairOf(t);
  const first = await session(target.port, gateways.consumer);
  const second = await session(target.port, gateways.consumer);
  t.ok(first && second, 'its share');
  t.equal(await session(target.port, gateways.consumer), undefined, 'and no more');
  t.ok(
    events.some((event) => event.kind === 'peer.refused' && /too many/.test(event.cause.message)),
    'which is told',
  );
  const another = await session(target.port, other);
  t.ok(another, 'others have theirs');
  first?.destroy();
  while (server.sessions > 2) await tick();
  const again = await session(target.port, gateways.consumer);
  t.ok(again, 'a place that got free is given again');
  for (const socket of [second, another, again]) socket?.destroy();
});

void t.test('who connects and says nothing does not shut out the others', async (t) => {
  const { target } = await pairOf(t);
  const silent: Socket[] = [];
  const knock = async (): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port: target.port });
    socket.on('error', () => undefined); // shows as the end
    await once(socket, 'connect');
    silent.push(socket);
    return socket;
  };
  await knock();
  await knock();
  const over = (await knock()).resume();
  while (!over.closed) await tick();
  t.pass('one too many is closed at once');
  const peer = await session(target.port, gateways.consumer, '127.0.0.2');
  t.ok(peer, 'another address is heard');
  silent[0]?.destroy();
  // The server may not have seen yet that it left.
  let here: TLSSocket | undefined;
  while (here === undefined) here = await session(target.port, gateways.consumer);
  const second = await session(target.port, other);
  t.ok(second, 'who has proved a key holds no place of strangers');
  for (const socket of [peer, here, second, ...silent]) socket?.destroy();
});
