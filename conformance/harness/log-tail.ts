import { open, readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { MalformedBytes } from '../../gateway/core/errors.ts';
import { coreOf, forEachFrame, readBlock } from '../../gateway/evidence/block.ts';
import { decodeCore } from '../../gateway/evidence/codec.ts';
import type { CoreRecord } from '../../gateway/evidence/record.ts';
import { firstOfSegment, readSegmentHead } from '../../gateway/evidence/segment.ts';

/** Reads a gateway's signed log while the gateway writes it: the files only, as an auditor would get them. */
export class LogTail {
  readonly #dir: string;
  readonly #records: CoreRecord[] = [];
  #segment: string | undefined;
  /** Behind the last block that was read. */
  #offset = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Everything that is durable now. */
  async records(): Promise<readonly CoreRecord[]> {
    const entries = await readdir(this.#dir, { recursive: true, withFileTypes: true });
    const segments = entries
      .filter(({ name }) => firstOfSegment(name) !== undefined)
      .map(({ parentPath, name }) => join(parentPath, name))
      .toSorted();
    for (const segment of segments) {
      if (this.#segment !== undefined && segment < this.#segment) continue;
      await this.#read(segment);
    }
    return this.#records;
  }

  async #read(segment: string): Promise<void> {
    const file = await open(segment);
    try {
      if (segment !== this.#segment) {
        this.#segment = segment;
        this.#offset = readSegmentHead(await window(file, 0, WINDOW_BYTES)).end;
      }
      for (let size = WINDOW_BYTES; size > 0;) size = this.#blocks(await window(file, this.#offset, size));
    } finally {
      await file.close();
    }
  }

  /** @returns how many bytes to read next; 0 when there is nothing more */
  #blocks(bytes: Buffer): number {
    let at = 0;
    try {
      for (;;) {
        const block = readBlock(bytes, at);
        forEachFrame(block, (frame) => void this.#records.push(decodeCore(coreOf(frame))));
        at += block.length;
      }
    } catch (thrown) {
      // The zeros behind the last block, a block that is being written, or one that reaches out of the window.
      if (!(thrown instanceof MalformedBytes)) throw thrown;
    }
    this.#offset += at;
    if (at > 0) return WINDOW_BYTES;
    const length = bytes.length < 12 ? 0 : bytes.readUInt32BE(8);
    return length > bytes.length && bytes.length === WINDOW_BYTES ? length : 0;
  }
}

const WINDOW_BYTES = 1 << 16;

async function window(file: FileHandle, offset: number, size: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(size), 0, size, offset);
  return buffer.subarray(0, bytesRead);
}
