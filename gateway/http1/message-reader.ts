import { Denied } from '../core/errors.ts';
import { hasControls } from '../core/plain-text.ts';
import { malformed, nameOf } from './field-line.ts';

/** What the head of a message has to say for its content to be found. */
export interface ReadHead {
  readonly length: number | 'chunked';
}

/** Takes the lines of one head. */
export interface HeadLines<Head extends ReadHead> {
  /** Request line or status line. @throws Denied framing.* */
  startLine(line: string): void;
  /** @throws Denied framing.* */
  fieldLine(line: string): void;
  /** @throws Denied framing.* */
  finish(): Head;
}

/** What is different in requests and in answers. */
export interface Dialect<Lines> {
  readonly lines: () => Lines;
  readonly startLineBytes: number;
  readonly startLineTooLong: 'framing.target_too_long' | 'framing.malformed';
  /** All field lines together, with their line ends and the empty line. */
  readonly fieldBytes: number;
  /** Longest line of a chunk's size, with its line end. */
  readonly chunkLineBytes: number;
  /** Size of the chunk. @throws Denied framing.malformed */
  readonly chunkSize: (line: string) => number;
  /** Room for trailers, which are read over; undefined: they are refused. */
  readonly trailerBytes?: number;
}

export type Framed<Head extends ReadHead> =
  | { readonly kind: 'head'; readonly head: Head }
  | { readonly kind: 'data'; readonly chunk: Buffer }
  /** The message is complete. Comes for every message, with or without content. */
  | { readonly kind: 'end' };

