import { isErrno, type StorageFile } from './storage.ts';

/** Of a disk, of the system's memory: direct writes begin and end at a multiple, in the file and in memory. */
const PAGE_BYTES = 4096;
const STAGING_BYTES = 1 << 20;

/** Memory that waits for the next write, of whatever file. */
const spare: Buffer[] = [];

/** All other memory of JavaScript begins where it likes. */
function pages(): Buffer {
  const count = STAGING_BYTES >> 16; // of WebAssembly's own pages, of 64 KiB
  return Buffer.from(new WebAssembly.Memory({ initial: count, maximum: count }).buffer);
}

/**
 * A file that is written from its beginning to its end, past the cache of the system (`O_DIRECT`): what nobody reads soon
 * takes no memory from those who work on this machine, and is not copied into it. Direct writes are of whole pages. So the page
 * in which the last write ended is written again with the next one, the same bytes in the same place; behind a write the rest of
 * its page becomes zeros.
 */
export class ForwardFile implements StorageFile {
  #file: StorageFile;
  /** Until the first write: behind it the file may have another name, and its old name another file. */
  #cached: (() => Promise<StorageFile>) | undefined;
  /** The page in which the last write ended, and where it stands. */
  readonly #page = Buffer.alloc(PAGE_BYTES);
  #pageAt = -1;

  /**
   * @param direct whose writes are of pages
   * @param cached opens the file again by its name, for a file system that takes no direct writes, as the first one tells
   */
  constructor(direct: StorageFile, cached: () => Promise<StorageFile>) {
    this.#file = direct;
    this.#cached = cached;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    const staging = spare.pop() ?? pages();
    try {
      for (let done = 0; done < bytes.length;) {
        const before = (position + done) % PAGE_BYTES;
        const at = position + done - before;
        if (before > 0) await this.#readPage(staging.subarray(0, PAGE_BYTES), at);
        const count = Math.min(bytes.length - done, STAGING_BYTES - before);
        staging.set(bytes.subarray(done, done + count), before);
        const end = Math.ceil((before + count) / PAGE_BYTES) * PAGE_BYTES;
        staging.fill(0, before + count, end);
        await this.#writePages(staging.subarray(0, end), at);
        staging.copy(this.#page, 0, end - PAGE_BYTES, end);
        this.#pageAt = at + end - PAGE_BYTES;
        done += count;
      }
    } finally {
      spare.push(staging);
    }
  }

  async #readPage(into: Buffer, at: number): Promise<void> {
    if (at === this.#pageAt) this.#page.copy(into);
    else into.fill(0, await this.#file.read(into, at));
  }

  async #writePages(bytes: Buffer, at: number): Promise<void> {
    this.#pageAt = -1; // until it is written, nobody knows what stands there
    const cached = this.#cached;
    this.#cached = undefined;
    const direct = this.#file;
    try {
      await direct.write(bytes, at);
    } catch (cause) {
      if (cached === undefined || !isErrno(cause, 'EINVAL')) throw cause;
      this.#file = await cached(); // if that fails, the owner has `direct` to close, once
      await direct.close();
      await this.#file.write(bytes, at);
    }
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return this.#file.read(into, position);
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  truncate(bytes: number): Promise<void> {
    this.#pageAt = -1; // what was cut off does not come back
    return this.#file.truncate(bytes);
  }

  size(): Promise<number> {
    return this.#file.size();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
