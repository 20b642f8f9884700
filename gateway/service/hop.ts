import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';
import { Unavailable } from '../core/errors.ts';
import { Call } from './call.ts';
import { Connection, type ConnectionHost, type ReadInto } from './connection.ts';
import { PLAIN_READS, TLS_READS, type ReadMemory } from './read-memory.ts';
import { formatRequest } from './request-head.ts';
import type { ServiceCall, ServiceRequest, ServiceTarget } from './service.ts';

const WRITE_BYTES = 256 * 1024;
const TURN_MS = 1000;
/** How many seconds a connection is kept unused, when the service says nothing about it. */
const KEEP_SECONDS = 4;
/** At most, whatever the service says; and so much earlier than it would close, because a request is then under way. */
const MOST_KEEP_SECONDS = 600;
const EARLIER_SECONDS = 2;

/**
 * The hop to one service: a pool of HTTP/1.1 connections, no redirects, no retries, no caching, no decompression. A
 * request that was sent may have been carried out, so it is never sent again, not even when a kept connection turns
 * out to be closed.
 */
export class ServiceHop implements ConnectionHost {
  readonly timeoutMs: number;
  readonly memory: ReadMemory;
  readonly #target: ServiceTarget;
  readonly #url: URL;
  readonly #tls: SecureContext | undefined;
  readonly #connections = new Set<Connection>();
  /** The one used last is used next, so that a pool shrinks after a burst. */
  readonly #idle: Connection[] = [];
  /** Calls of this turn of the loop. */
  readonly #waiting: Call[] = [];
  #broom: NodeJS.Timeout | undefined;
  #running = 0;
  readonly #callDone = (): void => void (this.#running -= 1);

  constructor(target: ServiceTarget) {
    this.#target = target;
    this.timeoutMs = target.timeoutMs;
    this.#url = new URL(target.origin);
    const secure = this.#url.protocol === 'https:';
    const { ca } = target;
    this.#tls = secure
      ? createSecureContext({ minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) })
      : undefined;
    this.memory = secure ? TLS_READS : PLAIN_READS;
  }

  /** @throws Unavailable `service.overloaded` at once when the service has all it may have */
  call(request: ServiceRequest): ServiceCall {
    if (this.#running >= this.#target.maxConcurrent) {
      throw new Unavailable('service.overloaded', `${this.#running} requests in flight`);
    }
    const call = new Call(
      request,
      formatRequest(request, this.#target.basePath, this.#url.host),
      this.#callDone,
    );
    this.#running += 1;
    if (this.#idle.length === 0) call.carriedBy(this.#connect());
    else this.#whenLookedAt(call);
    return call;
  }

  destroy(): void {
    const cause = new Error('the gateway ends');
    for (const call of this.#waiting) call.abort(cause);
    for (const connection of this.#connections) connection.destroy(cause);
  }

  // —— what connections ask ——

  free(connection: Connection, keepAliveSeconds: number | undefined): boolean {
    const seconds =
      keepAliveSeconds === undefined
        ? KEEP_SECONDS
        : Math.min(keepAliveSeconds - EARLIER_SECONDS, MOST_KEEP_SECONDS);
    if (seconds <= 0) return false;
    connection.idleTurns = seconds;
    this.#idle.push(connection);
    this.#broom ??= setInterval(() => this.#sweep(), TURN_MS).unref();
    return true;
  }

  closed(connection: Connection): void {
    this.#connections.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  /**
   * What a service said on a kept connection without having been asked may lie in the system's memory still, and would
   * be read as the answer to the next question. So the loop looks at the sockets before anything is sent on them.
   */
  #whenLookedAt(call: Call): void {
    if (this.#waiting.push(call) === 1) setImmediate(this.#onTurn);
  }

  readonly #onTurn = (): void => {
    for (const call of this.#waiting.splice(0)) {
      if (!call.over) call.carriedBy(this.#takeIdle() ?? this.#connect());
    }
  };

  #takeIdle(): Connection | undefined {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.usable) return connection;
    }
    return undefined;
  }

  #sweep(): void {
    for (const connection of [...this.#idle]) {
      connection.idleTurns -= 1;
      if (connection.idleTurns <= 0) connection.destroy(new Error('unused for long'));
    }
    if (this.#idle.length > 0) return;
    clearInterval(this.#broom);
    this.#broom = undefined;
  }

  #connect(): Connection {
    const connection = new Connection(this, (onread, established) => this.#open(onread, established));
    this.#connections.add(connection);
    return connection;
  }

  #open(onread: ReadInto, established: () => void): Socket {
    const { hostname, port } = this.#url;
    const host = hostname.replace(/^\[|\]$/g, '');
    const common = { host, onread, noDelay: true, keepAlive: true, writableHighWaterMark: WRITE_BYTES };
    // No session is resumed: Node would not look at the service's name again.
    const socket =
      this.#tls === undefined
        ? connect({ ...common, port: Number(port || 80) })
        : connectTls({
            ...common,
            port: Number(port || 443),
            secureContext: this.#tls,
            ...(isIP(host) === 0 ? { servername: host } : {}),
            ALPNProtocols: ['http/1.1'],
          });
    const late = setTimeout(() => {
      socket.destroy(new Unavailable('service.unreachable', `no connection in ${this.#target.connectMs} ms`));
    }, this.#target.connectMs);
    socket.once(this.#tls === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(late);
      established();
    });
    socket.once('close', () => clearTimeout(late));
    return socket;
  }
}
