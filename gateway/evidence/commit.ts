import type { KeyObject } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { describe, Unavailable } from '../core/errors.ts';
import { leafHashInPlace } from '../tlog/hash.ts';
import type { Frontier } from '../tlog/frontier.ts';
import { BlockWriter, blockBytes, frameBytes } from './block.ts';
import { dayOf, type ClassKeys } from './class-keys.ts';
import { PART_CLASSES, type SaltedParts } from './codec.ts';
import { entryBytes, sealSection, SECTION_OVERHEAD, type NumberedPart } from './parts.ts';
import { issueReceipt, type Receipt } from './receipt.ts';
import type { PartClass, RecordDraft } from './record.ts';
import type { RunningExchanges } from './running.ts';
import type { SegmentFiles } from './segment-files.ts';

const MAX_BATCH_RECORDS = 4096;
const MAX_BATCH_BYTES = 4 << 20;

/** A record that waits for the disk. */
export interface PendingRecord {
  readonly draft: RecordDraft;
  readonly text: string;
  readonly bytes: number;
  readonly parts: SaltedParts;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (cause: Error) => void;
}

export interface CommitOptions {
  readonly origin: string;
  readonly frontier: Frontier;
  readonly running: RunningExchanges;
  readonly segments: SegmentFiles;
  readonly keys: ClassKeys;
  readonly clock: Clock;
  readonly random: (bytes: number) => Buffer;
  readonly segmentBytes: number;
  /** Told every settled hash of the tree, in order. */
  readonly settled: (hash: Buffer) => void;
  /** Brings the settled hashes to disk. Asked for before a segment begins. */
  readonly syncSettled: () => Promise<void>;
  /** Told after every durable batch. */
  readonly committed: (batch: { records: number; bytes: number; elapsedMs: number }) => void;
  /** Told once: the log takes no more records, ever. */
  readonly failed: (cause: unknown) => void;
}

/** What one record takes up in a block at most. */
export const footprint = ({ bytes, parts }: Pick<PendingRecord, 'bytes' | 'parts'>): number =>
  PART_CLASSES.reduce((sum, name) => sum + entryBytes(parts[name]?.bytes.length ?? 0), frameBytes(bytes));

const BLOCK_OVERHEAD = blockBytes(0, PART_CLASSES.length * SECTION_OVERHEAD);

/**
 * Group commit. The next batch is what came in while the last one was being synced: it grows with the load by itself,
 * without a timer, and a record alone is written at once.
 */
export class GroupCommit {
  readonly #options: CommitOptions;
  readonly #writer: BlockWriter;
  readonly #maxBatchBytes: number;
  #queue: PendingRecord[] = [];
  #queuedBytes = 0;
  #callers: (() => void)[] = [];
  #loop: Promise<void> | undefined;
  #dead = false;
  #durableSize: bigint;
  #durableHashes: Buffer[];

  constructor(options: CommitOptions) {
    this.#options = options;
    // A batch fits into half a segment, whatever the head of that segment holds.
    this.#maxBatchBytes = Math.min(MAX_BATCH_BYTES, (options.segmentBytes >> 1) - BLOCK_OVERHEAD);
    this.#writer = new BlockWriter(this.#maxBatchBytes + BLOCK_OVERHEAD);
    this.#durableSize = options.frontier.size;
    this.#durableHashes = options.frontier.hashes();
  }

  /** Largest record that can be taken. */
  get maxRecordBytes(): number {
    return this.#maxBatchBytes;
  }

