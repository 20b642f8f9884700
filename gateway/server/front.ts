import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  Server as TlsServer,
  TLSSocket,
  createSecureContext,
} from 'node:tls';
import { constants } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import type { RefusalCode } from '../core/refusals.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../device/binding.ts';
import type { ClientConnection, Consume } from '../exchange/arrival.ts';
import {
  Http1Connection,
  type ConnectionHost,
  type ConnectionLimits,
  type RefusalAnswer,
} from './http1-connection.ts';
import { Http2Connection } from './http2-connection.ts';

export type { RefusalAnswer } from './http1-connection.ts';

export interface FrontLimits extends ConnectionLimits {
  readonly connections: number;
  /** Connections of one address: one client system cannot take the places of all others. */
  readonly connectionsPerAddress: number;
  /** TLS handshake, milliseconds. */
  readonly handshakeMs: number;
}

export const FRONT_LIMITS: FrontLimits = Object.freeze({
  targetBytes: 8000,
  headerBytes: 16 * 1024,
  fields: 100,
  headMs: 10_000,
  idleMs: 65_000,
  lingerMs: 2_000,
  handshakeMs: 10_000,
  connections: 10_000,
  connectionsPerAddress: 2_000,
});

export interface FrontOptions {
  readonly host: string;
  readonly port: number;
  /** Several workers listen on one port. */
  readonly reusePort?: boolean;
  readonly consume: Consume;
  readonly clock: Clock;
  readonly refusalAnswer: RefusalAnswer;
  /** A connection or request was refused before an {@link Arrival} was made of it. */
  readonly onFramingRefusal: (code: RefusalCode, remote: string) => void;
  readonly limits?: Partial<FrontLimits>;
}

export interface FrontTls {
  /** PEM. */
  readonly key: string | Buffer;
  /** PEM, leaf first. */
  readonly cert: string | Buffer;
}

/** What a new secure context has to repeat. */
const TLS_CONTEXT = {
  minVersion: 'TLSv1.2',
  secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
} as const;

/** Whether a listener could show this. @throws Error what TLS says */
export function requireUsable({ key, cert }: FrontTls): void {
  createSecureContext({ ...TLS_CONTEXT, key, cert });
}

/** The listener for the agency's own information systems. */
export class Front {
  readonly #server: Server;
  readonly #limits: FrontLimits;
  readonly #options: FrontOptions;
  /** As accepted: under TLS the ones in a handshake too. */
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Set<Http1Connection | Http2Connection>();
  readonly #perAddress = new Map<string, number>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #host: ConnectionHost;
  #draining = false;

