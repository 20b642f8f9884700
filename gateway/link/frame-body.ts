import { MalformedBytes } from '../core/errors.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import { ReceivedBody, requireClosing, SentBody } from './body.ts';
import { EncodedHead, type HeadLimits } from './frame-head.ts';
import type { Feeder, FrameOutput, Written } from './frame-output.ts';
import { DATA_BYTES, FIRST_CREDIT, KIND } from './frames.ts';

/** Pieces below this are copied together while they wait: a byte must not keep the 16 KiB alive that it came in. */
const SMALL_BYTES = 4 * 1024;
const TAIL_BYTES = 16 * 1024;
/** What `write` takes before it says "wait", and when it says "go on". */
const HIGH_WATER = 128 * 1024;
const LOW_WATER = 64 * 1024;

/** The stream that a body belongs to, and its connection, as far as bodies need them. */
export interface BodyHost {
  readonly id: number;
  /** Bytes of DATA that we may send. */
  credit: number;
  /** Our direction is open. */
  readonly sending: boolean;
  readonly connection: {
    readonly output: FrameOutput;
    /** What the other side takes in a head. */
    readonly accepted: HeadLimits;
    /** Room for a wider window, as much as there is. @returns bytes */
    borrow(): number;
    giveBack(bytes: number): void;
  };
  /** Gives the other side credit. */
  grant(bytes: number): void;
  /** The end of our message is in the output. */
  sendingEnded(): void;
  /** Our whole message was handed over. */
  finished(): void;
  /** We break off. */
  abandon(cause: Error): void;
}

/** A body that comes on a stream. It is complete when its announced length came, or its trailers; by nothing else. */
export class FrameReceived extends ReceivedBody {
  readonly #stream: BodyHost;
  readonly #length: number | undefined;
  readonly #refuse: (cause: Error) => void;
  #waiting: Buffer[] = [];
  #tail: { readonly bytes: Buffer; used: number } | undefined;
  #paused = false;
  #delivering = false;
  /** Bytes that the other side may still send. */
  #credit = FIRST_CREDIT;
  #window = FIRST_CREDIT;
  /** Taken by the sink, and not given back as credit yet. */
  #taken = 0;
  #came = 0;
  #ending: Fields | Error | undefined;

  /**
   * @param length announced; undefined = trailers end it
   * @param refuse what `destroy` does to the stream
   */
  constructor(stream: BodyHost, length: number | undefined, refuse: (cause: Error) => void) {
    super();
    this.#stream = stream;
    this.#length = length;
    this.#refuse = refuse;
    if (length === 0) this.ended(NO_FIELDS);
  }

