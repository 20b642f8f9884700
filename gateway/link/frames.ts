import { MalformedBytes } from '../core/errors.ts';

/**
 * `troad/1`: binary frames for many exchanges on one TLS connection. Each frame is a header of eight bytes and its
 * payload, all numbers big-endian:
 *
 *     length of the payload (24 bits) | kind (8 bits) | stream (32 bits)
 *
 * The asking side numbers its exchanges 1, 2, 3, …; stream 0 is the connection. There are no flags and no extension
 * points: another version has another ALPN name, and whatever is not written here ends the connection.
 */
export const KIND = {
  /** First frame of each side: exchanges at once, bytes and fields of a head that it accepts (32 bits each). */
  hello: 1,
  /** Head of a request (opens the stream) or of its answer; says how long the body will be. */
  head: 2,
  data: 3,
  /** Ends a body whose length was not announced. */
  trailers: 4,
  /** Breaks a stream off, both ways, with a code. */
  reset: 5,
  /** So many more bytes of DATA may be sent on this stream (32 bits). */
  credit: 6,
  ping: 7,
  pong: 8,
  /** "Ask nothing more here, and close when the last exchange has ended." */
  drain: 9,
  /** The connection ends now; a code says why. */
  bye: 10,
} as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

/** Why a stream or a connection was broken off. */
export const CODE = {
  cancel: 1,
  /** The answer is complete; what is left of the request is not wanted. */
  enough: 2,
  protocol: 3,
  flood: 4,
  gone: 5,
} as const;
export type Code = (typeof CODE)[keyof typeof CODE];

export const HEADER_BYTES = 8;
/** Longest payload of DATA. A receiver hands its parts on as they come, so this bounds no memory, only a turn. */
export const DATA_BYTES = 64 * 1024;
/**
 * What may be sent on a new stream before its receiver says more: everything that is signed whole, so that a small
 * message never waits for credit.
 */
export const FIRST_CREDIT = 64 * 1024;
export const MAX_STREAM = 0x7fff_ffff;

interface Shape {
  readonly min: number;
  /** Undefined: the receiver's own limit of a head. */
  readonly max: number | undefined;
  readonly on: 'stream' | 'connection';
}

const SHAPES: readonly (Shape | undefined)[] = [
  undefined,
  { min: 12, max: 12, on: 'connection' },
  { min: 13, max: undefined, on: 'stream' },
  { min: 1, max: DATA_BYTES, on: 'stream' }, // an empty one would cost the sender nothing and us a turn
  { min: 4, max: undefined, on: 'stream' },
  { min: 4, max: 4, on: 'stream' },
  { min: 4, max: 4, on: 'stream' },
  { min: 8, max: 8, on: 'connection' },
  { min: 8, max: 8, on: 'connection' },
  { min: 0, max: 0, on: 'connection' },
  { min: 4, max: 4, on: 'connection' },
];

/** @returns the offset behind the header */
export function writeHeader(into: Buffer, at: number, kind: Kind, stream: number, length: number): number {
  into.writeUInt32BE(length * 256 + kind, at);
  return into.writeUInt32BE(stream, at + 4);
}

/** What a {@link FrameReader} tells. None of it may throw anything but MalformedBytes. */
export interface FrameEvents {
  /** A frame other than DATA; its payload is `bytes[from, to)` and belongs to whoever is told. */
  frame(kind: Exclude<Kind, typeof KIND.data>, stream: number, bytes: Buffer, from: number, to: number): void;
  /** DATA of so many bytes begins; they follow in one part or more. */
  data(stream: number, length: number): void;
  part(bytes: Buffer): void;
}

/** A frame that began in an earlier chunk. */
interface PartialFrame {
  readonly kind: Kind;
  readonly stream: number;
  readonly bytes: Buffer;
  filled: number;
}

/** Cuts a byte stream into frames. Keeps at most one header and one head; DATA passes through as it came. */
export class FrameReader {
  readonly #events: FrameEvents;
  readonly #maxHead: number;
  readonly #header = Buffer.allocUnsafe(HEADER_BYTES);
  #headerBytes = 0;
  /** Bytes of DATA still to come. */
  #data = 0;
  /** A frame of another kind. */
  #partial: PartialFrame | undefined;
  #stopped = false;

  /** @param maxHead longest payload of HEAD and TRAILERS */
  constructor(events: FrameEvents, maxHead: number) {
    this.#events = events;
    this.#maxHead = maxHead;
  }

  /** Nothing more is told: the connection is given up. */
  stop(): void {
    this.#stopped = true;
  }

  /** @throws MalformedBytes; the rest of the connection is unreadable then */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#data > 0) at = this.#part(chunk, at);
      else if (this.#partial !== undefined) at = this.#fill(this.#partial, chunk, at);
      else if (this.#headerBytes === 0 && chunk.length - at >= HEADER_BYTES)
        at = this.#begin(chunk, at, chunk);
      else at = this.#cutHeader(chunk, at);
    }
  }

  #part(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#data);
    this.#data -= end - at;
    this.#events.part(chunk.subarray(at, end));
    return end;
  }

  #fill(partial: PartialFrame, chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + partial.bytes.length - partial.filled);
    partial.filled += chunk.copy(partial.bytes, partial.filled, at, end);
    if (partial.filled === partial.bytes.length) {
      this.#partial = undefined;
      this.#tell(partial.kind, partial.stream, partial.bytes, 0, partial.bytes.length);
    }
    return end;
  }

  #cutHeader(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + HEADER_BYTES - this.#headerBytes);
    this.#headerBytes += chunk.copy(this.#header, this.#headerBytes, at, end);
    if (this.#headerBytes < HEADER_BYTES) return end;
    this.#headerBytes = 0;
    this.#begin(this.#header, 0, undefined);
    if (this.#partial?.bytes.length === 0) this.#fill(this.#partial, chunk, end);
    return end;
  }

  /**
   * Reads a header and, when all of it is here, its payload.
   * @param whole the chunk the header stands in, when the payload follows there
   * @returns the offset behind what was read
   */
  #begin(header: Buffer, at: number, whole: Buffer | undefined): number {
    const first = header.readUInt32BE(at);
    const stream = header.readUInt32BE(at + 4);
    const length = Math.floor(first / 256);
    const kind = first & 0xff;
    const shape = SHAPES[kind];
    if (shape === undefined) throw new MalformedBytes(`frame of kind ${kind}`);
    if (length < shape.min || length > (shape.max ?? this.#maxHead)) {
      throw new MalformedBytes(`frame of kind ${kind} with ${length} bytes`);
    }
    if (shape.on === 'connection' ? stream !== 0 : stream === 0 || stream > MAX_STREAM) {
      throw new MalformedBytes(`frame of kind ${kind} on stream ${stream}`);
    }
    const from = at + HEADER_BYTES;
    if (kind === KIND.data) {
      this.#data = length;
      this.#events.data(stream, length);
      return from;
    }
    const known = kind as Kind; // has a shape
    if (whole === undefined || whole.length - from < length) {
      this.#partial = { kind: known, stream, bytes: Buffer.allocUnsafe(length), filled: 0 };
      return from;
    }
    this.#tell(known, stream, whole, from, from + length);
    return from + length;
  }

  #tell(kind: Kind, stream: number, bytes: Buffer, from: number, to: number): void {
    if (kind !== KIND.data) this.#events.frame(kind, stream, bytes, from, to);
  }
}
