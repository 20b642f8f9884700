import type { Dispatcher, Pool } from 'undici';
import { Unavailable } from '../core/errors.ts';
import { NO_FIELDS } from '../core/fields.ts';
import type { Inflow, Sink } from '../core/flow.ts';
import { BodyOut } from './body-out.ts';
import { contentLength, isChunked, rawHeadersOf, translate } from './answer-head.ts';
import type { ServiceAnswer, ServiceCall, ServiceRequest, ServiceTarget } from './service.ts';

/** RFC 9110 §6.4.1: these answers have no content whatever their header says. */
const bodiless = (method: string, status: number): boolean =>
  method === 'HEAD' || [204, 205, 304].includes(status);

/** One request to the service and its answer, as undici tells of it. */
export class Call implements ServiceCall, Dispatcher.DispatchHandler, Inflow {
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
    this.outflow.close();
    this.#controller?.abort(cause);
    if (this.#controller === undefined) this.#fail(cause); // still queued: onRequestStart aborts it
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#abortedBy !== undefined) controller.abort(this.#abortedBy);
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return; // 1xx are this hop's own business (wire.md §3)
    const rawHeaders = rawHeadersOf(controller);
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