  /** DATA of so many bytes begins. @throws MalformedBytes when that is more than was allowed or announced */
  expect(bytes: number): void {
    if (bytes > this.#credit) throw new MalformedBytes('more data than there is credit for');
    if (this.#length !== undefined && bytes > this.#length - this.#came) {
      throw new MalformedBytes('more data than announced');
    }
    this.#credit -= bytes;
  }

  /** @returns true when this was the last part of an announced length */
  part(bytes: Buffer): boolean {
    this.#came += bytes.length;
    if (!this.settled) {
      if (this.sink === undefined || this.#paused || this.#waiting.length > 0) this.#keep(bytes);
      else this.#hand(bytes);
    }
    if (this.#came !== this.#length) return false;
    this.ended(NO_FIELDS);
    return true;
  }

  /** @returns true when trailers may end this body */
  get endsWithTrailers(): boolean {
    return this.#length === undefined;
  }

  /** The other side has sent all of it, or trailers that are not acceptable. */
  ended(outcome: Fields | Error): void {
    if (this.#ending !== undefined) return;
    this.#ending = outcome;
    this.#returnWindow();
    if (this.#waiting.length === 0 && !this.#delivering) this.settle(outcome);
  }

  /** The other side broke off, or is gone. What came complete before that stays complete. */
  broke(cause: Error): void {
    if (this.#ending === undefined) this.#giveUp(cause);
  }

  protected override begin(): void {
    if (this.#waiting.length > 0) queueMicrotask(() => this.#deliver());
  }

  override pause(): void {
    this.#paused = true;
  }

  override resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#waiting.length > 0 && this.sink !== undefined) queueMicrotask(() => this.#deliver());
  }

  override destroy(cause: Error): void {
    if (this.complete) return;
    this.#giveUp(cause);
    this.#refuse(cause);
  }

  #giveUp(cause: Error): void {
    this.#waiting = [];
    this.#tail = undefined;
    this.#returnWindow();
    this.settle(cause);
  }

  #hand(bytes: Buffer): void {
    this.sink?.data(bytes);
    if (this.#ending !== undefined || this.settled) return;
    this.#taken += bytes.length;
    // All of a short body is covered by the first credit.
    if (this.#taken < this.#window / 2 || (this.#length !== undefined && this.#length <= FIRST_CREDIT))
      return;
    const wider = this.#window === FIRST_CREDIT ? this.#stream.connection.borrow() : 0;
    this.#stream.grant(this.#taken + wider);
    this.#credit += this.#taken + wider;
    this.#window += wider;
    this.#taken = 0;
  }

  #returnWindow(): void {
    this.#stream.connection.giveBack(this.#window - FIRST_CREDIT);
    this.#window = FIRST_CREDIT;
  }

  #keep(bytes: Buffer): void {
    if (bytes.length >= SMALL_BYTES) {
      this.#tail = undefined;
      this.#waiting.push(bytes);
      return;
    }
    let tail = this.#tail;
    if (tail === undefined || tail.used + bytes.length > TAIL_BYTES) {
      this.#tail = tail = { bytes: Buffer.allocUnsafe(TAIL_BYTES), used: 0 };
    } else this.#waiting.pop(); // it is the beginning of this one
    tail.used += bytes.copy(tail.bytes, tail.used);
    this.#waiting.push(tail.bytes.subarray(0, tail.used));
  }

  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    while (!this.#paused && !this.settled) {
      const bytes = this.#waiting.shift();
      if (bytes === undefined) break;
      if (this.#waiting.length === 0) this.#tail = undefined; // it is the receiver's now
      this.#hand(bytes);
    }
    this.#delivering = false;
    if (this.#ending !== undefined && this.#waiting.length === 0) this.settle(this.#ending);
  }
}

/** A body that goes out on a stream. */
export class FrameSent extends SentBody implements Feeder, Written {
  readonly #stream: BodyHost;
  #pending: Buffer[] = [];
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
    this.#add(bytes);
  }

  override write(chunk: Buffer): boolean {
    if (this.#ended) throw new Error('write after the end');
    if (this.settled || !this.#stream.sending) return false;
    if (chunk.length > 0) this.#add(chunk);
    this.#full = this.#pendingBytes >= HIGH_WATER;
    return !this.#full;
  }

  override end(last: Buffer | undefined, trailers: Fields): void {
    if (this.#ended) throw new Error('a body ends once');
    requireClosing(trailers);
    const encoded = EncodedHead.trailers(trailers, this.#stream.connection.accepted);
    this.#trailers = encoded;
    this.#ended = true;
    if (this.settled || !this.#stream.sending) return;
    if (last !== undefined && last.length > 0) this.#add(last);
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
    if (this.#inLine || !due || !this.#stream.sending) return;
    this.#inLine = true;
    this.#stream.connection.output.line(this);
  }

  feed(bytes: number): number {
    this.#inLine = false;
    if (!this.#stream.sending) return 0;
    const length = this.#sendSome(bytes);
    if (this.#ended && this.#pending.length === 0) this.#close();
    else this.wake();
    if (this.#full && this.#pendingBytes <= LOW_WATER && !this.#ended) {
      this.#full = false;
      this.source?.drain();
    }
    return length;
  }

  #sendSome(bytes: number): number {
    const chunk = this.#pending[0];
    if (chunk === undefined) return 0;
    const stream = this.#stream;
    const length = Math.min(chunk.length, bytes, stream.credit, DATA_BYTES);
    if (length === 0) return 0;
    if (length === chunk.length) this.#pending.shift();
    else this.#pending[0] = chunk.subarray(length);
    this.#pendingBytes -= length;
    stream.credit -= length;
    stream.connection.output.data(stream.id, length === chunk.length ? chunk : chunk.subarray(0, length));
    return length;
  }

  written(): void {
    this.settle('finished');
    this.#stream.finished();
  }

  #add(bytes: Buffer): void {
    this.#pending.push(bytes);
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
