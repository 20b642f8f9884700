import { MalformedBytes } from '../core/errors.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import { ReceivedBody } from './body.ts';
import type { BodyHost } from './frame-host.ts';
import { FIRST_CREDIT } from './frames.ts';

/** Pieces below this are copied together while they wait: a byte must not keep the 16 KiB alive that it came in. */
const SMALL_BYTES = 4 * 1024;
const TAIL_BYTES = 16 * 1024;

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
