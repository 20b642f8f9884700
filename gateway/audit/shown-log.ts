import { base64, equalBytes } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { CHECKPOINT_FILE } from '../evidence/checkpointer.ts';
import { HASHES_FILE } from '../evidence/hash-store.ts';
import { readSegmentHead } from '../evidence/segment.ts';
import { openCheckpoint, type Checkpoint } from '../tlog/checkpoint.ts';
import { HASH_BYTES, leafHash } from '../tlog/hash.ts';
import { makeInclusionProof, verifyInclusion, type ReadHashes } from '../tlog/proof.ts';
import type { EpochFolder, ReadStorage } from './folder.ts';
import { hashEpoch } from './hash-pass.ts';
import { SegmentReader } from './segment-reader.ts';
import { MAX_HEAD_BYTES, readBounded, withFile } from './small-file.ts';
import type { LoggedRecord } from './records.ts';
import type { Trust, TrustedLog } from './trust-file.ts';

/** Looks at the head of a log that is still written, a tenth of a second each: a head follows its records within a second. */
const LOOKS = 30;
const LOOK_EVERY_MS = 100;

/** Passes time between two looks at a log that may still be written. */
export type Wait = (ms: number) => Promise<unknown>;

/** A log while records of it are shown. */
export class ShownLog {
  readonly storage: ReadStorage;
  readonly epoch: EpochFolder;
  readonly origin: string;
  readonly trusted: TrustedLog | undefined;
  readonly #wait: Wait | undefined;
  #looks = 0;
  #head: Promise<Checkpoint> | undefined;
  /** What was hashed the long way, up to which head. */
  #whole: { readonly size: bigint; readonly good: Promise<void> } | undefined;

  private constructor(
    storage: ReadStorage,
    epoch: EpochFolder,
    origin: string,
    trusted: TrustedLog | undefined,
    wait: Wait | undefined,
  ) {
    this.storage = storage;
    this.epoch = epoch;
    this.origin = origin;
    this.trusted = trusted;
    this.#wait = wait;
  }

  /** @param wait given where the log may still be written: its head comes a moment after its records */
  static async open(storage: ReadStorage, epoch: EpochFolder, trust: Trust, wait?: Wait): Promise<ShownLog> {
    const [first = ''] = epoch.segments;
    try {
      const bytes = (await new SegmentReader(storage).read(first)) ?? Buffer.alloc(0);
      const { origin } = readSegmentHead(bytes).head;
      return new ShownLog(storage, epoch, origin, trust.logs.get(origin), wait);
    } catch {
      return new ShownLog(storage, epoch, `unreadable log in ${epoch.path}`, undefined, wait);
    }
  }

  /** @throws MalformedBytes the record is not proved to be in the tree that the log has signed */
  async requireIncluded({ bytes, index }: LoggedRecord): Promise<void> {
    const head = await this.#headBehind(index);
    if (index >= head.size)
      throw new MalformedBytes(`record ${index} is behind the signed head of ${head.size}`);
    try {
      const path = await makeInclusionProof(index, head.size, this.#readHashes);
      verifyInclusion(leafHash(bytes), index, head.size, path, head.root);
    } catch {
      // The stored hashes are a short cut that nobody vouches for: the long way is to hash the log.
      if (this.#whole?.size !== head.size) this.#whole = { size: head.size, good: this.#requireWhole(head) };
      await this.#whole.good;
    }
  }

  /** The signed head, when it has come as far as a record or is not expected to. */
  async #headBehind(index: bigint): Promise<Checkpoint> {
    this.#head ??= this.#signedHead();
    let head = await this.#head;
    for (; head.size <= index && this.#wait !== undefined && this.#looks < LOOKS; this.#looks += 1) {
      await this.#wait(LOOK_EVERY_MS);
      this.#head = this.#signedHead();
      head = await this.#head;
    }
    return head;
  }

  async #signedHead(): Promise<Checkpoint> {
    if (this.trusted === undefined) throw new MalformedBytes('the trust file does not name this log');
    const note = await readBounded(this.storage, `${this.epoch.path}/${CHECKPOINT_FILE}`, MAX_HEAD_BYTES);
    return openCheckpoint(note?.toString('utf8') ?? '', [this.trusted.verifier]);
  }

  readonly #readHashes: ReadHashes = async (indices) => {
    const path = `${this.epoch.path}/${HASHES_FILE}`;
    const hashes = await withFile(this.storage, path, async (file) => {
      const read: Buffer[] = [];
      for (const index of indices) {
        const hash = Buffer.alloc(HASH_BYTES);
        read.push(hash.subarray(0, await file.read(hash, Number(index) * HASH_BYTES)));
      }
      return read;
    });
    return hashes ?? [];
  };

  async #requireWhole({ size, root }: Checkpoint): Promise<void> {
    const { roots, damage } = await hashEpoch(this.storage, this.epoch, [size]);
    const found = roots.get(size);
    if (found === undefined || !equalBytes(found, root)) {
      throw new MalformedBytes(damage === undefined ? `root is not ${base64(root)}` : damage.detail);
    }
  }
}
