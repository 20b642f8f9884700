import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { Denied, Unavailable } from '../core/errors.ts';
import type { RequestHead } from '../core/head.ts';
import { linkFields } from '../message/headers.ts';
import { EmptyBody, type ReceivedBody } from './body.ts';
import type { ClientSession, SessionWatcher } from './client-session.ts';
import { asBroken, broken } from './failures.ts';
import {
  appendFields,
  contentFields,
  H1_FRAMING,
  isBodyless,
  needsLength,
  requirePlainFraming,
  requireStatus,
} from './framing.ts';
import { H1Received, H1Sent, isDelimited } from './h1-message.ts';
import type { LinkAnswer, LinkBody, LinkCall, LinkLimits, LinkSession } from './link.ts';
import type { TlsSession } from './tls.ts';

/** Our end of an HTTP/1.1 connection: the fallback for gateways without HTTP/2. One exchange at a time. */
export class H1ClientSession implements ClientSession {
  readonly facts: TlsSession;
  readonly #agent: OneSocketAgent;
  readonly #watcher: SessionWatcher;
  readonly #limits: LinkLimits;
  #call: H1Call | undefined;
  #usable = true;
  #cause: Error | undefined;

  constructor(facts: TlsSession, limits: LinkLimits, watcher: SessionWatcher) {
    this.facts = facts;
    this.#limits = limits;
    this.#watcher = watcher;
    this.#agent = new OneSocketAgent(facts.socket);
    this.#agent.on('free', () => {
      if (this.#call === undefined) return;
      this.#call = undefined;
      if (this.#usable) watcher.onFree();
      else facts.socket.destroy();
    });
    facts.socket.on('error', (cause) => (this.#cause ??= broken('connection', cause)));
    facts.socket.on('close', () => {
      this.#agent.destroy();
      this.#unusable();
      watcher.onClosed();
    });
  }

  get active(): number {
    return this.#call === undefined ? 0 : 1;
  }

  get load(): number {
    return this.active;
  }

  get usable(): boolean {
    return this.#usable;
  }

  get room(): number {
    // Bytes nobody asked for would be read as the start of the next answer.
    return this.#usable && this.#call === undefined && this.facts.socket.readableLength === 0 ? 1 : 0;
  }

  request(head: RequestHead, body: LinkBody): LinkCall {
    const streaming = body.kind === 'stream';
    const flat = appendFields(['Host', head.authority], head.fields);
    if (streaming) flat.push('Transfer-Encoding', 'chunked');
    else if (body.bytes.length > 0 || needsLength(head.method)) {
      flat.push('Content-Length', String(body.bytes.length));
    }
    const request = http.request({
      agent: this.#agent,
      method: head.method,
      path: head.path + head.query,
      headers: flat,
      maxHeaderSize: this.#limits.headBytes,
      insecureHTTPParser: false,
    });
    request.maxHeadersCount = 0; // a count would hide fields instead of refusing them; the size is bounded
    const call = new H1Call(this.facts, request, head.method, streaming, this.#limits.fields);
    this.#call = call;
    request.on('close', () => call.closed(this.#cause));
    if (body.kind === 'whole') request.end(body.bytes.length > 0 ? body.bytes : undefined);
    else request.flushHeaders();
    return call;
  }

  retire(): void {
    this.#unusable();
    if (this.#call === undefined) this.facts.socket.destroy();
  }

  destroy(cause: Error): void {
    this.#cause ??= cause;
    this.#unusable();
    this.facts.socket.destroy();
  }

  #unusable(): void {
    if (!this.#usable) return;
    this.#usable = false;
    this.#watcher.onUnusable(this.#cause);
  }
}

/** Node's agent knows how to hand a connection from one request to the next; this one has a single connection. */
class OneSocketAgent extends http.Agent {
  readonly #socket: TLSSocket;
  #taken = false;

  constructor(socket: TLSSocket) {
    super({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
    this.#socket = socket;
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | undefined {
    if (!this.#taken) {
      this.#taken = true;
      return this.#socket;
    }
    // Throwing here would end the process.
    callback?.(broken('the connection is gone'), this.#socket);
    return undefined;
  }
}

class H1Call implements LinkCall {
  readonly session: LinkSession;
  readonly outflow: H1Sent;
  readonly answer: Promise<LinkAnswer>;
  readonly #request: ClientRequest;
  readonly #maxFields: number;
  #inflow: ReceivedBody | undefined;
  #failure: Error | undefined;
  #resolve!: (answer: LinkAnswer) => void;
  #reject!: (cause: Error) => void;

  constructor(
    session: LinkSession,
    request: ClientRequest,
    method: string,
    streaming: boolean,
    maxFields: number,
  ) {
    this.session = session;
    this.#request = request;
    this.#maxFields = maxFields;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.answer.catch(() => undefined); // whoever waits hears of it; nobody waiting is no crash
    this.outflow = new H1Sent(request, streaming, () => undefined);
    request.on('error', (cause) => (this.#failure ??= cause));
    request.on('upgrade', (_message, socket) => socket.destroy()); // never asked for
    request.on('response', (message) => {
      try {
        this.#onResponse(method, message);
      } catch (cause) {
        request.destroy(asBroken('answer', cause));
      }
    });
  }

  #onResponse(method: string, message: IncomingMessage): void {
    const status = message.statusCode ?? 0;
    const flat = message.rawHeaders;
    if (message.httpVersion !== '1.1') throw broken(`an answer in HTTP/${message.httpVersion}`);
    if (flat.length > this.#maxFields * 2) throw broken(`${flat.length / 2} fields`);
    requireStatus(status);
    requirePlainFraming(flat);
    const fields = linkFields(contentFields(flat, H1_FRAMING));
    if (isBodyless(method, status)) {
      message.resume();
      this.#inflow = new EmptyBody();
    } else {
      if (!isDelimited(flat)) throw broken('an answer whose end cannot be told from a cut');
      this.#inflow = new H1Received(message, (cause) => this.#request.destroy(cause));
    }
    // A complete answer makes the rest of the upload pointless, and the connection unusable without it.
    message.on('end', () => {
      if (!this.outflow.finished) this.#request.destroy(broken('answered before the request was complete'));
    });
    this.#resolve({ head: { status, fields }, inflow: this.#inflow });
  }

  /** The exchange on the connection is over: whatever is open now was broken off. */
  closed(sessionCause: Error | undefined): void {
    if (this.#inflow !== undefined && this.outflow.settled) return; // the usual case: no error to make
    const cause =
      this.#failure instanceof Denied || this.#failure instanceof Unavailable
        ? this.#failure
        : (sessionCause ?? asBroken('the connection was closed', this.#failure));
    this.#reject(cause);
    this.outflow.settle(cause); // the answer's body, when there is one, says itself how it ended
  }

  abort(cause: Error): void {
    if (this.#inflow?.complete === true && this.outflow.finished) return;
    this.#inflow?.settle(cause);
    this.#reject(cause);
    this.#request.destroy(cause);
  }
}
