import { describe } from '../core/errors.ts';
import { formatSegmentHead, segmentName, type SegmentHead } from './segment.ts';
import type { Storage, StorageFile } from './storage.ts';

const SPARE = 'spare';
const ZEROS = Buffer.alloc(1 << 20);
/** Below this many free inodes or segments of free space, what is left is for the exchanges that run. */
const RESERVE_FILES = 64;
const RESERVE_SEGMENTS = 2;
const RETRY_MS = 1000;

export interface SegmentFilesOptions {
  readonly dir: string;
  readonly storage: Storage;
  readonly segmentBytes: number;
  /** Told when {@link SegmentFiles.shortage} may have changed. */
  readonly changed: () => void;
}

/**
 * The segment being written and the one after it. Space is taken before it is needed: writing zeros ahead makes a
 * commit an overwrite (no journal, no way to run out of space), and the spare segment is the reserve with which running
 * exchanges end when the disk is full.
 */
export class SegmentFiles {
  readonly #options: SegmentFilesOptions;
  #current: StorageFile | undefined;
  #path = '';
  #used = 0;
  #spare: Promise<void>;
  #spareReady = false;
  #shortage: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: SegmentFilesOptions) {
    this.#options = options;
    this.#spare = this.#prepare();
  }

  /** Why there is no spare segment, once that is known. While set, nothing new should begin. */
  get shortage(): string | undefined {
    return this.#spareReady ? undefined : this.#shortage;
  }

  get path(): string {
    return this.#path;
  }

  /** True when a block of that length fits into the present segment. */
  fits(bytes: number): boolean {
    return this.#current !== undefined && this.#used + bytes <= this.#options.segmentBytes;
  }

  /** On disk when it resolves. An error is final: what the file now holds is unknown. */
  async write(block: Buffer): Promise<void> {
    if (this.#current === undefined) throw new Error('no segment is open');
    await this.#current.write(block, this.#used);
    this.#used += block.length;
  }

  /** True when {@link roll} need not wait or fail for want of space. */
  get canRoll(): boolean {
    return this.#spareReady;
  }

  /** Waits for the spare segment that is being prepared; after it, {@link canRoll} tells. */
  async spare(): Promise<void> {
    await this.#spare;
  }

  /** Starts the next segment. Each line says what a restart finds if the power fails right after it. */
  async roll(head: SegmentHead): Promise<void> {
    const { dir, storage } = this.#options;
    await this.#spare;
    if (!this.#spareReady) throw new Error(`no spare segment: ${this.#shortage}`);
    const bytes = fittingHead(head, this.#options.segmentBytes / 4);
    const path = `${dir}/${segmentName(head.frontier.size)}`;
    const next = await storage.open(`${dir}/${SPARE}`, 'forward');
    await next.write(bytes, 0); // a spare with a head: it is zeroed again
    await storage.rename(`${dir}/${SPARE}`, path); // the old state or the next
    await storage.syncDir(dir); // a segment without blocks: it is replaced
    const [old, oldUsed] = [this.#current, this.#used];
    this.#current = next;
    this.#path = path;
    this.#used = bytes.length;
    this.#spareReady = false;
    this.#spare = this.#prepare();
    if (old !== undefined) await retire(old, oldUsed);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#spare;
    if (this.#current !== undefined) await retire(this.#current, this.#used);
    this.#current = undefined;
  }

  async #prepare(): Promise<void> {
    const { dir, storage, segmentBytes, changed } = this.#options;
    try {
      const { bytes, files } = await storage.free(dir);
      if (bytes < segmentBytes * (1 + RESERVE_SEGMENTS)) throw new Error(`${bytes} bytes free on the disk`);
      if (files < RESERVE_FILES) throw new Error(`${files} inodes free on the disk`);
      const file = await storage.open(`${dir}/${SPARE}`, 'forward');
      try {
        await file.truncate(Math.min(await file.size(), segmentBytes)); // a spare of another size
        for (let at = 0; at < segmentBytes && !this.#closed; at += ZEROS.length)
          await file.write(ZEROS.subarray(0, segmentBytes - at), at);
      } finally {
        await file.close();
      }
      await storage.syncDir(dir);
      this.#shortage = undefined;
      this.#spareReady = true;
    } catch (cause) {
      // Nothing of the log stands in a spare: another try is no retry of a failed record.
      this.#shortage = `no room for the next segment: ${describe(cause)}`;
      if (!this.#closed) {
        this.#retry = setTimeout(() => {
          this.#spare = this.#prepare();
        }, RETRY_MS).unref();
      }
    }
    changed();
  }
}

/** Half a segment is a batch's, so a head has to be small; with tiny segments, only the newest exchanges of each end are listed. */
function fittingHead(head: SegmentHead, maxBytes: number): Buffer {
  let { running } = head;
  let bytes = formatSegmentHead(head);
  while (bytes.length > maxBytes && running.length > 0) {
    running = ROLES.flatMap((role) => newerHalf(running.filter((exchange) => exchange.role === role)));
    bytes = formatSegmentHead({ ...head, running });
  }
  return bytes;
}

const ROLES = ['c', 'p'] as const;
const newerHalf = <T>(oldestFirst: readonly T[]): readonly T[] =>
  oldestFirst.slice(Math.ceil(oldestFirst.length / 2));

/** Gives back the zeros behind the last block and closes. */
async function retire(file: StorageFile, used: number): Promise<void> {
  try {
    await file.truncate(used);
    await file.sync();
  } finally {
    await file.close();
  }
}