  private constructor(server: Server, options: FrontOptions) {
    this.#server = server;
    this.#options = options;
    this.#limits = { ...FRONT_LIMITS, ...options.limits };
    const isDraining = (): boolean => this.#draining;
    this.#host = {
      ...options,
      limits: this.#limits,
      get draining() {
        return isDraining();
      },
    };
    // One timer for all connections: deadlines are seconds, a tick late does no harm.
    const tick = Math.max(10, Math.min(500, this.#limits.headMs / 4, this.#limits.idleMs / 4));
    this.#sweeper = setInterval(() => this.#sweep(), tick);
    this.#sweeper.unref();
  }

  /** Plain HTTP. Who may use it is decided per subsystem by identity/, from the addresses of both ends. */
  static async http(options: FrontOptions): Promise<Front> {
    const server = createTcpServer({ allowHalfOpen: true, noDelay: true, keepAlive: true });
    const front = new Front(server, options);
    server.on('connection', (socket) => {
      if (front.#admit(socket)) front.#serve(socket, false);
    });
    return front.#listen();
  }

  /**
   * HTTPS, TLS 1.2 or later. A client certificate is asked for and not judged here: TLS proves that the client holds
   * its key, identity/ compares it with the pins of the subsystem. No resumption, so that this proof is of now.
   */
  static async https(options: FrontOptions & FrontTls): Promise<Front> {
    const { key, cert } = options;
    const server = createTlsServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      ...TLS_CONTEXT,
      key,
      cert,
      ALPNProtocols: ['h2', 'http/1.1'],
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: { ...FRONT_LIMITS, ...options.limits }.handshakeMs,
    });
    const front = new Front(server, options);
    server.on('connection', (socket: Socket) => front.#admit(socket)); // before the handshake costs anything
    server.on('secureConnection', (socket) =>
      front.#serve(socket, true, socket.getPeerX509Certificate()?.raw),
    );
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const late = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT';
      options.onFramingRefusal(
        late ? 'framing.timeout' : 'framing.malformed',
        socket.remoteAddress ?? 'unknown',
      );
      socket.destroy();
    });
    return front.#listen();
  }

  get address(): AddressInfo {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return address;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** New connections see the new certificate; running ones keep what they proved. @throws Error and keeps the old one */
  renewCertificate(tls: FrontTls): void {
    if (this.#server instanceof TlsServer)
      this.#server.setSecureContext({ ...TLS_CONTEXT, key: tls.key, cert: tls.cert });
  }

  /** Stops accepting, ends idle connections, and resolves when the last running request was answered. */
  close(): Promise<void> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#connections) connection.drain();
    return closed.finally(() => clearInterval(this.#sweeper));
  }

  /** Breaks what {@link close} is still waiting for. */
  destroy(cause: Error): void {
    for (const connection of this.#connections) connection.break(cause);
    for (const socket of this.#sockets) socket.destroy(); // what is left is in a handshake
  }

  async #listen(): Promise<Front> {
    const { host, port, reusePort = false } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port, reusePort, backlog: 1024 }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    }).catch((cause: unknown) => {
      clearInterval(this.#sweeper);
      throw cause;
    });
    // After this, errors are those of accept (out of descriptors): the listener goes on.
    this.#server.on('error', () => this.#options.onFramingRefusal('gateway.overloaded', 'unknown'));
    return this;
  }

  /** Counts the connection in, or drops it. */
  #admit(socket: Socket): boolean {
    const address = socket.remoteAddress ?? 'unknown';
    const count = (this.#perAddress.get(address) ?? 0) + 1;
    socket.on('error', () => {}); // reported through 'close'; without a listener it would end the process
    if (this.#sockets.size >= this.#limits.connections || count > this.#limits.connectionsPerAddress) {
      this.#options.onFramingRefusal('gateway.overloaded', address);
      socket.destroy();
      return false;
    }
    this.#perAddress.set(address, count);
    this.#sockets.add(socket);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      const left = (this.#perAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#perAddress.delete(address);
      else this.#perAddress.set(address, left);
    });
    return true;
  }

  #serve(socket: Socket, tls: boolean, certificate?: Buffer): void {
    const { remoteAddress = 'unknown', localAddress = 'unknown' } = socket;
    const facts: ClientConnection = {
      tls,
      loopback: isLoopback(remoteAddress) && isLoopback(localAddress),
      remote: remoteAddress,
      ...(certificate === undefined ? {} : { certificate, ...exporterOf(socket) }),
      end: (cause) => connection.break(cause),
      onClosed: (listener) => void socket.once('close', listener),
    };
    const connection =
      protocolOf(socket) === 'h2'
        ? new Http2Connection(socket, facts, this.#host)
        : new Http1Connection(socket, facts, this.#host);
    this.#connections.add(connection);
    socket.on('close', () => this.#connections.delete(connection));
    if (this.#draining) connection.drain();
  }

  #sweep(): void {
    const now = this.#options.clock.monotonic();
    for (const connection of this.#connections) connection.sweep(now);
  }
}

const protocolOf = (socket: Socket): string | false | null =>
  socket instanceof TLSSocket ? socket.alpnProtocol : null;

/** What a device's TPM signs to say that a connection is its own (RFC 9266 §2; unique in TLS 1.3 only, §4.2). */
function exporterOf(socket: Socket): { readonly exporter?: Buffer } {
  if (!(socket instanceof TLSSocket) || socket.getProtocol() !== 'TLSv1.3' || socket.isSessionReused())
    return {};
  return { exporter: socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0)) };
}

const isLoopback = (address: string): boolean => /^(?:::ffff:)?127\.|^::1$/.test(address);
