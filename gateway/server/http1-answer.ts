import { Buffer } from 'node:buffer';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Fields } from '../core/fields.ts';
import type { Loan, Outflow, OutflowEvents } from '../core/flow.ts';
import type { ResponseHead } from '../core/head.ts';
import { requireSingleLine } from '../http1/field-line.ts';
import type { AnswerBody } from '../exchange/arrival.ts';

/** How the end of the content is told (RFC 9112 §6.3). Never by closing: that looks the same as breaking off. */
export type AnswerFraming =
  | { readonly kind: 'none'; readonly announced?: number }
  | { readonly kind: 'counted'; readonly length: number }
  | { readonly kind: 'chunked' };

const COPY_BYTES = 16 * 1024;

/** Fields this hop decides alone. */
const OWN_FIELDS = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export function framingOf(method: string, status: number, body: AnswerBody): AnswerFraming {
  const length = body.kind === 'whole' ? body.bytes.length : body.length;
  if (status === 204) return { kind: 'none' }; // RFC 9110 §8.6: not even a length
  if (method === 'HEAD' || status === 304) {
    return length === undefined ? { kind: 'none' } : { kind: 'none', announced: length };
  }
  if (body.kind === 'none') return { kind: 'none', announced: 0 };
  return length === undefined ? { kind: 'chunked' } : { kind: 'counted', length };
}

/** The fields that go out as they are. @throws Error when one could start another line, in whatever protocol follows */
export function carriedFields(fields: Fields): Fields {
  const carried = fields.filter(([name]) => !OWN_FIELDS.has(name));
  for (const [name, value] of carried) requireSingleLine(name, value);
  return carried;
}

/** Status line and field lines, with the empty line. @throws Error like {@link carriedFields} */
export function formatHead(head: ResponseHead, framing: AnswerFraming, closes: boolean): string {
  let text = `HTTP/1.1 ${head.status} ${STATUS_CODES[head.status] ?? ''}\r\n`;
  for (const [name, value] of head.fields) {
    if (OWN_FIELDS.has(name)) continue;
    requireSingleLine(name, value);
    text += `${name}: ${value}\r\n`;
  }
  if (framing.kind === 'chunked') text += 'transfer-encoding: chunked\r\n';
  if (framing.kind === 'counted') text += `content-length: ${framing.length}\r\n`;
  if (framing.kind === 'none' && framing.announced !== undefined)
    text += `content-length: ${framing.announced}\r\n`;
  return closes ? `${text}connection: close\r\n\r\n` : `${text}\r\n`;
}

/** What an answer tells its connection. */
export interface AnswerOwner {
  /** The last byte was written (not yet handed to the operating system). */
  answered(): void;
  /** Breaks the connection so that the client cannot take it for an end. */
  break(cause: Error): void;
}

/** The way of one answer's content onto the socket. Buffers go out as they came; sizes and ends are ours. */
export class Http1Answer implements Outflow {
  readonly #socket: Socket;
  readonly #owner: AnswerOwner;
  readonly #framing: AnswerFraming;
  #source: OutflowEvents | undefined;
  /** Content bytes still owed, when they are counted. */
  #owed: number;
  #state: 'open' | 'written' | 'finished' | 'failed' = 'open';
  #corked = false;
  #failure: Error | undefined;

  constructor(socket: Socket, owner: AnswerOwner, framing: AnswerFraming) {
    this.#socket = socket;
    this.#owner = owner;
    this.#framing = framing;
    this.#owed = framing.kind === 'counted' ? framing.length : 0;
  }

  /** Sends the head, and with it the content if it is all there. */
  begin(head: string, whole: Buffer | undefined): void {
    if (whole !== undefined && whole.length === this.#owed && whole.length <= COPY_BYTES) {
      this.#together(head, whole);
      return;
    }
    this.#cork();
    this.#socket.write(head, 'latin1');
    if (whole !== undefined || this.#framing.kind === 'none') {
      this.end(this.#framing.kind === 'none' ? undefined : whole);
    }
  }

  /** A small answer: copying it behind its head costs less than a write of two pieces. */
  #together(head: string, whole: Buffer): void {
    const bytes = Buffer.allocUnsafe(head.length + whole.length);
    whole.copy(bytes, bytes.write(head, 'latin1'));
    this.#owed = 0;
    this.#state = 'written';
    this.#socket.write(bytes, (error) => (error ? this.fail(error) : this.#finish()));
    this.#owner.answered();
  }

  attach(source: OutflowEvents): void {
    this.#source = source;
    const state = this.#state;
    if (state === 'finished') queueMicrotask(() => source.finish());
    if (state === 'failed')
      queueMicrotask(() => source.error(this.#failure ?? new Error('answer broken off')));
  }

  write(chunk: Buffer, loan?: Loan): boolean {
    if (this.#framing.kind === 'none') return true; // HEAD, 204, 304: dropped, the answer is over
    if (this.#state !== 'open') return false;
    if (chunk.length === 0) return !this.#socket.writableNeedDrain; // an empty chunk would be the end of a chunked body
    this.#cork();
    return this.#content(chunk, loan === undefined ? undefined : givingBack(loan));
  }

  end(last: Buffer | undefined, _trailers?: Fields): void {
    if (this.#state !== 'open') return;
    this.#cork();
    const written = (error?: Error | null): void => (error ? this.fail(error) : this.#finish());
    const chunked = this.#framing.kind === 'chunked';
    if (last !== undefined && last.length > 0) this.#content(last, chunked ? undefined : written);
    if (this.#state !== 'open') return;
    if (this.#owed !== 0) {
      // Fewer bytes than announced: an end now would leave the client waiting inside the next answer.
      this.#breakOff(new Error(`answer ${this.#owed} bytes short`));
      return;
    }
    this.#state = 'written';
    if (chunked) this.#socket.write('0\r\n\r\n', 'latin1', written);
    else if (last === undefined || last.length === 0) this.#socket.write('', 'latin1', written);
    this.#owner.answered();
  }

  destroy(cause: Error): void {
    if (this.#state === 'finished') return;
    this.#owner.break(cause);
  }

  drained(): void {
    if (this.#state === 'open') this.#source?.drain();
  }

  /** The client is gone. */
  fail(cause: Error): void {
    if (this.#state === 'finished' || this.#state === 'failed') return;
    this.#state = 'failed';
    this.#failure = cause;
    this.#source?.error(cause);
  }

  #finish(): void {
    if (this.#state !== 'written') return;
    this.#state = 'finished';
    this.#source?.finish();
  }

  #breakOff(cause: Error): void {
    this.fail(cause);
    this.#owner.break(cause);
  }

  #content(chunk: Buffer, written: ((error?: Error | null) => void) | undefined): boolean {
    if (this.#framing.kind === 'chunked') {
      this.#socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
      this.#socket.write(chunk, written);
      return this.#socket.write('\r\n', 'latin1');
    }
    if (chunk.length > this.#owed) {
      this.#breakOff(new Error('more content than announced'));
      return false;
    }
    this.#owed -= chunk.length;
    return this.#socket.write(chunk, written);
  }

  /** Whatever is written in this turn of the loop leaves in one system call: head, chunk size, content. */
  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#socket.cork();
    queueMicrotask(() => {
      this.#corked = false;
      this.#socket.uncork();
    });
  }
}

/** After a failure nobody can tell whether the system still reads the bytes. */
const givingBack =
  (loan: Loan) =>
  (error?: Error | null): void => {
    if (error === undefined || error === null) loan.done();
  };