const LF = 0x0a;
const CR = 0x0d;
const HEAD_END = Buffer.from('\r\n\r\n');
// Control characters other than tab, and a CR with anything behind it but the LF (which is cut off already).
const FORBIDDEN = /[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r[^]/;

const END = Object.freeze({ kind: 'end' as const });

const NOTHING = Buffer.alloc(0);

type State =
  | 'start-line'
  | 'fields'
  | 'counted'
  | 'chunk-size'
  | 'chunk-data'
  | 'chunk-end'
  | 'last-chunk'
  | 'trailers'
  | 'end';

/**
 * Reader of the messages of one direction of a connection: RFC 9112, a strict subset. It is the only reader of them, so
 * there is no second opinion about where a message ends. Pure: bytes in, events out; how they are cut into chunks
 * changes nothing, because every decision is taken at a position in the stream and in the order of the bytes.
 */
export class MessageReader<Head extends ReadHead, Lines extends HeadLines<Head>> {
  readonly #dialect: Dialect<Lines>;
  #input: Buffer = NOTHING;
  #offset = 0;
  #state: State = 'start-line';
  #lines: Lines;
  /** What came of a line whose end did not come yet. Bounded by `#lineRoom`. */
  #partial = '';
  /** How many bytes the lines of the present section may still take. */
  #lineRoom = 0;
  /** Bytes of content to come: of the message when counted, else of the chunk. */
  #remaining = 0;

  constructor(dialect: Dialect<Lines>) {
    this.#dialect = dialect;
    this.#lines = dialect.lines();
    this.#lineRoom = dialect.startLineBytes;
  }

  /** Bytes fed and not read yet. */
  get unread(): number {
    return this.#input.length - this.#offset;
  }

  /** True when all that is missing of counted content was fed, and not a byte more. */
  get hasRest(): boolean {
    return this.#state === 'counted' && this.unread === this.#remaining;
  }

  /** True between messages: not a byte of the next one was read. */
  get idle(): boolean {
    return this.#state === 'start-line' && this.#partial === '' && this.unread === 0;
  }

  /** Of the head being read. */
  protected get lines(): Lines {
    return this.#lines;
  }

  /**
   * Nothing of what was fed is looked at any more, if all of it was read: its memory may become something else.
   * @returns whether it was
   */
  letGo(): boolean {
    if (this.unread > 0) return false;
    this.#input = NOTHING;
    this.#offset = 0;
    return true;
  }

  feed(chunk: Buffer): void {
    this.#input = this.unread === 0 ? chunk : Buffer.concat([this.#input.subarray(this.#offset), chunk]);
    this.#offset = 0;
  }

  /**
   * The next thing the bytes say, or undefined when more bytes are needed. After `end` the next call reads on into the
   * next message, so a caller that wants one message at a time stops calling.
   * @throws Denied framing.*: the reader is of no use after that.
   */
  next(): Framed<Head> | undefined {
    for (;;) {
      switch (this.#state) {
        case 'start-line': {
          if (this.#wholeHead()) return this.#head();
          const line = this.#line(this.#dialect.startLineTooLong);
          if (line === undefined) return undefined;
          this.#lines.startLine(line);
          this.#lineRoom = this.#dialect.fieldBytes;
          this.#state = 'fields';
          break;
        }
        case 'fields': {
          const line = this.#line('framing.headers_too_large');
          if (line === undefined) return undefined;
          if (line === '') return this.#head();
          this.#lines.fieldLine(line);
          break;
        }
        case 'counted':
        case 'chunk-data': {
          const chunk = this.#content();
          if (chunk === undefined) return undefined;
          return { kind: 'data', chunk };
        }
        case 'chunk-size': {
          const line = this.#line('framing.malformed');
          if (line === undefined) return undefined;
          this.#remaining = this.#dialect.chunkSize(line);
          this.#state = this.#remaining === 0 ? 'last-chunk' : 'chunk-data';
          this.#lineRoom = 2; // of the line end behind the chunk, or of the empty trailer section
          break;
        }
        case 'chunk-end': {
          const line = this.#line('framing.malformed');
          if (line === undefined) return undefined;
          if (line !== '') throw malformed('chunk longer than its size');
          this.#expectChunkSize();
          break;
        }
        case 'last-chunk': {
          if (this.#dialect.trailerBytes !== undefined) {
            this.#lineRoom = this.#dialect.trailerBytes;
            this.#state = 'trailers';
            break;
          }
          if (this.unread === 0) return undefined;
          // The first byte decides: a line end closes the message, all else would be a trailer field.
          if (this.#partial === '' && this.#input[this.#offset] !== CR)
            throw notATrailer(this.#input[this.#offset]);
          const line = this.#line('framing.malformed');
          if (line === undefined) return undefined;
          this.#state = 'end';
          break;
        }
        case 'trailers': {
          const line = this.#line('framing.headers_too_large');
          if (line === undefined) return undefined;
          if (line === '') this.#state = 'end';
          else nameOf(line);
          break;
        }
        case 'end':
          this.#expectMessage();
          return END;
      }
    }
  }

  /**
   * Takes the lines of a head that is here from its first byte to its last: one conversion and one search of the
   * bytes. @returns false when the way line by line has to be taken, which also says what is wrong with the head
   */
  #wholeHead(): boolean {
    if (this.#partial !== '') return false;
    const start = this.#offset;
    const end = this.#input.indexOf(HEAD_END, start);
    if (end < 0 || end - start > this.#dialect.startLineBytes + this.#dialect.fieldBytes) return false;
    const text = this.#input.toString('latin1', start, end + 2);
    const first = text.indexOf('\n') - 1;
    const fieldBytes = text.length - first; // the end of the first line less, the empty line more
    if (first + 2 > this.#dialect.startLineBytes || fieldBytes > this.#dialect.fieldBytes) return false;
    if (text.indexOf('\r') !== first || hasControls(text)) return false;
    this.#offset = end + HEAD_END.length;
    const lines = this.#lines;
    lines.startLine(text.slice(0, first));
    for (let from = first + 2; from < text.length;) {
      const to = endOfLine(text, from);
      lines.fieldLine(text.slice(from, to));
      from = to + 2;
    }
    return true;
  }

  #head(): Framed<Head> {
    const head = this.#lines.finish();
    if (head.length === 'chunked') this.#expectChunkSize();
    else {
      this.#remaining = head.length;
      this.#state = head.length === 0 ? 'end' : 'counted';
    }
    return { kind: 'head', head };
  }

  #content(): Buffer | undefined {
    const available = this.unread;
    if (available === 0) return undefined;
    const start = this.#offset;
    const taken = Math.min(available, this.#remaining);
    this.#offset += taken;
    this.#remaining -= taken;
    if (this.#remaining === 0) this.#state = this.#state === 'counted' ? 'end' : 'chunk-end';
    // The common case of a large upload: the socket's own buffer goes on as it is.
    return taken === this.#input.length ? this.#input : this.#input.subarray(start, start + taken);
  }

  #expectChunkSize(): void {
    this.#state = 'chunk-size';
    this.#lineRoom = this.#dialect.chunkLineBytes;
  }

  #expectMessage(): void {
    this.#state = 'start-line';
    this.#lines = this.#dialect.lines();
    this.#lineRoom = this.#dialect.startLineBytes;
  }

  /** One line without its CRLF, or undefined while its end is not here. @throws Denied `tooLong`, framing.malformed */
  #line(
    tooLong: 'framing.target_too_long' | 'framing.headers_too_large' | 'framing.malformed',
  ): string | undefined {
    const start = this.#offset;
    const limit = Math.min(this.#input.length, start + this.#lineRoom);
    const feed = this.#input.indexOf(LF, start);
    const found = feed >= 0 && feed < limit;
    const end = found ? feed : limit;
    const piece = this.#input.toString('latin1', start, end);
    if (FORBIDDEN.test(piece) || (piece !== '' && this.#partial.endsWith('\r')))
      throw malformed('control character');
    this.#lineRoom -= end - start;
    if (!found) {
      if (this.#input.length > limit) throw new Denied(tooLong, 'line too long');
      this.#partial += piece;
      this.#offset = end;
      return undefined;
    }
    const line = this.#partial + piece;
    this.#partial = '';
    this.#offset = end + 1;
    this.#lineRoom -= 1;
    if (!line.endsWith('\r')) throw malformed('line feed alone');
    return line.slice(0, -1);
  }
}

/** Where the line that begins here ends, in a text that ends with one. @throws Denied framing.malformed */
function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from) - 1;
  const carriage = text.indexOf('\r', from);
  if (carriage === end) return end;
  throw malformed(carriage < end ? 'control character' : 'line feed alone');
}

/** A byte that may begin a field name makes it a trailer section; anything else is no HTTP at all. */
function notATrailer(byte: number | undefined): Denied {
  const begins = byte !== undefined && /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(byte));
  return begins ? new Denied('framing.trailer', 'trailer section') : malformed('after the last chunk');
}
