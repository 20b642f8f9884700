import type { Fields } from '../core/fields.ts';
import type { Loan } from '../core/flow.ts';
import { requireClosing, SentBody } from './body.ts';
import { EncodedHead } from './frame-head.ts';
import type { BodyHost } from './frame-host.ts';
import type { Feeder, Written } from './frame-output.ts';
import { DATA_BYTES, KIND } from './frames.ts';

/** What `write` takes before it says "wait", and when it says "go on". */
const HIGH_WATER = 256 * 1024;
const LOW_WATER = 128 * 1024;
/** What a piece costs us however small it is: a client may send its content in chunks of one byte. */
const PIECE_BYTES = 512;

interface Pending {
  bytes: Buffer;
  readonly loan: Loan | undefined;
}

/** A body that goes out on a stream. */
export class FrameSent extends SentBody implements Feeder, Written {
  readonly #stream: BodyHost;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #trailers: EncodedHead | undefined;
  #ended = false;
  #inLine = false;
  #full = false;

  constructor(stream: BodyHost) {
    super();
    this.#stream = stream;
  }

  /** All of the body at once, its length announced. */
  whole(bytes: Buffer): void {
    const stream = this.#stream;
    this.#ended = true;
    if (bytes.length <= stream.credit) {
      // Ahead of the bodies under way: small messages are what everybody waits for.
      if (bytes.length > 0) {
        stream.credit -= bytes.length;
        stream.connection.output.data(stream.id, bytes);
      }
      this.#close();
      return;
    }
    this.#add(bytes, undefined);
  }

  override write(chunk: Buffer, loan?: Loan): boolean {
    if (this.#ended) throw new Error('write after the end');
    if (this.settled || !this.#stream.sending) return false;
    if (chunk.length > 0) this.#add(chunk, loan);
    this.#full = this.#waiting >= HIGH_WATER;
    return !this.#full;
  }

  override end(last: Buffer | undefined, trailers: Fields): void {
    if (this.#ended) throw new Error('a body ends once');
    requireClosing(trailers);
    const encoded = EncodedHead.trailers(trailers, this.#stream.connection.accepted);
    this.#trailers = encoded;
    this.#ended = true;
    if (this.settled || !this.#stream.sending) return;
    if (last !== undefined && last.length > 0) this.#add(last, undefined);
    else this.wake();
  }

  override destroy(cause: Error): void {
    if (this.finished) return;
    this.abandon(cause);
    this.#drop();
    this.#stream.abandon(cause);
  }

  /** The receiver wants no more of it, or is gone. */
  broke(cause: Error): void {
    this.#drop();
    this.settle(cause);
  }

  /** Credit came, or something to send: then it is our turn when it comes. */
  wake(): void {
    const due = this.#pending.length > 0 ? this.#stream.credit > 0 : this.#ended;
    if (this.#inLine || !due || this.settled || !this.#stream.sending) return;
    this.#inLine = true;
    this.#stream.connection.output.line(this);
  }

  feed(bytes: number): number {
    this.#inLine = false;
    if (this.settled || !this.#stream.sending) return 0; // broken off: nothing may make it look whole
    const length = this.#sendSome(bytes);
    if (this.#ended && this.#pending.length === 0) this.#close();
    else this.wake();
    if (this.#full && this.#waiting <= LOW_WATER && !this.#ended) {
      this.#full = false;
      this.source?.drain();
    }
    return length;
  }

  get #waiting(): number {
    return this.#pendingBytes + this.#pending.length * PIECE_BYTES;
  }

  #sendSome(bytes: number): number {
    const next = this.#pending[0];
    if (next === undefined) return 0;
    const stream = this.#stream;
    const chunk = next.bytes;
    const length = Math.min(chunk.length, bytes, stream.credit, DATA_BYTES);
    if (length === 0) return 0;
    this.#pendingBytes -= length;
    stream.credit -= length;
    stream.connection.output.data(stream.id, length === chunk.length ? chunk : chunk.subarray(0, length));
    if (length < chunk.length) next.bytes = chunk.subarray(length);
    else {
      this.#pending.shift();
      next.loan?.done(); // the output has a copy
    }
    return length;
  }

  written(): void {
    this.settle('finished');
    this.#stream.finished();
  }

  #add(bytes: Buffer, loan: Loan | undefined): void {
    this.#pending.push({ bytes, loan });
    this.#pendingBytes += bytes.length;
    this.wake();
  }

  #close(): void {
    const { connection, id } = this.#stream;
    if (this.#trailers !== undefined) connection.output.head(KIND.trailers, id, this.#trailers);
    connection.output.whenWritten(this);
    this.#stream.sendingEnded();
  }

  #drop(): void {
    this.#pending = [];
    this.#pendingBytes = 0;
  }
}
