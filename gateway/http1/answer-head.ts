import { lists, malformed, nameOf, trimmed } from './field-line.ts';
import type { Dialect, HeadLines, ReadHead } from './message-reader.ts';

/** The head of an answer (RFC 9112 §4–§6). */
export interface AnswerHead extends ReadHead {
  readonly status: number;
  /** name, value, name, value, … in order; values without the white space around them, one character a byte. */
  readonly rawHeaders: readonly string[];
  /** What Content-Length says, also where no content follows. */
  readonly announced: number | undefined;
  /** False when an answer of this status, or to this method, has no content whatever its fields say. */
  readonly hasContent: boolean;
  /** The connection may carry another request. */
  readonly keeps: boolean;
  /** How long the other side keeps it, if it said so. */
  readonly keepAliveSeconds: number | undefined;
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: |$)/;
/** 15 digits stay exact in a double. */
const CONTENT_LENGTH = /^\d{1,15}$/;

/** What is asked on a connection; its answers are read by it. */
export interface Question {
  /** In capitals. */
  method: string;
}

const STATUS_LINE_BYTES = 1024;
/** Room for the fields of a head, and for trailers. */
const FIELD_BYTES = 16 * 1024;
const CHUNK_LINE_BYTES = 1024;
/** Size, and extensions, which are read over (RFC 9112 §7.1.1): what goes on is framed anew. */
const CHUNK_LINE = /^([0-9a-fA-F]{1,13})(?:;[^]*)?$/;

/** How a service answers; trailers are read over, for nothing covers them. */
export const answerDialect = (question: Question): Dialect<AnswerLines> => ({
  lines: () => new AnswerLines(question),
  startLineBytes: STATUS_LINE_BYTES,
  startLineTooLong: 'framing.malformed',
  fieldBytes: FIELD_BYTES,
  chunkLineBytes: CHUNK_LINE_BYTES,
  chunkSize: (line) => {
    const [, size] = CHUNK_LINE.exec(line) ?? [];
    if (size === undefined) throw malformed('chunk size');
    return Number.parseInt(size, 16);
  },
  trailerBytes: FIELD_BYTES,
});

/** Takes the lines of one answer. */
export class AnswerLines implements HeadLines<AnswerHead> {
  readonly #question: Question;
  readonly #rawHeaders: string[] = [];
  #version = '';
  #status = 0;
  #length: string | undefined;
  #coding: string | undefined;
  #closes = false;
  #keeps = false;
  #keepAlive: string | undefined;

  constructor(question: Question) {
    this.#question = question;
  }

  startLine(line: string): void {
    const [, version, status] = STATUS_LINE.exec(line) ?? [];
    if (version === undefined || status === undefined) throw malformed('status line');
    this.#version = version;
    this.#status = Number(status);
    // Nobody asked for another protocol; what follows would be no HTTP.
    if (this.#status === 101) throw malformed('switches protocols');
  }

  fieldLine(line: string): void {
    const name = nameOf(line);
    const value = trimmed(line, name.length + 1);
    this.#rawHeaders.push(name, value);
    // Names of these lengths only can matter here.
    const { length } = name;
    if (length === 10 || length === 14 || length === 17) this.#note(name.toLowerCase(), value, line);
  }

  #note(name: string, value: string, line: string): void {
    switch (name) {
      case 'content-length':
        if (this.#length !== undefined || !CONTENT_LENGTH.test(value)) throw malformed('Content-Length');
        this.#length = value;
        break;
      case 'transfer-encoding':
        if (this.#coding !== undefined || value.toLowerCase() !== 'chunked')
          throw malformed('Transfer-Encoding is not chunked');
        this.#coding = value;
        break;
      case 'connection':
        this.#closes ||= lists(value, 'close');
        this.#keeps ||= lists(value, 'keep-alive');
        return;
      case 'keep-alive':
        this.#keepAlive = value;
        return;
      default:
        return;
    }
    // Parsers disagree about a tab in a field that says where the message ends.
    if (line.includes('\t')) throw malformed('tab in a field that delimits the message');
  }

  finish(): AnswerHead {
    const [status, old] = [this.#status, this.#version === '0'];
    if (this.#coding !== undefined && (this.#length !== undefined || old))
      throw malformed('Transfer-Encoding beside Content-Length, or of HTTP/1.0');
    const announced = this.#length === undefined ? undefined : Number(this.#length);
    const delimited = this.#coding !== undefined || announced !== undefined;
    const endsWithHead = this.#question.method === 'HEAD' || status < 200 || status === 204 || status === 304;
    const hasContent = !endsWithHead && status !== 205; // RFC 9110 §15.3.6: a 205 has none, yet may say "0 bytes"
    // A body whose end is only the end of the connection may have been cut anywhere: never taken for complete.
    if (hasContent && !delimited) throw malformed('close-delimited body');
    return {
      status,
      rawHeaders: this.#rawHeaders,
      length: endsWithHead || !delimited ? 0 : (announced ?? 'chunked'),
      announced,
      hasContent,
      keeps: !this.#closes && (!old || this.#keeps) && (endsWithHead || delimited),
      keepAliveSeconds: secondsOf(this.#keepAlive),
    };
  }
}

/** `timeout` of a Keep-Alive field (RFC 2068 §19.7.1.1), which servers use to say when they will close. */
function secondsOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const [, seconds] = /(?:^|[,;\s])timeout=(\d{1,6})(?:$|[,;\s])/i.exec(value) ?? [];
  return seconds === undefined ? undefined : Number(seconds);
}
