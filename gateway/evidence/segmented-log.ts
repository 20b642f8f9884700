import { describe, Unavailable } from '../core/errors.ts';
import { makeConsistencyProof, makeInclusionProof } from '../tlog/proof.ts';
import type { NoteSigner } from '../tlog/note.ts';
import { Checkpointer } from './checkpointer.ts';
import { ClassKeys } from './class-keys.ts';
import { GroupCommit } from './commit.ts';
import type {
  EvidenceLog,
  Health,
  OpenLogOptions,
  PeerCheckpoint,
  PeerObservation,
  RecordParts,
  SeenExchange,
} from './contract.ts';
import type { ExchangeRecord } from './exchange-facts.ts';
import type { HeadFile } from './head-file.ts';
import { Peers } from './peers.ts';
import type { Receipt } from './receipt.ts';
import { recentExchanges } from './recent.ts';
import type { RecordDraft } from './record.ts';
import type { Recovered } from './recover.ts';
import { SegmentFiles } from './segment-files.ts';
import type { Storage } from './storage.ts';

const DEFAULTS = { segmentBytes: 64 << 20, maxQueued: 16_384, checkpointEveryMs: 100 };
const MIN_SEGMENT_BYTES = 1 << 16;
const MAX_QUEUED_BYTES = 64 << 20;

/** What {@link openLog} has found and made sure of. */
export interface FoundLog {
  readonly storage: Storage;
  /** Folder of the epoch. */
  readonly dir: string;
  readonly head: HeadFile;
  readonly signer: NoteSigner;
  readonly recovered: Recovered;
  /** Gives the lock back. */
  readonly release: () => void;
}

/** The log as the rest of the gateway sees it: checks at the door, the parts do the work. */
export class SegmentedLog implements EvidenceLog {
  readonly #options: OpenLogOptions;
  readonly #found: FoundLog;
  readonly #segments: SegmentFiles;
  readonly #commit: GroupCommit;
  readonly #checkpointer: Checkpointer;
  readonly #peers: Peers;
  readonly #maxQueued: number;
  #failure: string | undefined;
  #closing = false;

