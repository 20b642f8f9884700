import type { TcpNetConnectOpts } from 'node:net';
import tls from 'node:tls';
import type { Clock } from '../core/clock.ts';
import { Denied, Unavailable, quoted } from '../core/errors.ts';
import type { ClientSession, SessionWatcher } from './client-session.ts';
import { connectFailure } from './failures.ts';
import { FrameClientSession } from './frame-client.ts';
import { H1ClientSession } from './h1-client.ts';
import { H2ClientSession } from './h2-client.ts';
import { LentReads } from './lent-reads.ts';
import type { LinkClientOptions, LinkLimits, LinkTarget } from './link.ts';
import { requireTarget, TlsSession } from './tls.ts';

export interface ConnectOptions {
  readonly clock: Clock;
  readonly context: tls.SecureContext;
  readonly limits: LinkLimits;
  readonly protocols: readonly string[];
  readonly requireHybrid: boolean;
  readonly verifyPeer: LinkClientOptions['verifyPeer'];
  readonly nextId: () => string;
}

/**
 * Opens one session. When it resolves, the other side is the gateway that the registry names, the caller's check has
 * agreed, and the other side has agreed to us. Nothing of any exchange was sent before.
 * @throws Unavailable `link.unreachable` | `link.timeout` | `link.peer_rejected`
 */
export async function connect(
  target: LinkTarget,
  options: ConnectOptions,
  watcher: SessionWatcher,
): Promise<ClientSession> {
  const where = `${quoted(target.name)} at ${quoted(target.host)}:${target.port}`;
  const reads = new LentReads(() => socket);
  const settings: tls.ConnectionOptions & Pick<TcpNetConnectOpts, 'onread'> = {
    host: target.host,
    port: target.port,
    servername: target.name,
    secureContext: options.context,
    ALPNProtocols: [...options.protocols],
    // The name is checked on every connection in requireTarget, exactly: Node's own check knows wildcards.
    checkServerIdentity: () => undefined,
    onread: reads.onread,
  };
  const socket: tls.TLSSocket = tls.connect(settings);
  const deadline = setTimeout(() => {
    socket.destroy(new Unavailable('link.timeout', `${where}: no session in ${options.limits.connectMs} ms`));
  }, options.limits.connectMs);
  // For good: an error after the session's own listeners are gone must not end the process.
  let failure: Error | undefined;
  socket.on('error', (cause) => {
    failure ??= cause;
    socket.destroy(); // of a record that was changed on the way Node only tells
  });
  try {
    await secured(socket, () => failure);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    const facts = new TlsSession(options.nextId(), socket, 'client', options.requireHybrid, reads);
    requireTarget(facts, target);
    if (options.clock.now() >= facts.expires) throw new Denied('peer.certificate', 'expired');
    options.verifyPeer(facts.peerCertificate, target);
    return await sessionOn(facts, options, watcher);
  } catch (cause) {
    socket.destroy();
    throw connectFailure(failure ?? cause, where);
  } finally {
    clearTimeout(deadline);
  }
}

async function sessionOn(
  facts: TlsSession,
  { limits, clock }: ConnectOptions,
  watcher: SessionWatcher,
): Promise<ClientSession> {
  switch (facts.protocol) {
    case 'troad/1':
      return FrameClientSession.open(facts, limits, clock, watcher);
    case 'h2':
      return H2ClientSession.open(facts, limits, clock, watcher);
    case 'http/1.1':
      return new H1ClientSession(facts, limits, watcher);
  }
}

async function secured(socket: tls.TLSSocket, failure: () => Error | undefined): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('close', () => {
      reject(failure() ?? new Unavailable('link.unreachable', 'closed during the handshake'));
    });
  });
}