  get queued(): { readonly records: number; readonly bytes: number } {
    return { records: this.#queue.length, bytes: this.#queuedBytes };
  }

  /** The tree as far as it is on disk: what may be signed. */
  get durable(): { readonly size: bigint; readonly hashes: readonly Buffer[] } {
    return { size: this.#durableSize, hashes: this.#durableHashes };
  }

  add(record: PendingRecord): void {
    this.#queue.push(record);
    this.#queuedBytes += footprint(record);
    this.#loop ??= this.#run();
  }

  /** See `EvidenceLog.whenFree`. */
  whenFree(caller: () => void): void {
    this.#callers.push(caller);
    this.#loop ??= this.#run();
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#loop !== undefined) await this.#loop;
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0 || this.#callers.length > 0) {
      for (const caller of this.#callers.splice(0)) setImmediate(caller);
      // Lets this turn of the event loop finish: everything that arrives in it, or that a caller adds, shares the sync.
      await new Promise(setImmediate);
      const batch = this.#take();
      if (batch.length === 0) continue;
      try {
        await this.#commit(batch);
      } catch (cause) {
        this.#fail(cause, batch);
      }
    }
    this.#loop = undefined;
  }

  #take(): PendingRecord[] {
    let bytes = 0;
    let count = 0;
    for (const record of this.#queue) {
      bytes += footprint(record);
      if (count > 0 && (bytes > this.#maxBatchBytes || count === MAX_BATCH_RECORDS)) {
        bytes -= footprint(record);
        break;
      }
      count += 1;
    }
    const batch = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    this.#queuedBytes -= bytes;
    return batch;
  }

  /** Writes one batch. Its records exist when the write returns, and not a moment before. */
  async #commit(batch: readonly PendingRecord[]): Promise<void> {
    if (this.#dead) throw new Error('the log has failed before');
    const { frontier, segments, clock, settled, running, origin } = this.#options;
    const startedAt = clock.monotonic();
    const seal = await this.#sealer(batch);
    const needed = batch.reduce((sum, record) => sum + footprint(record), BLOCK_OVERHEAD);
    if (!segments.fits(needed)) {
      await segments.spare();
      if (!segments.canRoll) throw new NoRoom(segments.shortage ?? 'no spare segment');
      // A restart trusts the stored hashes of all segments before the last: a power failure must not leave those of an
      // earlier life in their place.
      await this.#options.syncSettled();
      await segments.roll({ origin, frontier, running: running.list() });
    }
    // From here on the frontier is ahead of the disk: an error leaves a log that must not go on.
    const first = frontier.size;
    this.#writer.begin(first);
    const leaves = batch.map(({ text, bytes }) => {
      const leaf = leafHashInPlace(this.#writer.add(text, bytes));
      frontier.append(leaf, settled);
      return leaf;
    });
    const block = this.#writer.finish(seal(first), frontier.digest());
    await segments.write(block);
    // Durable.
    this.#durableSize = frontier.size;
    this.#durableHashes = frontier.hashes();
    for (const { draft } of batch) running.note(draft);
    for (const [i, { resolve }] of batch.entries()) {
      const leaf = leaves[i];
      if (leaf !== undefined) resolve(issueReceipt(origin, first + BigInt(i), leaf));
    }
    this.#options.committed({
      records: batch.length,
      bytes: block.length,
      elapsedMs: clock.monotonic() - startedAt,
    });
  }

  /** Fetches the keys that the batch needs; what it returns only computes. */
  async #sealer(batch: readonly PendingRecord[]): Promise<(first: bigint) => Buffer[]> {
    const { keys, clock, origin, random } = this.#options;
    const day = dayOf(clock.now());
    const sections: { partClass: PartClass; entries: NumberedPart[]; key: KeyObject }[] = [];
    for (const partClass of PART_CLASSES) {
      const entries: NumberedPart[] = [];
      for (let record = 0; record < batch.length; record += 1) {
        const part = batch[record]?.parts[partClass];
        if (part !== undefined) entries.push({ record, part });
      }
      if (entries.length === 0) continue;
      const key = keys.cached(partClass, day) ?? (await this.#loadKey(partClass, day));
      sections.push({ partClass, entries, key });
    }
    return (first) =>
      sections.flatMap(({ partClass, entries, key }) =>
        sealSection({ origin, first, partClass, day }, entries, key, random(12)),
      );
  }

  async #loadKey(partClass: PartClass, day: string): Promise<KeyObject> {
    try {
      return await this.#options.keys.load(partClass, day);
    } catch (cause) {
      // Nothing of the batch has touched the tree yet: the log is whole, and may go on when there is room.
      throw new NoRoom(`no key for ${partClass} of ${day}: ${describe(cause)}`);
    }
  }

  #fail(cause: unknown, batch: readonly PendingRecord[]): void {
    const final = !(cause instanceof NoRoom);
    const lost = final ? [...batch, ...this.#queue] : batch;
    if (final) {
      this.#queue = [];
      this.#queuedBytes = 0;
    }
    if (final && !this.#dead) {
      // fsync(2): after an error nobody knows which pages reached the disk, and the next call may report success.
      this.#dead = true;
      this.#options.failed(cause);
    }
    const refusal = new Unavailable('evidence.unavailable', describe(cause), { cause });
    for (const { reject } of lost) reject(refusal);
  }
}

/** The batch was refused for want of space, before anything of it was hashed or written. */
class NoRoom extends Error {
  override readonly name = 'NoRoom';
}
