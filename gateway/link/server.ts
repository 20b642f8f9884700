import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import tls from 'node:tls';
import type { AddressInfo, Socket } from 'node:net';
import { broken } from './failures.ts';
import { FrameServerSession } from './frame-server.ts';
import { createH1Server, H1ServerSession } from './h1-server.ts';
import { H2ServerSession } from './h2-server.ts';
import {
  DEFAULT_LIMITS,
  PROTOCOLS,
  type LinkCredentials,
  type LinkLimits,
  type LinkServer,
  type LinkServerOptions,
} from './link.ts';
import { Places } from './places.ts';
import type { ServerSession, ServerSessionOptions } from './server-session.ts';
import { secureContextOptions, TlsSession } from './tls.ts';

/** @throws Error when the credentials are unusable */
export function createLinkServer(options: LinkServerOptions): LinkServer {
  return new TlsLinkServer(options);
}

/** Of the connections there may be, what one key, or one address before it has proved a key, may hold. */
const SHARE = 1 / 4;

class TlsLinkServer implements LinkServer {
  readonly #options: LinkServerOptions;
  readonly #limits: LinkLimits;
  readonly #tls: tls.Server;
  readonly #h1;
  readonly #sessions = new Set<ServerSession>();
  readonly #h1Sessions = new WeakMap<object, H1ServerSession>();
  /** By key: a peer that opens connections without end does not shut out the others. */
  readonly #peers: Places;
  /** By address, while nothing is known but that. */
  readonly #strangers: Places;
  /** Address and port of connections whose handshake is under way. */
  readonly #shaking = new Set<string>();
  #nextId = 0;
  /** What new connections are shown, once it has changed. */
  #leaf: Buffer | undefined;
  #draining = false;
  #whenEmpty: (() => void) | undefined;

  constructor(options: LinkServerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    const { protocols = PROTOCOLS } = options;
    this.#h1 = createH1Server(this.#limits.headBytes, (request) => this.#h1Of(request));
    this.#tls = tls.createServer({
      ...secureContextOptions(options.credentials, options.requireHybrid ?? false),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: [...protocols],
      handshakeTimeout: this.#limits.connectMs,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
    });
    const { connections } = this.#limits;
    this.#peers = new Places(Math.ceil(connections * SHARE));
    this.#strangers = new Places(Math.ceil(connections * SHARE));
    this.#tls.maxConnections = connections;
    this.#tls.on('connection', (socket: Socket) => this.#admit(socket));
    this.#tls.on('secureConnection', (socket) => this.#accept(socket));
    this.#tls.on('tlsClientError', (cause, socket) => this.#refused(socket, cause));
    this.#tls.on('error', () => undefined); // of listen: told through its promise
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  listen(at: {
    readonly host: string;
    readonly port: number;
    readonly reusePort?: boolean;
  }): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#tls.once('error', reject);
      this.#tls.listen({ ...at }, () => {
        this.#tls.off('error', reject);
        resolve((this.#tls.address() as AddressInfo).port); // it is not a pipe
      });
    });
  }

  /** Before the handshake costs anything. */
  #admit(socket: Socket): void {
    const { remoteAddress: address = '?' } = socket;
    if (!this.#strangers.take(address)) {
      this.#refused(socket, broken(`too many handshakes at once from ${address}`));
      socket.destroy();
      return;
    }
    const place = placeOf(socket);
    this.#shaking.add(place);
    socket.once('close', () => this.#shaken(address, place));
  }

  /** It has proved its key, or is gone. */
  #shaken(address: string, place: string): void {
    if (this.#shaking.delete(place)) this.#strangers.leave(address);
  }

  /** The peer is checked here, on every connection, before anything reads a byte of it. */
  #accept(socket: tls.TLSSocket): void {
    const { clock, verifyPeer, onArrival, onEvent, requireHybrid = false } = this.#options;
    // For good: sessions listen too, but not for ever. Of a record that was changed on the way Node only tells.
    socket.on('error', () => socket.destroy());
    this.#shaken(socket.remoteAddress ?? '?', placeOf(socket));
    let facts: TlsSession;
    try {
      facts = new TlsSession(`in-${++this.#nextId}`, socket, 'server', requireHybrid);
      verifyPeer(facts.peerCertificate);
      if (!this.#peers.take(facts.spki)) throw broken('its peer has too many connections');
    } catch (cause) {
      this.#refused(socket, cause instanceof Error ? cause : new Error(String(cause)));
      socket.destroy();
      return;
    }
    const options: ServerSessionOptions = {
      clock,
      limits: this.#limits,
      onArrival,
      onBroken: (cause) => onEvent?.({ kind: 'session.broken', session: facts, cause }),
      onClosed: () => {
        this.#sessions.delete(session);
        this.#peers.leave(facts.spki);
        if (this.#sessions.size === 0) this.#whenEmpty?.();
        onEvent?.({ kind: 'session.closed', session: facts });
      },
    };
    onEvent?.({ kind: 'session.opened', session: facts });
    const session = this.#sessionOn(facts, options);
    this.#sessions.add(session);
    // Its handshake was under way.
    const isOld = this.#leaf !== undefined && socket.getX509Certificate()?.raw.equals(this.#leaf) === false;
    if (this.#draining || isOld) session.retire();
  }

  #sessionOn(facts: TlsSession, options: ServerSessionOptions): ServerSession {
    switch (facts.protocol) {
      case 'troad/1':
        return new FrameServerSession(facts, options);
      case 'h2':
        return new H2ServerSession(facts, options);
      case 'http/1.1':
        return this.#acceptH1(facts, options);
    }
  }

  #acceptH1(facts: TlsSession, options: ServerSessionOptions): ServerSession {
    const session = new H1ServerSession(facts, this.#h1, options);
    this.#h1Sessions.set(facts.socket, session);
    return session;
  }

  #h1Of(request: IncomingMessage): H1ServerSession | undefined {
    const session = this.#h1Sessions.get(request.socket);
    if (session === undefined) request.socket.destroy();
    return session;
  }

  #refused(socket: Socket, cause: Error): void {
    this.#options.onEvent?.({ kind: 'peer.refused', remote: placeOf(socket), cause });
  }

  recheck(): void {
    for (const session of this.#sessions) {
      try {
        this.#options.verifyPeer(session.facts.peerCertificate);
      } catch (cause) {
        session.destroy(cause instanceof Error ? cause : new Error(String(cause)));
      }
    }
  }

  renew(credentials: LinkCredentials): void {
    const context = secureContextOptions(credentials, this.#options.requireHybrid ?? false);
    tls.createSecureContext(context); // throws on half-written files while the old ones still serve
    this.#tls.setSecureContext(context);
    this.#leaf = new X509Certificate(credentials.cert).raw;
    // Before the registry drops the key that they were opened with, and with it all that they carry.
    for (const session of this.#sessions) session.retire();
  }

  async drain(): Promise<void> {
    this.#draining = true;
    // Resolves when the last connection is gone, those included whose handshake is under way.
    const stopped = new Promise<void>((resolve) => this.#tls.close(() => resolve()));
    for (const session of this.#sessions) session.retire();
    const deadline = setTimeout(() => {
      for (const session of this.#sessions) session.destroy(broken('drained'));
    }, this.#limits.drainMs);
    await stopped;
    if (this.#sessions.size > 0) await new Promise<void>((resolve) => (this.#whenEmpty = resolve));
    clearTimeout(deadline);
  }
}

const placeOf = ({ remoteAddress = '?', remotePort = 0 }: Socket): string => `${remoteAddress}:${remotePort}`;
