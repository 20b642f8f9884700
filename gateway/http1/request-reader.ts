import { malformed } from './field-line.ts';
import { MessageReader } from './message-reader.ts';
import { RequestLines, type AnswerWishes, type FramedHead, type HeadLimits } from './request-head.ts';

/** Room in the request line for everything that is not the target. */
const LINE_SPARE_BYTES = 64;
/** `ffffffff` and its line end. No client has reason to announce a chunk of more than 4 GiB. */
const CHUNK_SIZE_LINE = /^(?:0|[1-9a-fA-F][0-9a-fA-F]{0,7})$/;
const CHUNK_SIZE_LINE_BYTES = 10;

/** Reads the requests of one client connection. */
export class RequestReader extends MessageReader<FramedHead, RequestLines> {
  constructor(limits: HeadLimits) {
    super({
      lines: () => new RequestLines(limits),
      startLineBytes: limits.targetBytes + LINE_SPARE_BYTES,
      startLineTooLong: 'framing.target_too_long',
      fieldBytes: limits.headerBytes,
      chunkLineBytes: CHUNK_SIZE_LINE_BYTES,
      chunkSize,
    });
  }

  /** Of the head being read, for the answer to a refused one. */
  get wishes(): AnswerWishes {
    return this.lines.wishes;
  }
}

function chunkSize(line: string): number {
  // No extensions (RFC 9112 §7.1.1): a recipient has to ignore them, so nothing we sign could cover them.
  if (!CHUNK_SIZE_LINE.test(line)) throw malformed('chunk size');
  return Number.parseInt(line, 16);
}
