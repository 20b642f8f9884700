import { MalformedBytes } from '../core/errors.ts';

/**
 * Cursor over untrusted bytes, big-endian as all of TPM 2.0 (Part 2 §4.6), with little-endian reads for event logs.
 * It never returns short: a missing byte throws. Nothing is copied.
 */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #offset = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  u8(field: string): number {
    return this.take(1, field).readUInt8();
  }

  u16(field: string): number {
    return this.take(2, field).readUInt16BE();
  }

  u32(field: string): number {
    return this.take(4, field).readUInt32BE();
  }

  u64(field: string): bigint {
    return this.take(8, field).readBigUInt64BE();
  }

  u16le(field: string): number {
    return this.take(2, field).readUInt16LE();
  }

  u32le(field: string): number {
    return this.take(4, field).readUInt32LE();
  }

  /** @throws MalformedBytes when fewer are left */
  take(length: number, field: string): Buffer {
    const end = this.#offset + length;
    if (end > this.#bytes.length) {
      throw this.malformed(`${field} needs ${length} bytes, has ${this.#bytes.length - this.#offset}`);
    }
    const slice = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return slice;
  }

  /** A TPM2B: 16 bits of length, then that many bytes, at most `max`. */
  sized(max: number, field: string): Buffer {
    const length = this.u16(field);
    if (length > max) throw this.malformed(`${field} has ${length} bytes, at most ${max} are possible`);
    return this.take(length, field);
  }

  /** Whatever is left. */
  rest(): Buffer {
    return this.take(this.#bytes.length - this.#offset, 'rest');
  }

  /** Every parser ends here: bytes nobody looked at are an error. @throws MalformedBytes */
  finish(): void {
    if (!this.atEnd) throw this.malformed(`${this.#bytes.length - this.#offset} bytes too many`);
  }

  malformed(problem: string): MalformedBytes {
    return new MalformedBytes(`${this.#what}: ${problem} (at ${this.#offset})`);
  }
}

export function u8(value: number): Buffer {
  return Buffer.of(value);
}

export function u16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

/** A TPM2B. */
export const sized = (bytes: Uint8Array): Buffer => Buffer.concat([u16(bytes.length), bytes]);

/** The number's bytes with zeros before them, as long as the curve or modulus wants them. */
export function leftPad(bytes: Uint8Array, length: number): Buffer {
  const padded = Buffer.alloc(length);
  padded.set(bytes, length - bytes.length);
  return padded;
}
