import { constants, type ServerHttp2Stream } from 'node:http2';
import { Denied } from '../core/errors.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import type { Inflow, Outflow, OutflowEvents, Sink } from '../core/flow.ts';
import type { ResponseHead } from '../core/head.ts';
import type { AnswerBody, Arrival, ClientConnection } from '../exchange/arrival.ts';
import { carriedFields, framingOf, type AnswerFraming } from './http1-answer.ts';
import { gone, incomplete } from './http1-exchange.ts';
import type { FramedHead } from '../http1/request-head.ts';

/** One request of a client system on an HTTP/2 stream, and its answer. */
export class Http2Exchange implements Arrival, Inflow {
  readonly connection: ClientConnection;
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: readonly string[];
  readonly length: number | 'chunked';
  readonly #stream: ServerHttp2Stream;
  readonly #handedOver: () => void;
  readonly #goneListeners: ((cause: Error) => void)[] = [];
  #expectsContinue: boolean;
  #sink: Sink | undefined;
  #flowing = false;
  #requestState: 'incomplete' | 'complete' | 'failed';
  #failure: Error | undefined;
  #answer: Http2Answer | undefined;
  #byUs = false;

  /** @param handedOver an answer was given whole: nobody else looks whether the client takes it */
  constructor(
    connection: ClientConnection,
    head: FramedHead,
    stream: ServerHttp2Stream,
    handedOver: () => void,
  ) {
    this.connection = connection;
    this.method = head.method;
    this.target = head.target;
    this.rawHeaders = head.rawHeaders;
    this.length = head.length;
    this.#expectsContinue = head.expectsContinue && head.length !== 0;
    this.#stream = stream;
    this.#handedOver = handedOver;
    this.#requestState = head.length === 0 ? 'complete' : 'incomplete';
    if (head.length === 0) stream.resume(); // nothing comes, but an end nobody reads keeps the stream open
    stream.on('trailers', () => this.#requestFailed(new Denied('framing.trailer', 'trailer section')));
    stream.on('close', () => this.#closed());
  }

  get inflow(): Inflow {
    return this;
  }

  /** True when the client, not we, broke the exchange off. */
  get brokenByClient(): boolean {
    return !this.#byUs && this.#answer?.finished !== true;
  }

  // —— Inflow ——

  start(sink: Sink): void {
    if (this.#sink !== undefined) throw new Error('inflow started twice');
    this.#sink = sink;
    if (this.#requestState === 'complete') return queueMicrotask(() => sink.end(NO_FIELDS));
    if (this.#requestState === 'failed')
      return queueMicrotask(() => sink.error(this.#failure ?? incomplete()));
    this.#flowing = true;
    const stream = this.#stream;
    const left = stream.destroyed || stream.closed; // then it would throw
    if (this.#expectsContinue && this.#answer === undefined && !left)
      stream.additionalHeaders({ ':status': 100 });
    stream.on('data', (chunk: Buffer) => {
      if (this.#requestState === 'incomplete') sink.data(chunk);
    });
    stream.on('end', () => this.#ended());
  }

  pause(): void {
    if (!this.#flowing || this.#requestState !== 'incomplete') return;
    this.#flowing = false;
    this.#stream.pause();
  }

  resume(): void {
    if (this.#flowing || this.#sink === undefined || this.#requestState !== 'incomplete') return;
    this.#flowing = true;
    this.#stream.resume();
  }

  /** Gives the rest of the request up. An answer may still be given, and it or `abort` must follow. */
  destroy(cause: Error): void {
    if (this.#requestState !== 'incomplete') return;
    const sink = this.#sink;
    this.#requestState = 'failed';
    this.#failure = cause;
    this.#flowing = false;
    this.#stream.pause(); // the window closes
    queueMicrotask(() => sink?.error(cause));
    this.#answered();
  }

  // —— Arrival ——

  answer(head: ResponseHead, body: AnswerBody): Outflow {
    if (this.#answer !== undefined) throw new Error('answered twice');
    const framing = framingOf(this.method, head.status, body);
    const fields = carriedFields(head.fields);
    const answer = new Http2Answer(this.#stream, framing, {
      finished: () => this.#answered(),
      break: (cause) => this.abort(cause),
    });
    this.#answer = answer;
    if (this.#stream.destroyed || this.#stream.closed) answer.fail(gone(this.#failure));
    else {
      answer.begin(head.status, fields, body.kind === 'whole' ? body.bytes : undefined);
      if (body.kind === 'whole') this.#handedOver();
    }
    return answer;
  }

  abort(cause: Error): void {
    if (this.#answer?.finished === true && this.#requestState === 'complete') return;
    this.#byUs = true;
    this.#requestFailed(cause);
    this.#stream.destroy(cause); // RST_STREAM: nobody takes that for an end
  }

  onGone(listener: (cause: Error) => void): void {
    this.#goneListeners.push(listener);
  }

  /** Node's `end` is no proof: a reset without an error code looks the same. While the stream stands, it was END_STREAM. */
  #ended(): void {
    const stream = this.#stream;
    if (stream.closed || stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR) {
      this.#requestFailed(incomplete());
    } else if (this.#requestState === 'incomplete') {
      this.#requestState = 'complete';
      this.#sink?.end(NO_FIELDS);
    }
  }

  #requestFailed(cause: Error): void {
    if (this.#requestState !== 'incomplete') return;
    this.#requestState = 'failed';
    this.#failure = cause;
    this.#sink?.error(cause);
  }

  /** RFC 9113 §8.1: a complete answer, then RST_STREAM(NO_ERROR), asks the client to stop uploading. */
  #answered(): void {
    if (this.#answer?.finished !== true || this.#requestState === 'complete' || this.#flowing) return;
    this.#byUs = true;
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR);
  }

  #closed(): void {
    this.#requestFailed(incomplete());
    if (this.#byUs || this.#answer?.finished === true) return;
    const left = gone();
    this.#answer?.fail(left);
    for (const listener of this.#goneListeners.splice(0)) listener(left);
  }
}

interface AnswerOwner {
  finished(): void;
  break(cause: Error): void;
}

/** The way of one answer's content onto an HTTP/2 stream. */
class Http2Answer implements Outflow {
  readonly #stream: ServerHttp2Stream;
  readonly #framing: AnswerFraming;
  readonly #owner: AnswerOwner;
  #source: OutflowEvents | undefined;
  #owed: number;
  #state: 'open' | 'written' | 'finished' | 'failed' = 'open';
  #failure: Error | undefined;

  constructor(stream: ServerHttp2Stream, framing: AnswerFraming, owner: AnswerOwner) {
    this.#stream = stream;
    this.#framing = framing;
    this.#owner = owner;
    this.#owed = framing.kind === 'counted' ? framing.length : 0;
  }

  get finished(): boolean {
    return this.#state === 'finished';
  }

  begin(status: number, fields: Fields, whole: Buffer | undefined): void {
    const stream = this.#stream;
    const framing = this.#framing;
    const length =
      framing.kind === 'counted' ? framing.length : framing.kind === 'none' ? framing.announced : undefined;
    const flat = [':status', String(status)];
    for (const [name, value] of fields) flat.push(name, value);
    if (length !== undefined) flat.push('content-length', String(length));
    stream.on('drain', () => {
      if (this.#state === 'open') this.#source?.drain();
    });
    stream.on('finish', () => this.#finish());
    const empty = framing.kind === 'none' || whole?.length === 0;
    if (empty) this.#state = 'written';
    // `sendDate` is not in the types: the service's Date passes, or none.
    stream.respond(flat, { endStream: empty, sendDate: false } as object);
    if (empty) this.#finishSoon();
    else if (whole !== undefined) this.end(whole);
  }

  attach(source: OutflowEvents): void {
    this.#source = source;
    if (this.#state === 'finished') queueMicrotask(() => source.finish());
    if (this.#state === 'failed') queueMicrotask(() => source.error(this.#failure ?? gone()));
  }

  write(chunk: Buffer): boolean {
    if (this.#framing.kind === 'none') return true; // HEAD, 204, 304: dropped, the answer is over
    if (this.#state !== 'open' || !this.#take(chunk)) return false;
    return chunk.length === 0 ? !this.#stream.writableNeedDrain : this.#stream.write(chunk);
  }

  end(last: Buffer | undefined, _trailers?: Fields): void {
    if (this.#state !== 'open' || (last !== undefined && !this.#take(last))) return;
    if (this.#owed !== 0) return this.#breakOff(new Error(`answer ${this.#owed} bytes short`));
    this.#state = 'written';
    if (last === undefined || last.length === 0) this.#stream.end();
    else this.#stream.end(last);
  }

  destroy(cause: Error): void {
    if (this.#state !== 'finished') this.#owner.break(cause);
  }

  fail(cause: Error): void {
    if (this.#state === 'finished' || this.#state === 'failed') return;
    this.#state = 'failed';
    this.#failure = cause;
    this.#source?.error(cause);
  }

  #take(chunk: Buffer): boolean {
    if (this.#framing.kind !== 'counted') return true;
    if (chunk.length > this.#owed) {
      this.#breakOff(new Error('more content than announced'));
      return false;
    }
    this.#owed -= chunk.length;
    return true;
  }

  #breakOff(cause: Error): void {
    this.fail(cause);
    this.#owner.break(cause);
  }

  #finishSoon(): void {
    queueMicrotask(() => this.#finish());
  }

  #finish(): void {
    if (this.#state !== 'written') return;
    this.#state = 'finished';
    this.#source?.finish();
    this.#owner.finished();
  }
}
