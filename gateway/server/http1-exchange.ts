import type { Socket } from 'node:net';
import { Denied } from '../core/errors.ts';
import { NO_FIELDS } from '../core/fields.ts';
import type { Inflow, Loan, Outflow, Sink } from '../core/flow.ts';
import type { ResponseHead } from '../core/head.ts';
import type { AnswerBody, Arrival, ClientConnection } from '../exchange/arrival.ts';
import { BodyWriter, WRITTEN, writeWhole } from '../http1/message-writer.ts';
import type { FramedHead } from '../http1/request-head.ts';
import { formatHead, framingOf } from './http1-answer.ts';

/** What an exchange asks of the connection it runs on. */
export interface ExchangeHost {
  /** The content may flow: read on. */
  proceed(): void;
  pause(): void;
  /** Takes what is left of the request as far as it is here already. */
  skipPresent(): void;
  /** Whether the connection ends after this answer, whatever the client asked for. */
  readonly closing: boolean;
  answered(): void;
  break(cause: Error): void;
}

/** One request on an HTTP/1.1 connection and its answer. */
export class Http1Exchange implements Arrival, Inflow {
  readonly connection: ClientConnection;
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
  readonly length: number | 'chunked';
  readonly #socket: Socket;
  readonly #host: ExchangeHost;
  readonly #closes: boolean;
  readonly #goneListeners: ((cause: Error) => void)[] = [];
  #expectsContinue: boolean;
  #sink: Sink | undefined;
  #flowing = false;
  #requestState: 'incomplete' | 'complete' | 'failed' = 'incomplete';
  #failure: Error | undefined;
  /** The head of the answer was given. */
  #begun = false;
  /** The way of an answer's content that comes in pieces. */
  #content: BodyWriter | undefined;
  #answered = false;
  #endsConnection = false;
  #released = false;
  #skipped = false;

  constructor(connection: ClientConnection, head: FramedHead, socket: Socket, host: ExchangeHost) {
    this.connection = connection;
    this.method = head.method;
    this.target = head.target;
    this.rawHeaders = head.rawHeaders;
    this.length = head.length;
    this.#expectsContinue = head.expectsContinue && head.length !== 0;
    this.#closes = head.closes;
    this.#socket = socket;
    this.#host = host;
  }

  get inflow(): Inflow {
    return this;
  }

  get answerComplete(): boolean {
    return this.#answered;
  }

  get requestComplete(): boolean {
    return this.#requestState === 'complete';
  }

  /** True while content has somewhere to go. */
  get flowing(): boolean {
    return this.#flowing && this.#requestState === 'incomplete';
  }

  // —— Inflow ——

  start(sink: Sink): void {
    if (this.#sink !== undefined) throw new Error('inflow started twice');
    this.#sink = sink;
    if (this.#skipped) queueMicrotask(() => sink.error(new Error('content was given up with the answer')));
    else if (this.#requestState === 'complete') queueMicrotask(() => sink.end(NO_FIELDS));
    else if (this.#requestState === 'failed') queueMicrotask(() => sink.error(this.#failure ?? gone()));
    else {
      this.#flowing = true;
      if (this.#expectsContinue && !this.#begun)
        this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
      this.#expectsContinue = false;
      this.#host.proceed();
    }
  }

  pause(): void {
    if (!this.#flowing) return;
    this.#flowing = false;
    this.#host.pause();
  }

  resume(): void {
    if (this.#flowing || this.#sink === undefined || this.#requestState !== 'incomplete') return;
    this.#flowing = true;
    this.#host.proceed();
  }

  /** Gives the rest of the request up. An answer may still be given, and it or `abort` must follow; then the connection ends. */
  destroy(cause: Error): void {
    if (this.#requestState !== 'incomplete') return;
    const sink = this.#sink;
    this.#requestState = 'failed';
    this.#failure = cause;
    queueMicrotask(() => sink?.error(cause));
    this.#host.pause();
    this.#host.answered();
  }

  // —— Arrival ——

  answer(head: ResponseHead, body: AnswerBody): Outflow {
    if (this.#begun) throw new Error('answered twice');
    // A client that is sending what nobody will read is told to stop (RFC 9112 §9.6); a small rest is not worth it.
    if (body.kind !== 'stream' && this.#requestState === 'incomplete' && this.#sink === undefined) {
      this.#skipped = true;
      this.#host.skipPresent();
    }
    const abandoned = body.kind !== 'stream' && this.#requestState !== 'complete' && !this.flowing;
    const framing = framingOf(this.method, head.status, body);
    const closes = this.#closes || abandoned || this.#host.closing;
    const text = formatHead(head, framing, closes);
    this.#begun = true;
    this.#endsConnection = closes;
    if (framing.kind === 'none' || body.kind === 'whole') {
      if (this.#socket.destroyed) return WRITTEN; // whoever asked hears of it by `onGone`
      writeWhole(this.#socket, text, framing.kind === 'none' || body.kind !== 'whole' ? NOTHING : body.bytes);
      this.#wasWritten();
      return WRITTEN;
    }
    const content = new BodyWriter(framing.kind === 'counted' ? framing.length : undefined, {
      written: () => this.#wasWritten(),
      finished: () => undefined,
      break: (cause) => this.#break(cause),
    });
    this.#content = content;
    if (this.#socket.destroyed) content.fail(this.#failure ?? gone());
    else content.begin(this.#socket, text);
    return content;
  }

  abort(cause: Error): void {
    this.#break(cause);
  }

  onGone(listener: (cause: Error) => void): void {
    this.#goneListeners.push(listener);
  }

  // —— what the connection reports ——

  /** True when the answer said so, or when nobody knows where the next request would begin. */
  get endsConnection(): boolean {
    return this.#endsConnection || this.#requestState === 'failed';
  }

  /** The connection goes on to the next request: nothing done to this exchange concerns it any more. */
  release(): void {
    this.#released = true;
  }

  data(chunk: Buffer, loan: Loan | undefined): void {
    this.#sink?.data(chunk, loan);
  }

  requestEnded(): void {
    if (this.#requestState !== 'incomplete') return;
    this.#requestState = 'complete';
    this.#sink?.end(NO_FIELDS);
  }

  requestFailed(cause: Error): void {
    if (this.#requestState !== 'incomplete') return;
    this.#requestState = 'failed';
    this.#failure = cause;
    this.#sink?.error(cause);
  }

  drained(): void {
    this.#content?.drained();
  }

  /** The connection is closed. `byUs`: because this exchange asked for it, so nobody needs to be told. */
  closed(cause: Error, byUs: boolean): void {
    // The socket knows only how the connection ended; what that means for each half is said here.
    this.requestFailed(byUs ? cause : incomplete(cause));
    this.#failure ??= cause;
    const left = byUs ? cause : gone(cause);
    this.#content?.fail(left);
    if (byUs || this.#answered) return;
    for (const listener of this.#goneListeners.splice(0)) listener(left);
  }

  #wasWritten(): void {
    this.#answered = true;
    this.#host.answered();
  }

  #break(cause: Error): void {
    if (!this.#released) this.#host.break(cause);
  }
}

const NOTHING = Buffer.alloc(0);

export const gone = (cause?: Error): Denied =>
  new Denied('response.receiver_gone', 'client closed the connection', { cause });

export const incomplete = (cause?: Error): Denied =>
  new Denied('message.incomplete', 'client closed before the end of the content', { cause });
