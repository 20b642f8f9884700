import type { KeyObject } from 'node:crypto';
import type { Frontier } from '../tlog/frontier.ts';
import { leafTextInPlace, type HashText } from '../tlog/hash.ts';
import { mostBytes } from './arena.ts';
import { BlockWriter, blockBytes, frameBytes } from './block.ts';
import { coreText, MAX_COMMITMENTS_BYTES, MAX_CORE_BYTES, MAX_PART_BYTES, PART_CLASSES } from './codec.ts';
import type { RecordParts } from './contract.ts';
import type { ExchangeRecord } from './exchange-facts.ts';
import { entryBytes, NONCE_BYTES, PlainSection, SECTION_OVERHEAD, type SectionPlace } from './parts.ts';
import type { RandomPool } from './random-pool.ts';
import type { Receipt } from './receipt.ts';
import type { PartClass, RecordDraft } from './record.ts';

const MAX_RECORDS = 4096;

/** What a record adds at most, with all its parts. */
const MAX_RECORD_BYTES = frameBytes(MAX_CORE_BYTES) + PART_CLASSES.length * entryBytes(MAX_PART_BYTES);

/** What a block has beside its records and parts, at most. */
const BLOCK_OVERHEAD = blockBytes(0, PART_CLASSES.length * SECTION_OVERHEAD);

/** A record that waits for the disk. */
export interface Waiting {
  readonly record: RecordDraft | ExchangeRecord;
  readonly leaf: HashText;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (cause: Error) => void;
}

/**
 * Records that will share one sync. Each is encoded and hashed when it comes, while the disk is busy with those before it,
 * straight into the memory that will be sealed and written.
 */
export class Batch {
  readonly #maxBytes: number;
  readonly #random: RandomPool;
  readonly #block = new BlockWriter();
  readonly #sections = PART_CLASSES.map((partClass) => new PlainSection(partClass));
  #waiting: Waiting[] = [];
  #contentBytes = 0;

  /** @param maxBytes most that a block may have */
  constructor(maxBytes: number, random: RandomPool) {
    this.#maxBytes = maxBytes;
    this.#random = random;
  }

  /** In the order of the log. */
  get waiting(): readonly Waiting[] {
    return this.#waiting;
  }

  /** Bytes of records and parts. */
  get contentBytes(): number {
    return this.#contentBytes;
  }

  /** Length of the block at most, as far as it goes now. */
  get bytes(): number {
    return BLOCK_OVERHEAD + this.#contentBytes;
  }

  /** Classes of the parts it holds. */
  get partClasses(): PartClass[] {
    return this.#sections.filter(({ bytes }) => bytes > 0).map(({ partClass }) => partClass);
  }

  /** False: it belongs into the next batch. One that is empty has room for whatever may be written at all. */
  hasRoomFor(members: readonly string[], parts: RecordParts): boolean {
    const { length } = this.#waiting;
    if (length === 0) return true;
    if (length === MAX_RECORDS) return false;
    if (this.bytes + MAX_RECORD_BYTES <= this.#maxBytes) return true; // whatever it is
    let most = frameBytes(mostBytes(members) + MAX_COMMITMENTS_BYTES);
    for (const name of PART_CLASSES) {
      const part = parts[name];
      if (part !== undefined) most += entryBytes(mostBytes(part));
    }
    return this.bytes + most <= this.#maxBytes;
  }

  /** @throws RangeError larger than a record may be; nothing was added */
  add(
    record: RecordDraft | ExchangeRecord,
    members: readonly string[],
    parts: RecordParts,
    resolve: Waiting['resolve'],
    reject: Waiting['reject'],
  ): void {
    const put: PlainSection[] = [];
    let commitments = '';
    let bytes = this.bytes;
    for (const section of this.#sections) {
      const part = parts[section.partClass];
      if (part === undefined) continue;
      const commitment = section.put(this.#random, part);
      put.push(section);
      bytes += section.putBytes;
      if (section.putBytes > entryBytes(MAX_PART_BYTES))
        throw new RangeError(`record with a part of ${section.putBytes - entryBytes(0)} bytes`);
      commitments = commitments === '' ? commitment : `${commitments},${commitment}`;
    }
    const prefixed = this.#block.put(coreText(members, commitments));
    const coreBytes = prefixed.length - 1;
    if (coreBytes > MAX_CORE_BYTES) throw new RangeError(`record of ${coreBytes} bytes`);
    bytes += frameBytes(coreBytes);
    if (bytes > this.#maxBytes)
      throw new RangeError(`record of ${bytes} bytes with its parts: too large for these segments`);
    this.#block.keep();
    for (const section of put) section.keep();
    this.#contentBytes = bytes - BLOCK_OVERHEAD;
    this.#waiting.push({ record, leaf: leafTextInPlace(prefixed), resolve, reject });
  }

  /**
   * The block, with all its records in the tree; valid until `clear`.
   * @param keyOf asked for each of {@link Batch.partClasses}
   */
  finish(
    place: Omit<SectionPlace, 'partClass' | 'first'>,
    keyOf: (partClass: PartClass) => KeyObject | undefined,
    frontier: Frontier,
    settled: (hash: HashText) => void,
  ): Buffer {
    const first = frontier.size;
    for (const { leaf } of this.#waiting) frontier.append(leaf, settled);
    const sealed: Buffer[] = [];
    for (const section of this.#sections) {
      if (section.bytes === 0) continue;
      const key = keyOf(section.partClass);
      if (key === undefined) throw new Error(`no key for ${section.partClass}`);
      sealed.push(...section.seal({ ...place, first }, key, this.#random.take(NONCE_BYTES)));
    }
    return this.#block.finish(first, sealed, frontier.digest());
  }

  /** Empty again; its memory stays. */
  clear(): void {
    this.#waiting = [];
    this.#contentBytes = 0;
    this.#block.clear();
    for (const section of this.#sections) section.clear();
  }
}