  constructor(options: OpenLogOptions, found: FoundLog) {
    const { clock, random, stats, segmentBytes = DEFAULTS.segmentBytes } = options;
    const { storage, dir, head, signer } = found;
    const { frontier, running, hashes } = found.recovered;
    if (segmentBytes < MIN_SEGMENT_BYTES) throw new RangeError(`segments of ${segmentBytes} bytes`);
    // An orderly end is no trouble to report.
    const changed = (): void => {
      if (!this.#closing) stats?.health?.(this.health);
    };
    const failed = (cause: unknown): void => {
      this.#failure ??= describe(cause);
      changed();
    };
    this.#options = options;
    this.#found = found;
    this.#maxQueued = options.maxQueued ?? DEFAULTS.maxQueued;
    this.#segments = new SegmentFiles({ dir, storage, segmentBytes, changed });
    this.#commit = new GroupCommit({
      origin: signer.name,
      frontier,
      running,
      segments: this.#segments,
      keys: new ClassKeys(`${options.dir}/keys`, storage, random),
      clock,
      random,
      segmentBytes,
      settled: hashes.add,
      syncSettled: () => hashes.sync(),
      committed: (batch) => {
        this.#checkpointer.grew();
        stats?.committed?.(batch);
      },
      failed,
    });
    this.#checkpointer = new Checkpointer({
      dir,
      head,
      storage,
      signer,
      clock,
      everyMs: options.checkpointEveryMs ?? DEFAULTS.checkpointEveryMs,
      durable: () => this.#commit.durable,
      signed: (size) => stats?.checkpoint?.(size),
      fenced: failed,
      changed,
    });
    this.#peers = new Peers({
      dir: `${options.dir}/peers`,
      storage,
      clock,
      record: (draft) => this.append(draft),
    });
  }

  get origin(): string {
    return this.#found.signer.name;
  }

  get vkey(): string {
    return this.#found.signer.vkey;
  }

  get size(): bigint {
    return this.#commit.durable.size;
  }

  get health(): Health {
    const reason = this.#finalReason ?? this.#shortageReason;
    return reason === undefined ? { ok: true } : { ok: false, reason };
  }

  get #finalReason(): string | undefined {
    if (this.#closing) return 'the log is closed';
    return this.#failure;
  }

  /** Reasons that pass: while one holds, what has begun may end, and nothing may begin. */
  get #shortageReason(): string | undefined {
    if (this.#found.recovered.hashes.failure !== undefined) return 'the hashes for proofs cannot be written';
    return this.#segments.shortage ?? this.#checkpointer.trouble;
  }

  whenFree(caller: () => void): void {
    this.#commit.whenFree(caller);
  }

  append(record: RecordDraft | ExchangeRecord, parts?: RecordParts): Promise<Receipt> {
    const refusal = this.#refusalOf(record);
    if (refusal !== undefined) return Promise.reject(new Unavailable('evidence.unavailable', refusal));
    return this.#enqueue(record, parts);
  }

  #refusalOf(record: RecordDraft | ExchangeRecord): string | undefined {
    const final = this.#finalReason;
    if (final !== undefined) return final;
    const shortage = this.#shortageReason;
    if (shortage !== undefined && !this.#found.recovered.running.covers(record)) return shortage;
    const { queuedRecords, queuedBytes } = this.#commit;
    // A slow disk pushes back here: better to refuse an exchange than to carry it with its record still in memory.
    if (queuedRecords >= this.#maxQueued || queuedBytes >= MAX_QUEUED_BYTES)
      return `${queuedRecords} records wait for the disk`;
    return undefined;
  }

  #enqueue(record: RecordDraft | ExchangeRecord, parts: RecordParts = {}): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      this.#commit.add(record, parts, resolve, reject);
    });
  }

  checkpoint(): string {
    return this.#checkpointer.latest;
  }

  proveConsistency(oldSize: bigint, newSize: bigint): Promise<Uint8Array[]> {
    this.#requireProvable(newSize);
    return makeConsistencyProof(oldSize, newSize, this.#read);
  }

  proveInclusion(index: bigint, size: bigint): Promise<Uint8Array[]> {
    this.#requireProvable(size);
    return makeInclusionProof(index, size, this.#read);
  }

  readonly #read = (indices: readonly bigint[]): Promise<Buffer[]> =>
    this.#found.recovered.hashes.read(indices);

  #requireProvable(size: bigint): void {
    if (size > this.size) throw new RangeError(`no tree of ${size} in a log of ${this.size}`);
    if (this.#found.recovered.hashes.failure !== undefined) {
      throw new Unavailable('evidence.unavailable', 'the hashes for proofs were not written');
    }
  }

  recentExchanges(withinMs: number): Promise<SeenExchange[]> {
    const { storage, dir } = this.#found;
    return recentExchanges(storage, dir, this.#options.clock.now() - withinMs);
  }

  observePeer(checkpoint: PeerCheckpoint): Promise<PeerObservation> {
    return this.#peers.observe(checkpoint);
  }

  /** Room for the first records, and a signed head before any of them: a log without a head is refused. */
  async ready(): Promise<void> {
    await this.#segments.spare();
    await this.#checkpointer.save();
  }

  /** Waits for what is queued, and stores a head that covers it. */
  async settle(): Promise<void> {
    await this.#commit.idle();
    await this.#checkpointer.save();
  }

  async close(): Promise<void> {
    if (this.#closing) return;
    if (this.#failure === undefined) {
      // No room for it? Then the next start finds no seal, which is the truth.
      this.#enqueue({ k: 'seal', at: this.#options.clock.now(), why: 'closed' }).catch(() => undefined);
    }
    this.#closing = true;
    await this.abandon();
  }

  /** Ends the parts, whatever state they are in, and gives the lock back. */
  async abandon(): Promise<void> {
    this.#closing = true;
    try {
      await this.#commit.idle();
      if (this.#failure === undefined) await this.#checkpointer.save();
    } finally {
      await this.#checkpointer.close();
      await this.#segments.close();
      await this.#found.recovered.hashes.close();
      this.#found.release();
    }
  }
}
