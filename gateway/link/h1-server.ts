import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Inflow, Outflow } from '../core/flow.ts';
import type { ResponseHead } from '../core/head.ts';
import { EmptyBody, GoneBody, type ReceivedBody } from './body.ts';
import { asBroken, broken } from './failures.ts';
import { appendFields, isBodyless, isChunked, readH1Head, wholeOf } from './framing.ts';
import { GoneNotice } from './gone.ts';
import { H1Received, H1Sent } from './h1-message.ts';
import type { LinkArrival, LinkBody, LinkRawHead } from './link.ts';
import type { ServerSession, ServerSessionOptions } from './server-session.ts';
import type { TlsSession } from './tls.ts';

/** How long an upload whose answer is complete is still read and dropped, so that the answer is not lost to a TCP reset. */
const LINGER_MS = 1000;
/** How long an idle connection still takes a request that may be on its way when the server drains. */
const FAREWELL_MS = 500;

/** Our end of an HTTP/1.1 connection that a consumer's gateway opened. One exchange at a time. */
export class H1ServerSession implements ServerSession {
  readonly facts: TlsSession;
  readonly #options: ServerSessionOptions;
  #running: H1Arrival | undefined;
  #retiring = false;
  #cause: Error | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(facts: TlsSession, server: Server, options: ServerSessionOptions) {
    this.facts = facts;
    this.#options = options;
    const { socket } = facts;
    socket.on('error', (cause) => this.#broke(broken('connection', cause)));
    socket.on('close', () => {
      clearTimeout(this.#idle);
      this.#running?.closed(this.#cause);
      options.onClosed();
    });
    this.#watchIdle();
    server.emit('connection', socket);
  }

  onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const { limits, onArrival, clock } = this.#options;
    request.on('error', () => undefined); // told through `close`
    response.on('error', () => undefined);
    // Pipelining: answers could be swapped, and nobody needs it here.
    if (this.#running !== undefined) return this.destroy(broken('a second request on a busy connection'));
    if (clock.now() >= this.facts.expires)
      return this.destroy(broken('the certificate of the other side has expired'));
    const flat = request.rawHeaders;
    let head: LinkRawHead;
    try {
      if (flat.length > limits.fields * 2) return this.#refuse(response, 431);
      head = readH1Head(request.method ?? '', request.url ?? '', request.httpVersion, flat);
    } catch {
      return this.#refuse(response, 400);
    }
    clearTimeout(this.#idle);
    if (this.#retiring) response.shouldKeepAlive = false;
    const arrival = new H1Arrival(this.facts, request, response, head, expectsContinue);
    this.#running = arrival;
    response.on('close', () => {
      arrival.closed(this.#cause);
      this.#running = undefined;
      this.#watchIdle();
    });
    try {
      onArrival(arrival);
    } catch (cause) {
      arrival.abort(asBroken('arrival', cause));
    }
  }

  #refuse(response: ServerResponse, status: number): void {
    response.sendDate = false;
    response.writeHead(status, { connection: 'close', 'content-length': 0 }).end();
  }

  #watchIdle(): void {
    clearTimeout(this.#idle);
    const { idleMs } = this.#options.limits;
    // While draining a request may be on its way: its answer will carry `Connection: close`, which loses nothing.
    this.#idle = setTimeout(() => this.facts.socket.destroySoon(), this.#retiring ? FAREWELL_MS : idleMs);
    this.#idle.unref();
  }

  #broke(cause: Error): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.#options.onBroken(cause);
  }

  retire(): void {
    if (this.#retiring) return;
    this.#retiring = true;
    if (this.#running === undefined) this.#watchIdle();
    else this.#running.last();
  }

  destroy(cause: Error): void {
    if (this.facts.socket.destroyed) return;
    this.#broke(cause);
    this.facts.socket.destroy();
  }
}

class H1Arrival implements LinkArrival {
  readonly session: TlsSession;
  readonly rawHead: LinkRawHead;
  readonly endsWithHead: boolean;
  readonly inflow: Inflow;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #received: ReceivedBody;
  readonly #gone = new GoneNotice();
  #sent: H1Sent | undefined;
  #answered = false;

  constructor(
    session: TlsSession,
    request: IncomingMessage,
    response: ServerResponse,
    rawHead: LinkRawHead,
    expectsContinue: boolean,
  ) {
    this.session = session;
    this.rawHead = rawHead;
    this.#request = request;
    this.#response = response;
    this.endsWithHead = !isChunked(request.rawHeaders) && (rawHead.length ?? 0) === 0;
    if (this.endsWithHead) {
      request.resume();
      this.#received = new EmptyBody();
    } else {
      this.#received = new H1Received(
        request,
        () => request.pause(), // the answer, or the abort, does the rest
        () => {
          if (expectsContinue && !response.headersSent) response.writeContinue();
        },
      );
    }
    this.inflow = this.#received;
  }

  answer(head: ResponseHead, body: LinkBody): Outflow {
    if (this.#answered) throw new Error('answered twice');
    const bodyless = isBodyless(this.rawHead.method, head.status);
    const whole = wholeOf(body, bodyless);
    const flat = appendFields([], head.fields);
    if (whole === undefined) flat.push('Transfer-Encoding', 'chunked');
    else if (!bodyless || head.status === 205) flat.push('Content-Length', String(whole.length));
    this.#answered = true;
    const response = this.#response;
    if (response.destroyed || response.socket === null) return new GoneBody(broken('the other side left'));
    response.sendDate = false;
    const sent = new H1Sent(response, whole === undefined, () => this.#onAnswered());
    this.#sent = sent;
    response.writeHead(head.status, flat);
    if (whole === undefined) response.flushHeaders();
    else response.end(whole.length > 0 ? whole : undefined);
    return sent;
  }

  /** The connection closes after this exchange. */
  last(): void {
    if (!this.#response.headersSent) this.#response.shouldKeepAlive = false;
  }

  abort(cause: Error): void {
    if (this.#sent?.finished === true) return;
    this.#received.settle(cause);
    this.#response.destroy(cause);
  }

  onGone(listener: (cause: Error) => void): void {
    this.#gone.listen(listener);
  }

  #onAnswered(): void {
    if (this.#received.complete) return;
    this.#received.settle(broken('answered before the request was complete'));
    const { socket } = this.session;
    this.#request.resume();
    const linger = setTimeout(() => socket.destroy(), LINGER_MS);
    linger.unref();
    this.#request.on('end', () => clearTimeout(linger));
  }

  closed(sessionCause: Error | undefined): void {
    if (this.#sent?.finished === true) return;
    const cause = sessionCause ?? broken('the connection was closed');
    this.#received.settle(cause);
    this.#sent?.settle(cause);
    this.#gone.tell(cause);
  }
}

/** The HTTP/1.1 parser of the link: never listens itself, gets checked connections. */
export function createH1Server(
  headBytes: number,
  sessionOf: (request: IncomingMessage) => H1ServerSession | undefined,
): Server {
  const server = http.createServer({
    maxHeaderSize: headBytes,
    insecureHTTPParser: false,
    requireHostHeader: true,
    keepAliveTimeout: 0, // sessions watch their idle time themselves
    requestTimeout: 0, // streams last as long as the exchange lets them
    headersTimeout: 0,
    noDelay: true,
  });
  server.maxHeadersCount = 0; // a count would hide fields instead of refusing them
  server.on('request', (request, response) => sessionOf(request)?.onRequest(request, response, false));
  server.on('checkContinue', (request, response) => sessionOf(request)?.onRequest(request, response, true));
  server.on('checkExpectation', (_request, response) => {
    response.writeHead(417, { connection: 'close', 'content-length': 0 }).end();
  });
  server.on('clientError', (_cause, socket) => socket.destroy());
  server.on('connect', (_request, socket) => socket.destroy());
  return server;
}
