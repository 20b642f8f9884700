import type { Socket } from 'node:net';
import { Unavailable } from '../core/errors.ts';
import { NO_FIELDS } from '../core/fields.ts';
import type { Inflow, Loan, Outflow, Sink } from '../core/flow.ts';
import type { AnswerHead } from '../http1/answer-head.ts';
import { BodyWriter, writeWhole } from '../http1/message-writer.ts';
import type { ServiceAnswer, ServiceCall, ServiceRequest } from './service.ts';

/** What is kept of an answer that nobody has taken yet before the service has to wait. */
const UNTAKEN_BYTES = 64 * 1024;

/** The connection a call is carried on. */
export interface Carrier {
  carry(call: Call): void;
  pause(): void;
  resume(): void;
  destroy(cause: Error): void;
}

/** One request to the service and its answer. */
export class Call implements ServiceCall, Inflow {
  readonly answer: Promise<ServiceAnswer>;
  readonly method: string;
  readonly #request: ServiceRequest;
  readonly #head: string;
  readonly #done: () => void;
  #resolve!: (answer: ServiceAnswer) => void;
  #reject!: (cause: Error) => void;
  #connection: Carrier | undefined;
  /** The body under way; one that goes with its head needs none. */
  readonly #body: BodyWriter | undefined;
  /** Told when the last piece of it was handed to the operating system. */
  #hasAll: (() => void) | undefined;
  #sent = false;
  #answered = false;
  #sink: Sink | undefined;
  #paused = false;
  /** What came before anybody took the body. */
  #untaken: { readonly chunk: Buffer; readonly loan: Loan | undefined }[] = [];
  #untakenBytes = 0;
  #outcome: 'complete' | Error | undefined;

  /**
   * @param head as it goes out
   * @param done told once, when the service is no longer busy with it
   */
  constructor(request: ServiceRequest, head: string, done: () => void) {
    this.method = request.method;
    this.#request = request;
    this.#head = head;
    this.#done = done;
    const { promise, resolve, reject } = Promise.withResolvers<ServiceAnswer>();
    this.answer = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    const { body } = request;
    if (body.kind === 'stream')
      this.#body = new BodyWriter(body.length, {
        written: () => undefined,
        finished: () => this.#hasAll?.(),
        break: (cause) => this.abort(cause),
      });
  }

  get outflow(): Outflow {
    if (this.#body === undefined) throw new Error('the body of this request goes with its head');
    return this.#body;
  }

  abort(cause: Error): void {
    if (this.#outcome !== undefined) return;
    const connection = this.#connection;
    this.failed(cause);
    connection?.destroy(cause);
  }

  // —— what the connection asks and reports ——

  /** Nothing is to be done for it any more. */
  get over(): boolean {
    return this.#outcome !== undefined;
  }

  /** Gets the connection that will carry it. */
  carriedBy(connection: Carrier): void {
    this.#connection = connection;
    connection.carry(this);
  }

  /** The head has left; before that there can be no answer. */
  get sent(): boolean {
    return this.#sent;
  }

  /** @param unwritten bytes that the operating system has not taken yet */
  hasSentAll(unwritten: number): boolean {
    return unwritten === 0 && this.#body?.finished !== false;
  }

  /**
   * Puts the request on an established connection.
   * @param hasAll told when the last piece of a body under way was handed to the operating system
   */
  send(socket: Socket, hasAll: () => void): void {
    this.#sent = true;
    const { body } = this.#request;
    this.#hasAll = hasAll;
    if (body.kind === 'whole') writeWhole(socket, this.#head, body.bytes);
    else this.#body?.begin(socket, this.#head);
  }

  drained(): void {
    this.#body?.drained();
  }

  /** True while the service cannot be blamed for silence. @param answering the head of the answer has come */
  waitsForUs(answering: boolean, unwritten: number): boolean {
    if (answering) return this.#sink === undefined || this.#paused;
    return unwritten === 0 && this.#body?.finished === false;
  }

  /** False: nobody takes what comes now. */
  get wantsMore(): boolean {
    return this.#sink === undefined ? this.#untakenBytes < UNTAKEN_BYTES : !this.#paused;
  }

  answered({ status, rawHeaders, announced, hasContent }: AnswerHead): void {
    this.#answered = true;
    this.#resolve({ status, rawHeaders, length: announced, hasBody: hasContent, inflow: this });
  }

  data(chunk: Buffer, loan?: Loan): void {
    if (this.#outcome !== undefined) return;
    if (this.#sink !== undefined) {
      this.#sink.data(chunk, loan);
      return;
    }
    this.#untaken.push({ chunk, loan });
    this.#untakenBytes += chunk.length;
  }

  completed(): void {
    if (this.#outcome !== undefined) return;
    this.#settle('complete');
    this.#sink?.end(NO_FIELDS); // trailers of the service are not covered by anything and not forwarded
    // What the service did not wait for has no receiver.
    this.#body?.fail(new Unavailable('service.broken', 'answered before it had the whole request'));
  }

  failed(cause: Error): void {
    if (this.#outcome !== undefined) return;
    this.#settle(cause);
    this.#body?.fail(cause);
    if (this.#answered) {
      this.#sink?.error(cause);
      return;
    }
    this.answer.catch(() => undefined); // whoever awaits it sees the failure; nobody awaiting is no crash
    this.#reject(cause);
  }

  #settle(outcome: 'complete' | Error): void {
    this.#outcome = outcome;
    this.#connection = undefined; // it carries somebody else's call soon
    this.#done();
  }

  // —— Inflow ——

  start(sink: Sink): void {
    this.#sink = sink;
    const untaken = this.#untaken;
    this.#untaken = [];
    for (const { chunk, loan } of untaken) sink.data(chunk, loan);
    if (this.#outcome === 'complete') sink.end(NO_FIELDS);
    else if (this.#outcome !== undefined) sink.error(this.#outcome);
    else if (!this.#paused) this.#connection?.resume();
  }

  pause(): void {
    this.#paused = true;
    this.#connection?.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#connection?.resume();
  }

  destroy(cause: Error): void {
    this.abort(cause);
  }
}
