import { Buffer } from 'node:buffer';
import { MalformedBytes } from '../core/errors.ts';
import { NO_FIELDS, type Fields } from '../core/fields.ts';
import type { Loan } from '../core/flow.ts';
import type { Lent } from '../core/lending.ts';
import { ReceivedBody } from './body.ts';
import type { BodyHost } from './frame-host.ts';
import { FIRST_CREDIT } from './frames.ts';

/** Pieces below this are copied together while they wait: a byte must not keep the 16 KiB alive that it came in. */
const SMALL_BYTES = 8 * 1024;
const TAIL_BYTES = 16 * 1024;

/** Bytes that wait for the sink, and what they lie in when that is lent. */
interface Waiting {
  readonly bytes: Buffer;
  readonly loan: Loan | undefined;
}

/** A receiver may take its time: what a part keeps alive is never much more than the part. */
const held = (bytes: Buffer, lent: Lent): Waiting =>
  bytes.length * 4 < lent.bytes.length
    ? { bytes: Buffer.from(bytes), loan: undefined }
    : { bytes, loan: lent.share() };

/** A body that comes on a stream. It is complete when its announced length came, or its trailers; by nothing else. */
export class FrameReceived extends ReceivedBody {
  readonly #stream: BodyHost;
  readonly #length: number | undefined;
  readonly #refuse: (cause: Error) => void;
  #waiting: Waiting[] = [];
  /** A short message is put together here and handed on in one piece, so that it keeps nothing else alive. */
  #whole: Buffer | undefined;
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

  /**
   * @param lent what the bytes lie in
   * @returns true when this was the last part of an announced length
   */
  part(bytes: Buffer, lent: Lent): boolean {
    const at = this.#came;
    this.#came += bytes.length;
    if (!this.settled) {
      if (this.#isShort) this.#collect(bytes, at);
      else if (this.sink === undefined || this.#paused || this.#waiting.length > 0) this.#keep(bytes, lent);
      else this.#hand(held(bytes, lent));
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
    this.#tail = this.#whole = undefined;
    this.#returnWindow();
    this.settle(cause);
  }

  /** All of it is covered by the first credit. */
  get #isShort(): boolean {
    return this.#length !== undefined && this.#length <= FIRST_CREDIT;
  }

  #collect(bytes: Buffer, at: number): void {
    const whole = (this.#whole ??= Buffer.allocUnsafe(this.#length ?? 0));
    bytes.copy(whole, at);
    if (this.#came !== this.#length) return;
    this.#whole = undefined;
    if (this.sink === undefined || this.#paused) this.#waiting.push({ bytes: whole, loan: undefined });
    else this.#hand({ bytes: whole, loan: undefined });
  }

  #hand({ bytes, loan }: Waiting): void {
    const { length } = bytes; // behind `data` they may be somebody else's
    this.sink?.data(bytes, loan);
    if (this.#ending !== undefined || this.settled || this.#isShort) return;
    this.#taken += length;
    if (this.#taken < this.#window / 2) return;
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

  #keep(bytes: Buffer, lent: Lent): void {
    if (bytes.length >= SMALL_BYTES) {
      this.#tail = undefined;
      this.#waiting.push(held(bytes, lent));
      return;
    }
    let tail = this.#tail;
    if (tail === undefined || tail.used + bytes.length > TAIL_BYTES) {
      this.#tail = tail = { bytes: Buffer.allocUnsafe(TAIL_BYTES), used: 0 };
    } else this.#waiting.pop(); // it is the beginning of this one
    tail.used += bytes.copy(tail.bytes, tail.used);
    this.#waiting.push({ bytes: tail.bytes.subarray(0, tail.used), loan: undefined });
  }

  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    while (!this.#paused && !this.settled) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      if (this.#waiting.length === 0) this.#tail = undefined; // it is the receiver's now
      this.#hand(next);
    }
    this.#delivering = false;
    if (this.#ending !== undefined && this.#waiting.length === 0) this.settle(this.#ending);
  }
}
