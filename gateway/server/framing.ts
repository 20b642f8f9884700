import {
  HeadBuilder,
  malformed,
  type AnswerWishes,
  type FramedHead,
  type HeadLimits,
} from './request-head.ts';
import { Denied } from '../core/errors.ts';

/**
 * Reader of the bytes of one client connection: RFC 9112, a strict subset. It is the only reader of them, so there is
 * no second opinion about where a message ends. Pure: bytes in, events out; how they are cut into chunks changes
 * nothing, because every decision is taken at a position in the stream and in the order of the bytes.
 */
export type Framed =
  | { readonly kind: 'head'; readonly head: FramedHead }
  | { readonly kind: 'data'; readonly chunk: Buffer }
  /** The message is complete. Comes for every message, with or without content. */
  | { readonly kind: 'end' };

/** Room in the request line for everything that is not the target. */
const LINE_SPARE_BYTES = 64;
const LF = 0x0a;
const CR = 0x0d;
/** `ffffffff` and its line end. No client has reason to announce a chunk of more than 4 GiB. */
const CHUNK_SIZE_LINE = /^(?:0|[1-9a-fA-F][0-9a-fA-F]{0,7})$/;
const CHUNK_SIZE_LINE_BYTES = 10;
// Control characters other than tab, and a CR with anything behind it but the LF (which is cut off already).
const FORBIDDEN = /[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r[^]/;

const END: Framed = Object.freeze({ kind: 'end' });

type State =
  'request-line' | 'fields' | 'counted' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'last-chunk' | 'end';

export class RequestReader {
  readonly #limits: HeadLimits;
  #input: Buffer = Buffer.alloc(0);
  #offset = 0;
  #state: State = 'request-line';
  #builder: HeadBuilder;
  /** What came of a line whose end did not come yet. Bounded by `#lineRoom`. */
  #partial = '';
  /** How many bytes the lines of the present section may still take. */
  #lineRoom = 0;
  /** Bytes of content to come: of the message when counted, else of the chunk. */
  #remaining = 0;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
    this.#builder = new HeadBuilder(limits);
    this.#lineRoom = limits.targetBytes + LINE_SPARE_BYTES;
  }

  /** Bytes fed and not read yet. */
  get unread(): number {
    return this.#input.length - this.#offset;
  }

  /** True between messages: not a byte of the next request was read. */
  get idle(): boolean {
    return this.#state === 'request-line' && this.#partial === '' && this.unread === 0;
  }

  /** Of the head being read, for the answer to a refused one. */
  get wishes(): AnswerWishes {
    return this.#builder.wishes;
  }

  feed(chunk: Buffer): void {
    this.#input = this.unread === 0 ? chunk : Buffer.concat([this.#input.subarray(this.#offset), chunk]);
    this.#offset = 0;
  }

  /**
   * The next thing the bytes say, or undefined when more bytes are needed. After `end` the next call reads on into the
   * next message, so a caller that wants one request at a time stops calling.
   * @throws Denied framing.*: the reader is of no use after that.
   */
  next(): Framed | undefined {
    for (;;) {
      switch (this.#state) {
        case 'request-line': {
          const line = this.#line('framing.target_too_long');
          if (line === undefined) return undefined;
          this.#builder.requestLine(line);
          this.#lineRoom = this.#limits.headerBytes;
          this.#state = 'fields';
          break;
        }
        case 'fields': {
          const line = this.#line('framing.headers_too_large');
          if (line === undefined) return undefined;
          if (line === '') return this.#head();
          this.#builder.fieldLine(line);
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
          // No extensions (RFC 9112 §7.1.1): a recipient has to ignore them, so nothing we sign could cover them.
          if (!CHUNK_SIZE_LINE.test(line)) throw malformed('chunk size');
          this.#remaining = Number.parseInt(line, 16);
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
          if (this.unread === 0) return undefined;
          // The first byte decides: a line end closes the message, all else would be a trailer field.
          if (this.#partial === '' && this.#input[this.#offset] !== CR)
            throw notATrailer(this.#input[this.#offset]);
          const line = this.#line('framing.malformed');
          if (line === undefined) return undefined;
          this.#state = 'end';
          break;
        }
        case 'end':
          this.#expectRequest();
          return END;
      }
    }
  }

  #head(): Framed {
    const head = this.#builder.finish();
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
    this.#lineRoom = CHUNK_SIZE_LINE_BYTES;
  }

  #expectRequest(): void {
    this.#state = 'request-line';
    this.#builder = new HeadBuilder(this.#limits);
    this.#lineRoom = this.#limits.targetBytes + LINE_SPARE_BYTES;
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

/** A byte that may begin a field name makes it a trailer section; anything else is no HTTP at all. */
function notATrailer(byte: number | undefined): Denied {
  const begins = byte !== undefined && /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(byte));
  return begins ? new Denied('framing.trailer', 'trailer section') : malformed('after the last chunk');
}
