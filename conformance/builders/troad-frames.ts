/** `troad/1` written by hand from the description in docs/protocol.md, for peers that do not behave. */

export const FRAME = {
  hello: 1,
  head: 2,
  data: 3,
  trailers: 4,
  reset: 5,
  credit: 6,
  ping: 7,
  pong: 8,
  drain: 9,
  bye: 10,
} as const;

export interface Frame {
  readonly kind: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(kind: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(8);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(kind, 3);
  header.writeUInt32BE(stream, 4);
  return Buffer.concat([header, payload]);
}

export function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32BE(value, 4 * i));
  return bytes;
}

export const hello = (streams = 100, headBytes = 32 * 1024, fields = 100): Buffer =>
  frame(FRAME.hello, 0, numbers(streams, headBytes, fields));

type Lines = readonly (readonly [name: string, value: string])[];

/** A field section with every name spelled out. */
function fieldSection(line: string, fields: Lines): Buffer {
  const table = fields.map(([name, value]) =>
    Buffer.from([name.length, value.length >> 8, value.length & 255]),
  );
  const text = line + fields.map(([name, value]) => name + value).join('');
  return Buffer.concat([Buffer.from([fields.length]), ...table, Buffer.from(text, 'latin1')]);
}

/** @param length of the body; -1 = trailers end it */
export function requestHead(
  { method = 'POST', authority = '', path = '/' },
  length: number,
  fields: Lines = [],
): Buffer {
  const lead = Buffer.alloc(12);
  lead.writeBigInt64BE(BigInt(length), 0);
  lead.writeUInt16BE(path.length, 8);
  lead.writeUInt8(method.length, 10);
  lead.writeUInt8(authority.length, 11);
  return Buffer.concat([lead, fieldSection(method + authority + path, fields)]);
}

export function answerHead(status: number, length: number, fields: Lines = []): Buffer {
  const lead = Buffer.alloc(12);
  lead.writeBigInt64BE(BigInt(length), 0);
  lead.writeUInt16BE(status, 8);
  return Buffer.concat([lead, fieldSection('', fields)]);
}

export const trailerSection = (fields: Lines): Buffer => fieldSection('', fields);

/** Puts frames together from what a socket gives. */
export class TroadReader {
  #bytes = Buffer.alloc(0);

  push(chunk: Buffer): Frame[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const frames: Frame[] = [];
    while (this.#bytes.length >= 8 && this.#bytes.length >= 8 + this.#bytes.readUIntBE(0, 3)) {
      const end = 8 + this.#bytes.readUIntBE(0, 3);
      frames.push({
        kind: this.#bytes.readUInt8(3),
        stream: this.#bytes.readUInt32BE(4),
        payload: this.#bytes.subarray(8, end),
      });
      this.#bytes = this.#bytes.subarray(end);
    }
    return frames;
  }
}
