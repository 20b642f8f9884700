// Batch signatures: one signature for many messages, each of which stays provable alone. docs/protocol.md has the layout.
import { base64, view } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { HASH_BYTES, leafHashOfText, nodeHash } from '../tlog/hash.ts';

/**
 * `alg` of a message that was signed in a batch. It is part of the signed text, so neither form can be turned into the
 * other, and it names a form only: what made the root's signature is for the registry to say, as for plain ones.
 */
export const BATCH_ALG = 'troad-batch';

/** Messages of one batch: ten hashes of path, a third of a kilobyte. Bounds what a verifier hashes for one message, too. */
export const MAX_BATCH = 1024;

/** Place in the tree of one message, and what proves it: the value of a batch signature, taken apart. */
export interface BatchSignature {
  readonly size: number;
  readonly index: number;
  /** Sibling hashes from the leaf up (RFC 6962 §2.1.1). */
  readonly path: readonly Buffer[];
  /** By the message key, over {@link rootText}. */
  readonly rootSignature: Buffer;
}

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
  readonly #levels: (readonly Buffer[])[];
  readonly size: number;

  /** @throws RangeError for fewer than two messages, which is no batch, or too many */
  constructor(bases: readonly string[]) {
    this.size = bases.length;
    if (this.size < 2 || this.size > MAX_BATCH) throw new RangeError(`a batch of ${this.size}`);
    let level = bases.map(leafHashOfText);
    this.#levels = [level];
    while (level.length > 1) {
      const above: Buffer[] = [];
      for (const [i, left] of level.entries()) {
        const right = level[i + 1];
        if (i % 2 === 0) above.push(right === undefined ? left : nodeHash(left, right));
      }
      this.#levels.push((level = above));
    }
  }

  /** What has to be signed. */
  get text(): string {
    return rootText(this.size, this.#levels.at(-1)?.[0] as Buffer); // the last level has one node
  }

  /** The signature of one message, out of that of the root. */
  signatureOf(index: number, rootSignature: Uint8Array): Buffer {
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt16BE(this.size, 0);
    head.writeUInt16BE(index, 2);
    const parts: Uint8Array[] = [head];
    let at = index;
    for (const level of this.#levels) {
      const sibling = level[at ^ 1];
      if (sibling !== undefined) parts.push(sibling);
      at >>= 1;
    }
    return Buffer.concat([...parts, rootSignature]);
  }
}

/**
 * Takes a signature apart. Size and index say how long the path is, the key says how long the signature is: nothing is
 * left for a second spelling.
 * @throws MalformedBytes
 */
export function parseBatchSignature(signature: Uint8Array): BatchSignature {
  const bytes = view(signature);
  if (bytes.length < HEAD_BYTES) throw new MalformedBytes(`batch signature of ${bytes.length} bytes`);
  const size = bytes.readUInt16BE(0);
  const index = bytes.readUInt16BE(2);
  if (size < 2 || size > MAX_BATCH || index >= size)
    throw new MalformedBytes(`message ${index} of a batch of ${size}`);
  const path: Buffer[] = [];
  let at = HEAD_BYTES;
  for (let [own, last] = [index, size - 1]; last > 0; [own, last] = [own >> 1, last >> 1]) {
    if (own === last && own % 2 === 0) continue;
    path.push(bytes.subarray(at, (at += HASH_BYTES)));
  }
  if (bytes.length <= at) throw new MalformedBytes(`path or signature of message ${index} of ${size} is cut`);
  return { size, index, path, rootSignature: bytes.subarray(at) };
}

/** Root of the batch that the message is claimed to be in. Any path leads somewhere: what counts is who signed the end. */
export function rootOf(base: string, { size, index, path }: BatchSignature): Buffer {
  let hash = leafHashOfText(base);
  let next = 0;
  for (let [own, last] = [index, size - 1]; last > 0; [own, last] = [own >> 1, last >> 1]) {
    const isRight = own % 2 === 1;
    if (own === last && !isRight) continue;
    const sibling = path[next++] as Buffer; // parseBatchSignature counted the same way
    hash = isRight ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
  }
  return hash;
}
