import { Denied } from '../core/errors.ts';
import { lists, malformed, nameOf, trimmed } from './field-line.ts';
import type { HeadLines, ReadHead } from './message-reader.ts';

/**
 * The head of an HTTP/1.1 request (RFC 9112 §3–§6), read more narrowly than the RFC allows: where two readers could
 * understand two things, there is no request. Nothing is repaired or normalised.
 */
export interface FramedHead extends ReadHead {
  readonly method: string;
  /** Request target as it stood in the request line, one character a byte. */
  readonly target: string;
  /** name, value, name, value, … in order; values without the white space around them, one character a byte. */
  readonly rawHeaders: readonly string[];
  readonly expectsContinue: boolean;
  /** The client will send nothing after this request. */
  readonly closes: boolean;
}

export const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
]);
export const BODYLESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS']);

/** Names that say something here. */
const NOTED = [
  'host',
  'accept',
  'expect',
  'upgrade',
  'connection',
  'content-length',
  'accept-language',
  'transfer-encoding',
] as const;
/** Most names have none of these lengths, and need not be spelled anew to see that they are none of them. */
const NOTED_LENGTHS: ReadonlySet<number> = new Set(NOTED.map(({ length }) => length));

// Bytes above 0x7e pass: the message path refuses them with a code that says "target", and signs that it did.
const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) (HTTP\/\d\.\d)$/;
// One spelling for each length: no sign, no leading zero, no list; 15 digits stay exact in a double.
export const CONTENT_LENGTH = /^(?:0|[1-9]\d{0,14})$/;

export interface HeadLimits {
  readonly targetBytes: number;
  /** All field lines together, with their line ends and the empty line. */
  readonly headerBytes: number;
  readonly fields: number;
}

/** In which form the client would like to read a refusal: fields of the head. */
export interface AnswerWishes {
  readonly accept: string | undefined;
  readonly acceptLanguage: string | undefined;
}

export const NO_WISHES: AnswerWishes = Object.freeze({ accept: undefined, acceptLanguage: undefined });

/**
 * Takes the lines of one head. A line that is not HTTP throws at once. A request that is well spelled but not wanted is
 * noted and thrown at the end of the head, when it is known in which form the client wants the answer.
 */
export class RequestLines implements HeadLines<FramedHead> {
  readonly #limits: HeadLimits;
  readonly #rawHeaders: string[] = [];
  readonly #lengths: string[] = [];
  readonly #codings: string[] = [];
  readonly #expectations: string[] = [];
  #method = '';
  #target = '';
  #unwanted: Denied | undefined;
  #hosts = 0;
  #upgrades = false;
  #closes = false;
  #wishes: AnswerWishes = NO_WISHES;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** As far as they were seen. */
  get wishes(): AnswerWishes {
    return this.#wishes;
  }

  /** @throws Denied framing.malformed */
  startLine(line: string): void {
    const [, method, target, version] = REQUEST_LINE.exec(line) ?? [];
    if (method === undefined || target === undefined) throw malformed('request line');
    this.#method = method;
    this.#target = target;
    if (!METHODS.has(method)) this.#unwanted = new Denied('framing.method', 'method not carried');
    else if (target.length > this.#limits.targetBytes) {
      this.#unwanted = new Denied('framing.target_too_long', `${target.length} bytes`);
    } else if (version !== 'HTTP/1.1') this.#unwanted = new Denied('framing.version', String(version));
  }

  /** @throws Denied framing.malformed, framing.headers_too_large */
  fieldLine(line: string): void {
    const name = nameOf(line);
    const value = trimmed(line, name.length + 1);
    if (this.#rawHeaders.push(name, value) > 2 * this.#limits.fields) {
      throw new Denied('framing.headers_too_large', `more than ${this.#limits.fields} fields`);
    }
    if (NOTED_LENGTHS.has(name.length)) this.#note(name.toLowerCase(), value, line);
  }

  #note(name: string, value: string, line: string): void {
    // Any name of such a length. The type holds list and cases together: one that is only here or only there is refused.
    switch (name as (typeof NOTED)[number]) {
      case 'host':
        this.#hosts += 1;
        break;
      case 'content-length':
        requireNoTab(line);
        this.#lengths.push(value);
        break;
      case 'transfer-encoding':
        requireNoTab(line);
        this.#codings.push(value);
        break;
      case 'expect':
        this.#expectations.push(value);
        break;
      case 'upgrade':
        this.#upgrades = true;
        break;
      case 'accept':
        this.#wishes = { ...this.#wishes, accept: joined(this.#wishes.accept, value) };
        break;
      case 'accept-language':
        this.#wishes = { ...this.#wishes, acceptLanguage: joined(this.#wishes.acceptLanguage, value) };
        break;
      case 'connection':
        this.#closes ||= lists(value, 'close');
        break;
    }
  }

  /** @throws Denied framing.* */
  finish(): FramedHead {
    if (this.#unwanted !== undefined) throw this.#unwanted;
    const length = this.#length();
    // RFC 9112 §3.2 asks for exactly one. Two are left to the message path, which records who sent them.
    if (this.#hosts === 0) throw malformed('no Host');
    // RFC 9110 §7.8 would let us ignore it; a client that believes in the switch would then speak another protocol.
    if (this.#upgrades) throw new Denied('framing.upgrade', 'Upgrade');
    if (length !== 0 && BODYLESS.has(this.#method)) {
      throw new Denied('framing.body_unexpected', `${this.#method} with content`);
    }
    const [expectation, ...more] = this.#expectations;
    if (expectation !== undefined && (more.length > 0 || expectation.toLowerCase() !== '100-continue')) {
      throw new Denied('framing.expectation', 'not 100-continue');
    }
    return {
      method: this.#method,
      target: this.#target,
      rawHeaders: this.#rawHeaders,
      length,
      expectsContinue: expectation !== undefined,
      closes: this.#closes,
    };
  }

  /** RFC 9112 §6.3, without its tolerance for lists, repeated values and other codings. */
  #length(): number | 'chunked' {
    const [coding, ...moreCodings] = this.#codings;
    const [length, ...moreLengths] = this.#lengths;
    if (coding !== undefined) {
      if (moreCodings.length > 0 || coding !== 'chunked') throw malformed('Transfer-Encoding is not chunked');
      if (length !== undefined) throw malformed('Content-Length beside Transfer-Encoding');
      return 'chunked';
    }
    if (length === undefined) return 0;
    if (moreLengths.length > 0 || !CONTENT_LENGTH.test(length)) throw malformed('Content-Length');
    return Number(length);
  }
}

/** Parsers disagree about a tab behind `chunked` (llhttp does not see the coding then). @throws Denied framing.malformed */
function requireNoTab(line: string): void {
  if (line.includes('\t')) throw malformed('tab in a field that delimits the message');
}

const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before}, ${value}`;
