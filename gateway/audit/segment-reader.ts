import type { ReadStorage } from './folder.ts';

/** Reads segments into the same memory, one after the other: the system needs three times as long to give fresh memory as to read. */
export class SegmentReader {
  readonly #storage: ReadStorage;
  #memory = Buffer.alloc(0);

  constructor(storage: ReadStorage) {
    this.#storage = storage;
  }

  /** @returns the content, until the next one is read; undefined when there is no such file */
  async read(path: string): Promise<Buffer | undefined> {
    const file = await this.#storage.open(path, 'read').catch(requireMissing);
    if (file === undefined) return undefined;
    try {
      const size = await file.size();
      if (size > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(size);
      // Of a file that is cut meanwhile, what is left: never what the last one left here.
      return this.#memory.subarray(0, await file.read(this.#memory.subarray(0, size), 0));
    } finally {
      await file.close();
    }
  }
}

function requireMissing(cause: unknown): undefined {
  if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) throw cause;
}
