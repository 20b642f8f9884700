import { Readable } from 'node:stream';
import { Pool, errors, type Dispatcher } from 'undici';
import { Denied, Unavailable, describe } from '../core/errors.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import type { Inflow, Outflow, OutflowEvents, Sink } from '../core/flow.ts';

/** One service of our agency, as configured. */
export interface ServiceTarget {
  /** Scheme, host and port. */
  readonly origin: string;
  /** Path in front of what the client asked for; empty or beginning with a slash, never ending with one. */
  readonly basePath: string;
  /** Longest wait for the head of the answer, and between two pieces of its body. Milliseconds. */
  readonly timeoutMs: number;
  readonly connectMs: number;
  readonly maxConcurrent: number;
  /** PEM of the only authorities accepted for an https service. */
  readonly ca?: string;
}

export interface ServiceRequest {
  readonly method: string;
  /** Raw path and query behind the base path: the very bytes that were authorised. */
  readonly pathAndQuery: string;
  readonly fields: Fields;
  /** `whole` bodies are sent in one piece; a stream without a length is sent chunked. */
  readonly body:
    | { readonly kind: 'whole'; readonly bytes: Buffer }
    | { readonly kind: 'stream'; readonly length?: number };
}

export interface ServiceAnswer {
  readonly status: number;
  /** Header lines as they came: name, value, name, value, … */
  readonly rawHeaders: readonly string[];
  readonly length: number | undefined;
  /** False when the answer cannot have a body (HEAD, 204, 304). */
  readonly hasBody: boolean;
  readonly inflow: Inflow;
}

export interface ServiceCall {
  readonly outflow: Outflow;
  /** @throws Unavailable `service.*` */
  readonly answer: Promise<ServiceAnswer>;
  abort(cause: Error): void;
}

/** The hop to one service: a pool of HTTP/1.1 connections, no redirects, no retries, no caching, no decompression. */
export class ServiceHop {
  readonly #pool: Pool;
  readonly #target: ServiceTarget;
  #running = 0;

  constructor(target: ServiceTarget) {
    this.#target = target;
    this.#pool = new Pool(target.origin, {
      connections: target.maxConcurrent,
      pipelining: 1,
      headersTimeout: target.timeoutMs,
      bodyTimeout: target.timeoutMs,
      connect: {
        timeout: target.connectMs,
        ...(target.ca === undefined ? {} : { ca: target.ca }),
      },
      allowH2: false,
    });
  }

  /** @throws Denied-like Unavailable `service.overloaded` at once when the service has all it may have */
  call(request: ServiceRequest): ServiceCall {
    if (this.#running >= this.#target.maxConcurrent) {
      throw new Unavailable('service.overloaded', `${this.#running} requests in flight`);
    }
    this.#running++;
    const call = new Call(request, this.#target, () => {
      this.#running--;
    });
    call.dispatch(this.#pool);
    return call;
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async destroy(): Promise<void> {
    await this.#pool.destroy();
  }
}

/** RFC 9110 §6.4.1: these answers have no content whatever their header says. */
const bodiless = (method: string, status: number): boolean =>
  method === 'HEAD' || status === 204 || status === 304;

class Call implements ServiceCall, Dispatcher.DispatchHandler, Inflow {
  readonly outflow: BodyOut;
  readonly answer: Promise<ServiceAnswer>;
  readonly #request: ServiceRequest;
  readonly #target: ServiceTarget;
  readonly #done: () => void;
  #resolve!: (answer: ServiceAnswer) => void;
  #reject!: (cause: Error) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #sink: Sink | undefined;
  #abortedBy: Error | undefined;
  #answered = false;
  #finished = false;

  constructor(request: ServiceRequest, target: ServiceTarget, done: () => void) {
    this.#request = request;
    this.#target = target;
    this.#done = done;
    this.outflow = new BodyOut((cause) => {
      this.abort(cause);
    });
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.answer.catch(() => undefined); // whoever awaits it sees the failure; nobody awaiting is no crash
  }

  dispatch(pool: Pool): void {
    const { method, pathAndQuery, fields, body } = this.#request;
    const headers: string[] = [];
    for (const [name, value] of fields) headers.push(name, value);
    const length = body.kind === 'whole' ? body.bytes.length : body.length;
    const empty = body.kind === 'whole' && length === 0;
    if (length !== undefined && (length > 0 || (method !== 'GET' && method !== 'HEAD'))) {
      headers.push('content-length', String(length));
    }
    const path = `${this.#target.basePath}${pathAndQuery}`;
    pool.dispatch(
      {
        method,
        path: path.startsWith('/') ? path : `/${path}`,
        headers,
        body: empty ? null : body.kind === 'whole' ? body.bytes : this.outflow.readable,
        upgrade: null,
      },
      this,
    );
  }

