// Batch signatures: one signature for many messages, each of which stays provable alone. docs/protocol.md has the layout.
import { Buffer } from 'node:buffer';
import { base64, view } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { HASH_BYTES, hashBytes, leafTextOf, nodeTextOf, nodeTextWith, type HashText } from '../tlog/hash.ts';

/**
 * `alg` of a message that was signed in a batch. It is part of the signed text, so neither form can be turned into the
 * other, and it names a form only: what made the root's signature is for the registry to say, as for plain ones.
 */
export const BATCH_ALG = 'troad-batch';

/** Messages of one batch: ten hashes of path, a third of a kilobyte. Bounds what a verifier hashes for one message, too. */
export const MAX_BATCH = 1024;

/** size (16 bits), index (16), both big-endian; then the path, then the signature. */
const HEAD_BYTES = 4;

/**
 * What is signed for a whole batch. No message, checkpoint, note or token begins with a zero byte, so this can be taken
 * for none of them, nor one of them for this. With the size in it, a leaf has one place only under one signature.
 */
export const rootText = (size: number, root: Uint8Array): string =>
  `\0${BATCH_ALG}\n${size}\n${base64(root)}\n`;

/** The tree over a batch, level by level: a last node without a sibling goes up as it is, which is RFC 6962's tree. */
export class BatchTree {
  readonly #levels: (readonly HashText[])[];
  readonly #root: HashText;
  readonly size: number;

  /** @throws RangeError for fewer than two messages, which is no batch, or too many */
  constructor(bases: readonly string[]) {
    this.size = bases.length;
    if (this.size < 2 || this.size > MAX_BATCH) throw new RangeError(`a batch of ${this.size}`);
    let level = bases.map(leafTextOf);
    this.#levels = [level];
    while (level.length > 1) {
      const above: HashText[] = [];
      for (let left = 0; left < level.length; left += 2) {
        const [one, right] = [level[left] as HashText, level[left + 1]]; // left is below the length
        above.push(right === undefined ? one : nodeTextOf(one, right));
      }
      this.#levels.push((level = above));
    }
    this.#root = level[0] as HashText; // the last level has one node
  }

  /** What has to be signed. */
  get text(): string {
    return rootText(this.size, hashBytes(this.#root));
  }

  /** The signature of one message, out of that of the root. */
  signatureOf(index: number, rootSignature: Uint8Array): Buffer {
    const bytes = Buffer.allocUnsafe(HEAD_BYTES + this.#levels.length * HASH_BYTES + rootSignature.length);
    bytes.writeUInt16BE(this.size, 0);
    bytes.writeUInt16BE(index, 2);
    let end = HEAD_BYTES;
    let at = index;
    for (const level of this.#levels) {
      const sibling = level[at ^ 1];
      if (sibling !== undefined) end += bytes.write(sibling, end, 'latin1');
      at >>= 1;
    }
    bytes.set(rootSignature, end);
    return bytes.subarray(0, end + rootSignature.length);
  }
}

/** Place in the tree of one message, and what proves it: the value of a batch signature, taken apart. */
export class BatchSignature {
  readonly size: number;
  readonly index: number;
  readonly #bytes: Buffer;
  /** Where the path ends and the root's signature begins. */
  readonly #pathEnd: number;
  /** Hash of the message and of each node above it, once they were found. */
  #way: readonly HashText[] = [];

  /**
   * Size and index say how long the path is, the key says how long the signature is: nothing is left for a second
   * spelling.
   * @throws MalformedBytes
   */
  constructor(signature: Uint8Array) {
    const bytes = view(signature);
    if (bytes.length < HEAD_BYTES) throw new MalformedBytes(`batch signature of ${bytes.length} bytes`);
    const size = bytes.readUInt16BE(0);
    const index = bytes.readUInt16BE(2);
    if (size < 2 || size > MAX_BATCH || index >= size)
      throw new MalformedBytes(`message ${index} of a batch of ${size}`);
    let at = HEAD_BYTES;
    for (let own = index, last = size - 1; last > 0; own >>= 1, last >>= 1)
      if (hasSibling(own, last)) at += HASH_BYTES;
    if (bytes.length <= at)
      throw new MalformedBytes(`path or signature of message ${index} of ${size} is cut`);
    this.size = size;
    this.index = index;
    this.#bytes = bytes;
    this.#pathEnd = at;
  }

  /** Sibling hashes from the leaf up (RFC 6962 §2.1.1). */
  get path(): readonly Buffer[] {
    const path: Buffer[] = [];
    for (let at = HEAD_BYTES; at < this.#pathEnd; at += HASH_BYTES)
      path.push(this.#bytes.subarray(at, at + HASH_BYTES));
    return path;
  }

  /** By the message key, over {@link rootText}. */
  get rootSignature(): Buffer {
    return this.#bytes.subarray(this.#pathEnd);
  }

  /** Root of the batch that a leaf is claimed to be in. Any path leads somewhere: what counts is who signed the end. */
  rootOf(leaf: HashText): HashText {
    const way = [leaf];
    for (let at = HEAD_BYTES; (this.size - 1) >> (way.length - 1) > 0;) at = this.#climb(way, at);
    this.#way = way;
    return way.at(-1) as HashText; // there is the leaf at least
  }

  /**
   * Whether the leaf leads to the root that was found for another message, by the same hashes and to the same signature.
   * Messages of one batch mostly come one after the other, and neighbours meet one or two levels up: from there on the
   * rest of the path is compared as it is, not hashed again.
   */
  joins(walked: BatchSignature, leaf: HashText): boolean {
    const [own, other] = [this.index, walked.index];
    if (this.size !== walked.size || own === other) return false;
    const way = [leaf];
    let at = HEAD_BYTES;
    let otherAt = HEAD_BYTES;
    let level = 0;
    for (; own >> (level + 1) !== other >> (level + 1); level++) {
      at = this.#climb(way, at);
      if (walked.#hasSibling(level)) otherAt += HASH_BYTES;
    }
    // Here the two are siblings: each has to be what the other was hashed with.
    if (this.#hashAt(at) !== walked.#way[level] || walked.#hashAt(otherAt) !== way[level]) return false;
    const rest = walked.#bytes.subarray(otherAt + HASH_BYTES);
    if (!this.#bytes.subarray(at + HASH_BYTES).equals(rest)) return false;
    for (level += 1; level < walked.#way.length; level++) way.push(walked.#way[level] as HashText); // below the length
    this.#way = way;
    return true;
  }

  /** Adds the node above the last one of a way. @param at where the next hash of the path begins. @returns where then */
  #climb(way: HashText[], at: number): number {
    const level = way.length - 1;
    const hash = way[level] as HashText; // a way has its leaf
    const alone = !this.#hasSibling(level);
    way.push(alone ? hash : nodeTextWith(hash, (this.index >> level) % 2 === 1, this.#bytes, at));
    return alone ? at : at + HASH_BYTES;
  }

  #hasSibling(level: number): boolean {
    return hasSibling(this.index >> level, (this.size - 1) >> level);
  }

  #hashAt(at: number): string {
    return this.#bytes.toString('latin1', at, at + HASH_BYTES);
  }
}

/** A last node that is the left one of its pair has none. */
const hasSibling = (own: number, last: number): boolean => own < last || own % 2 === 1;
