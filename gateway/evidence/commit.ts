import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../core/clock.ts';
import { describe, Unavailable } from '../core/errors.ts';
import type { Frontier } from '../tlog/frontier.ts';
import type { HashText } from '../tlog/hash.ts';
import { Batch } from './batch.ts';
import { dayOf, type ClassKeys } from './class-keys.ts';
import { membersOf } from './codec.ts';
import type { RecordParts } from './contract.ts';
import { ExchangeRecord } from './exchange-facts.ts';
import { RandomPool } from './random-pool.ts';
import { issueReceipt, type Receipt } from './receipt.ts';
import type { PartClass, RecordDraft } from './record.ts';
import type { RunningExchanges } from './running.ts';
import type { SegmentFiles } from './segment-files.ts';

const MAX_BATCH_BYTES = 4 << 20;
/** One is written, one is filled; more only when the disk cannot keep up. */
const SPARE_BATCHES = 2;

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
  readonly settled: (hash: HashText) => void;
  /** Brings the settled hashes to disk. Asked for before a segment begins. */
  readonly syncSettled: () => Promise<void>;
  /** Told after every durable batch. */
  readonly committed: (batch: { records: number; bytes: number; elapsedMs: number }) => void;
  /** Told once: the log takes no more records, ever. */
  readonly failed: (cause: unknown) => void;
}

/**
 * Group commit. The next batch is what came in while the last one was being synced: it grows with the load by itself,
 * without a timer, and a record alone is written at once.
 */
export class GroupCommit {
  readonly #options: CommitOptions;
  readonly #maxBatchBytes: number;
  readonly #random: RandomPool;
  /** The last one is being filled. */
  #queue: Batch[] = [];
  readonly #spares: Batch[] = [];
  #queuedRecords = 0;
  #queuedBytes = 0;
  #callers: (() => void)[] = [];
  #loop: Promise<void> | undefined;
  #dead = false;
  #durable: Frontier;

  constructor(options: CommitOptions) {
    this.#options = options;
    // A batch fits into half a segment, whatever the head of that segment holds.
    this.#maxBatchBytes = Math.min(MAX_BATCH_BYTES, options.segmentBytes >> 1);
    this.#random = new RandomPool(options.random);
    this.#durable = options.frontier.clone();
  }

  get queuedRecords(): number {
    return this.#queuedRecords;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** The tree as far as it is on disk: what may be signed. */
  get durable(): Pick<Frontier, 'size' | 'root'> {
    return this.#durable;
  }

  /** @throws RangeError larger than a record may be */
  add(
    record: RecordDraft | ExchangeRecord,
    parts: RecordParts,
    resolve: (receipt: Receipt) => void,
    reject: (cause: Error) => void,
  ): void {
    const members = record instanceof ExchangeRecord ? record.members : membersOf(record);
    let batch = this.#queue.at(-1);
    if (batch?.hasRoomFor(members, parts) !== true) {
      batch = this.#spares.pop() ?? new Batch(this.#maxBatchBytes, this.#random);
      this.#queue.push(batch);
    }
    const before = batch.contentBytes;
    batch.add(record, members, parts, resolve, reject);
    this.#queuedBytes += batch.contentBytes - before;
    this.#queuedRecords += 1;
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
    while (this.#queuedRecords > 0 || this.#callers.length > 0) {
      // What arrived on the heels of the first, or while the loop itself waited for the last write, is still in the sockets. And
      // what that write has released leaves before the loop waits for the next.
      await turn();
      for (const caller of this.#callers.splice(0)) setImmediate(caller);
      // Everything that arrives until this turn ends, or that a caller adds, shares the sync.
      await turn();
      if (this.#queuedRecords === 0) continue;
      const batch = this.#take();
      try {
        await this.#commit(batch);
      } catch (cause) {
        this.#fail(cause, batch);
      }
      batch.clear();
      if (this.#spares.length < SPARE_BATCHES) this.#spares.push(batch);
    }
    this.#loop = undefined;
  }

  /** @throws Error nothing is queued */
  #take(): Batch {
    const batch = this.#queue.shift();
    if (batch === undefined) throw new Error('no batch is queued');
    this.#queuedRecords -= batch.waiting.length;
    this.#queuedBytes -= batch.contentBytes;
    return batch;
  }

  /** Writes one batch. Its records exist when the write returns, and not a moment before. */
  async #commit(batch: Batch): Promise<void> {
    if (this.#dead) throw new Error('the log has failed before');
    const { frontier, segments, keys, clock, settled, running, origin } = this.#options;
    const startedAt = clock.monotonic();
    const day = dayOf(clock.now());
    // The keys that the batch will be sealed with: after this all is computed.
    for (const partClass of batch.partClasses)
      if (keys.cached(partClass, day) === undefined) await this.#loadKey(partClass, day);
    if (!segments.fits(batch.bytes)) {
      await segments.spare();
      if (!segments.canRoll) throw new NoRoom(segments.shortage ?? 'no spare segment');
      // A restart trusts the stored hashes of all segments before the last: a power failure must not leave those of an
      // earlier life in their place.
      await this.#options.syncSettled();
      await segments.roll({ origin, frontier, running: running.list() });
    }
    const first = frontier.size;
    // From here on the frontier is ahead of the disk: an error leaves a log that must not go on.
    const block = batch.finish(
      { origin, day },
      (partClass) => keys.cached(partClass, day),
      frontier,
      settled,
    );
    await segments.write(block);
    // Durable.
    this.#durable = frontier.clone();
    let index = first;
    for (const { record, leaf, resolve } of batch.waiting) {
      running.note(record);
      resolve(issueReceipt(origin, index, leaf));
      index += 1n;
    }
    this.#options.committed({
      records: batch.waiting.length,
      bytes: block.length,
      elapsedMs: clock.monotonic() - startedAt,
    });
  }

  async #loadKey(partClass: PartClass, day: string): Promise<void> {
    try {
      await this.#options.keys.load(partClass, day);
    } catch (cause) {
      // Nothing of the batch has touched the tree yet: the log is whole, and may go on when there is room.
      throw new NoRoom(`no key for ${partClass} of ${day}: ${describe(cause)}`);
    }
  }

  #fail(cause: unknown, batch: Batch): void {
    const final = !(cause instanceof NoRoom);
    const lost = final ? [batch, ...this.#queue] : [batch];
    if (final) {
      this.#queue = [];
      this.#queuedRecords = 0;
      this.#queuedBytes = 0;
    }
    if (final && !this.#dead) {
      // fsync(2): after an error nobody knows which pages reached the disk, and the next call may report success.
      this.#dead = true;
      this.#options.failed(cause);
    }
    const refusal = new Unavailable('evidence.unavailable', describe(cause), { cause });
    for (const { waiting } of lost) for (const { reject } of waiting) reject(refusal);
  }
}

/** The batch was refused for want of space, before anything of it was hashed or written. */
class NoRoom extends Error {
  override readonly name = 'NoRoom';
}
