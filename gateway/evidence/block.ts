// A commit block: what one sync made durable, all or nothing. Big-endian.
//
//   magic      8   holds a control character, which JSON escapes: it cannot stand inside a record
//   length     4   of the whole block
//   records    4   how many
//   cores      4   length of the core frames
//   parts      4   length of the sealed parts
//   first      8   index of the first record
//   core frames    each: length 4, one zero byte (the leaf prefix, so that a leaf hashes in place), JSON
//   sealed parts   see parts.ts
//   frontier  32   digest of the tree's frontier after the last record
//   crc        4   CRC-32 of all before: tells a torn write. Node has CRC-32 built in and no CRC-32C. Tampering is the
//                  frontier's business
import { crc32 } from 'node:zlib';
import { MalformedBytes } from '../core/errors.ts';
import { HASH_BYTES, LEAF_PREFIX } from '../tlog/hash.ts';
import { Arena, mostBytes, writeInto, type Writable } from './arena.ts';
import { MAX_CORE_BYTES } from './codec.ts';

const MAGIC = Buffer.from('\u001eTRBLK1\n', 'latin1');
const HEAD_BYTES = 32;
const TAIL_BYTES = HASH_BYTES + 4;
const FRAME_BYTES = 5;

export const frameBytes = (coreBytes: number): number => FRAME_BYTES + coreBytes;
export const blockBytes = (framesBytes: number, partsBytes: number): number =>
  HEAD_BYTES + framesBytes + partsBytes + TAIL_BYTES;

/** Writes blocks, one after the other, into the same memory: a block is valid until `clear`. */
export class BlockWriter {
  readonly #arena = new Arena();
  #records = 0;
  /** Where the record ends that was put and not kept. */
  #put = HEAD_BYTES;

  constructor() {
    this.clear();
  }

  get records(): number {
    return this.#records;
  }

  /** Bytes of the records that were kept. */
  get framesBytes(): number {
    return this.#arena.end - HEAD_BYTES;
  }

  clear(): void {
    this.#arena.clear();
    this.#arena.end = HEAD_BYTES;
    this.#records = 0;
  }

  /** Writes a record behind those that were kept. @returns it behind its leaf prefix, as it stands in the block */
  put(core: Writable): Buffer {
    const bytes = this.#arena.reserve(FRAME_BYTES + mostBytes(core));
    const start = this.#arena.end;
    this.#put = writeInto(bytes, start + FRAME_BYTES, core);
    bytes.writeUInt32BE(this.#put - start - FRAME_BYTES, start);
    bytes[start + 4] = LEAF_PREFIX;
    return bytes.subarray(start + 4, this.#put);
  }

  /** Keeps the record that was put last. */
  keep(): void {
    this.#arena.end = this.#put;
    this.#records += 1;
  }

  finish(first: bigint, parts: readonly Buffer[], frontierDigest: Buffer): Buffer {
    const partsBytes = parts.reduce((sum, { length }) => sum + length, 0);
    const framesBytes = this.framesBytes;
    const length = blockBytes(framesBytes, partsBytes);
    const bytes = this.#arena.reserve(length - this.#arena.end);
    bytes.set(MAGIC);
    bytes.writeUInt32BE(length, 8);
    bytes.writeUInt32BE(this.#records, 12);
    bytes.writeUInt32BE(framesBytes, 16);
    bytes.writeUInt32BE(partsBytes, 20);
    bytes.writeBigUInt64BE(first, 24);
    let at = HEAD_BYTES + framesBytes;
    for (const part of parts) at += part.copy(bytes, at);
    frontierDigest.copy(bytes, at);
    bytes.writeUInt32BE(crc32(bytes.subarray(0, length - 4)), length - 4);
    return bytes.subarray(0, length);
  }
}

export interface Block {
  /** Where it stands in its segment. */
  readonly offset: number;
  readonly length: number;
  readonly first: bigint;
  readonly records: number;
  readonly cores: Buffer;
  readonly parts: Buffer;
  readonly frontierDigest: Buffer;
}

/**
 * Reads the block at an offset. Says nothing about the frontier: that takes the tree.
 * @throws MalformedBytes torn or damaged
 */
export function readBlock(bytes: Buffer, offset: number): Block {
  const rest = bytes.length - offset;
  if (rest < HEAD_BYTES + TAIL_BYTES) throw new MalformedBytes('cut off');
  if (!bytes.subarray(offset, offset + MAGIC.length).equals(MAGIC)) throw new MalformedBytes('no block');
  const length = bytes.readUInt32BE(offset + 8);
  if (length < HEAD_BYTES + TAIL_BYTES || length > rest) throw new MalformedBytes('block length is wrong');
  const crcAt = offset + length - 4;
  if (crc32(bytes.subarray(offset, crcAt)) !== bytes.readUInt32BE(crcAt)) {
    throw new MalformedBytes('block checksum is wrong');
  }
  const records = bytes.readUInt32BE(offset + 12);
  const coresBytes = bytes.readUInt32BE(offset + 16);
  const partsBytes = bytes.readUInt32BE(offset + 20);
  if (records === 0 || blockBytes(coresBytes, partsBytes) !== length) {
    throw new MalformedBytes('block lengths disagree');
  }
  const coresAt = offset + HEAD_BYTES;
  const partsAt = coresAt + coresBytes;
  return {
    offset,
    length,
    first: bytes.readBigUInt64BE(offset + 24),
    records,
    cores: bytes.subarray(coresAt, partsAt),
    parts: bytes.subarray(partsAt, partsAt + partsBytes),
    frontierDigest: bytes.subarray(crcAt - HASH_BYTES, crcAt),
  };
}

/**
 * Calls back with every record behind its leaf prefix.
 * @throws MalformedBytes the frames do not fill the block exactly
 */
export function forEachFrame(block: Block, visit: (prefixed: Buffer, number: number) => void): void {
  const { cores } = block;
  let at = 0;
  for (let number = 0; number < block.records; number += 1) {
    if (at + FRAME_BYTES > cores.length) throw new MalformedBytes('record frame is cut off');
    const end = at + FRAME_BYTES + cores.readUInt32BE(at);
    if (end > cores.length || end - at > FRAME_BYTES + MAX_CORE_BYTES) {
      throw new MalformedBytes('record length is wrong');
    }
    visit(cores.subarray(at + 4, end), number);
    at = end;
  }
  if (at !== cores.length) throw new MalformedBytes('bytes between records and parts');
}

/** The record of a frame, without its leaf prefix. */
export const coreOf = (prefixed: Buffer): Buffer => prefixed.subarray(1);

/** Offset of the next whole block at or after the offset, or -1. For telling a torn tail from damage. */
export function findBlock(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(MAGIC, from); at >= 0; at = bytes.indexOf(MAGIC, at + 1)) {
    try {
      readBlock(bytes, at);
      return at;
    } catch {
      // Not this one: a magic whose block was cut off.
    }
  }
  return -1;
}