  abort(cause: Error): void {
    this.#abortedBy ??= cause;
    this.outflow.readable.destroy();
    this.#controller?.abort(cause);
    if (this.#controller === undefined) this.#fail(cause); // still queued: onRequestStart aborts it
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#abortedBy !== undefined) controller.abort(this.#abortedBy);
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return; // 1xx are this hop's own business (wire.md §3)
    const rawHeaders = textHeaders(controller);
    const hasBody = !bodiless(this.#request.method, status);
    const length = contentLength(rawHeaders);
    if (status > 599) return this.#refuse(`status ${status}`);
    // A body whose end is only the end of the connection may have been cut anywhere: never signed as complete.
    if (hasBody && length === undefined && !isChunked(rawHeaders))
      return this.#refuse('close-delimited body');
    this.#answered = true;
    controller.pause(); // until somebody takes the body
    this.#resolve({ status, rawHeaders, length, hasBody, inflow: this });
    return undefined;
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#sink?.data(chunk);
  }

  onResponseEnd(): void {
    this.#finish();
    if (this.#answered)
      this.#whenStarted((sink) => {
        sink.end(NO_FIELDS); // trailers of the service are not covered by anything and not forwarded
      });
    else this.#fail(new Unavailable('service.malformed', 'ended without an answer'));
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#fail(this.#abortedBy ?? translate(error, this.#answered));
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.#controller?.resume();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(sink);
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#controller?.resume();
  }

  destroy(cause: Error): void {
    this.abort(cause);
  }

  /** An end or error that came before anybody took the body waits for its taker. */
  #waiting: ((sink: Sink) => void) | undefined;

  #whenStarted(tell: (sink: Sink) => void): void {
    if (this.#sink === undefined) this.#waiting = tell;
    else tell(this.#sink);
  }

  #refuse(why: string): void {
    this.abort(new Unavailable('service.malformed', why));
  }

  #fail(cause: Error): void {
    if (this.#finished) return;
    this.#finish();
    this.outflow.fail(cause);
    if (this.#answered)
      this.#whenStarted((sink) => {
        sink.error(cause);
      });
    else this.#reject(cause);
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#done();
  }
}

/** undici reads request bodies from a Readable; this one is fed by pushes and reports its back-pressure. */
class BodyOut implements Outflow {
  readonly readable: Readable;
  #events: OutflowEvents | undefined;
  #waitingForDrain = false;
  #ended = false;

  constructor(abort: (cause: Error) => void) {
    this.destroy = abort;
    this.readable = new Readable({
      highWaterMark: 256 * 1024,
      read: () => {
        if (!this.#waitingForDrain) return;
        this.#waitingForDrain = false;
        this.#events?.drain();
      },
    });
    this.readable.on('error', () => undefined); // the call's own error path tells everybody
    this.readable.on('end', () => this.#events?.finish());
  }

  readonly destroy: (cause: Error) => void;

  attach(events: OutflowEvents): void {
    this.#events = events;
  }

  write(chunk: Buffer): boolean {
    if (this.readable.push(chunk)) return true;
    this.#waitingForDrain = true;
    return false;
  }

  end(last: Buffer | undefined): void {
    if (this.#ended || this.readable.destroyed) return;
    this.#ended = true;
    if (last !== undefined) this.readable.push(last);
    this.readable.push(null);
  }

  fail(cause: Error): void {
    const events = this.#events;
    this.#events = undefined;
    if (!this.readable.readableEnded) events?.error(cause);
    this.readable.destroy();
  }
}

function textHeaders(controller: Dispatcher.DispatchController): readonly string[] {
  // Bytes as they came; latin1 keeps each byte, so the check for printable ASCII behind this sees what was sent.
  const raw = controller.rawHeaders ?? [];
  const lines: string[] = [];
  if (!Array.isArray(raw)) throw new Unavailable('service.malformed', 'header lines are not readable');
  for (const part of raw) lines.push(typeof part === 'string' ? part : part.toString('latin1'));
  return lines;
}

function header(raw: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]?.toLowerCase() === name) return raw[i + 1];
  return undefined;
}

const isChunked = (raw: readonly string[]): boolean =>
  header(raw, 'transfer-encoding')?.trim().toLowerCase() === 'chunked';

function contentLength(raw: readonly string[]): number | undefined {
  const text = header(raw, 'content-length')?.trim();
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Which of the provider's failures it was: not reachable, too slow, broken off, or no HTTP. */
function translate(error: Error, answered: boolean): Error {
  if (error instanceof Denied || error instanceof Unavailable) return error;
  const detail = describe(error);
  if (error instanceof errors.ConnectTimeoutError)
    return new Unavailable('service.unreachable', detail, { cause: error });
  if (error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError) {
    return new Unavailable('service.timeout', detail, { cause: error });
  }
  if (error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError) {
    return new Unavailable('service.malformed', detail, { cause: error });
  }
  const code = 'code' in error ? error.code : undefined;
  const unreachable = [
    'ECONNREFUSED',
    'ENOTFOUND',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'EAI_AGAIN',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ];
  if (!answered && typeof code === 'string' && (unreachable.includes(code) || code.includes('CERT'))) {
    return new Unavailable('service.unreachable', detail, { cause: error });
  }
  return new Unavailable('service.broken', detail, { cause: error });
}
