import { MalformedBytes } from '../core/errors.ts';
import type { ReadStorage } from './folder.ts';
import { withFile } from './small-file.ts';

/** Reads segments into the same memory, one after the other: the system needs three times as long to give fresh memory as to read. */
export class SegmentReader {
  readonly #storage: ReadStorage;
  #memory = Buffer.alloc(0);

  constructor(storage: ReadStorage) {
    this.#storage = storage;
  }

  /**
   * @returns the content, until the next one is read; undefined when there is no such file
   * @throws MalformedBytes it is longer than a segment, or cannot be read
   */
  read(path: string): Promise<Buffer | undefined> {
    return withFile(this.#storage, path, async (file) => {
      const size = await file.size();
      if (size > MAX_SEGMENT_BYTES) throw new MalformedBytes(`is ${size} bytes long: no segment is`);
      if (size > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(size);
      // Of a file that is cut meanwhile, what is left: never what the last one left here.
      return this.#memory.subarray(0, await file.read(this.#memory.subarray(0, size), 0));
    });
  }
}

/** Sixteen times what a gateway makes. */
export const MAX_SEGMENT_BYTES = 1 << 30;
