// Audit paths and consistency proofs. Making follows RFC 6962 §2.1.1 and §2.1.2 (top down), checking follows the
// algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2 (bottom up), so that one mistake cannot hide in both.
import { equalBytes } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { EMPTY_ROOT, HASH_BYTES, nodeHash } from './hash.ts';
import { splitOf, storedHashIndex, subtreesOf } from './stored.ts';

/** Reads hashes by their {@link storedHashIndex}. */
export type ReadHashes = (indices: readonly bigint[]) => Promise<Buffer[]>;

type Range = readonly [from: bigint, to: bigint];

/** @throws RangeError the index is not in a tree of that size */
export async function makeInclusionProof(index: bigint, size: bigint, read: ReadHashes): Promise<Buffer[]> {
  if (index < 0n || index >= size) throw new RangeError(`no entry ${index} in a tree of ${size}`);
  const siblings: Range[] = [];
  let [from, to]: Range = [0n, size];
  while (to - from > 1n) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      siblings.unshift([middle, to]);
      to = middle;
    } else {
      siblings.unshift([from, middle]);
      from = middle;
    }
  }
  return rootsOf(siblings, read);
}

/** @throws RangeError the old tree is larger than the new one */
export async function makeConsistencyProof(
  oldSize: bigint,
  newSize: bigint,
  read: ReadHashes,
): Promise<Buffer[]> {
  if (oldSize < 0n || oldSize > newSize)
    throw new RangeError(`no tree of ${oldSize} within one of ${newSize}`);
  if (oldSize === 0n || oldSize === newSize) return [];
  const ranges: Range[] = [];
  let [from, to]: Range = [0n, newSize];
  while (to !== oldSize) {
    const middle = from + splitOf(to - from);
    if (oldSize <= middle) {
      ranges.unshift([middle, to]);
      to = middle;
    } else {
      ranges.unshift([from, middle]);
      from = middle;
    }
  }
  // A subtree that is the whole old tree is what the verifier has in hand already.
  if (from > 0n) ranges.unshift([from, to]);
  return rootsOf(ranges, read);
}

/** Root of a tree of `size`, from stored hashes. */
export async function readRoot(size: bigint, read: ReadHashes): Promise<Buffer> {
  if (size === 0n) return EMPTY_ROOT;
  const [root] = await rootsOf([[0n, size]], read);
  if (root === undefined) throw new MalformedBytes(`no root of size ${size}`);
  return root;
}

/** Hash of each range; all reads at once. */
async function rootsOf(ranges: readonly Range[], read: ReadHashes): Promise<Buffer[]> {
  const subtrees = ranges.map(([from, to]) => subtreesOf(from, to));
  const hashes = await read(subtrees.flat().map(storedHashIndex));
  let next = 0;
  return subtrees.map(({ length }) => {
    const own = hashes.slice(next, next + length);
    next += length;
    const root = own.reduceRight((right, left) => nodeHash(left, right));
    return root;
  });
}

/**
 * Checks that the leaf is entry `index` of the tree.
 * @throws MalformedBytes otherwise
 */
export function verifyInclusion(
  leaf: Uint8Array,
  index: bigint,
  size: bigint,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): void {
  if (index < 0n || index >= size) throw new MalformedBytes(`no entry ${index} in a tree of ${size}`);
  requireHashes(proof, leaf, root);
  let [own, last] = [index, size - 1n];
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0n) throw new MalformedBytes('inclusion proof is too long');
    if (isOdd(own) || own === last) {
      hash = nodeHash(sibling, hash);
      while (!isOdd(own) && own !== 0n) [own, last] = [own >> 1n, last >> 1n];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [own, last] = [own >> 1n, last >> 1n];
  }
  if (last !== 0n) throw new MalformedBytes('inclusion proof is too short');
  if (!equalBytes(hash, root)) throw new MalformedBytes('inclusion proof leads to another root');
}

/**
 * Checks that the new tree begins with the old one.
 * @throws MalformedBytes otherwise
 */
export function verifyConsistency(
  oldSize: bigint,
  oldRoot: Uint8Array,
  newSize: bigint,
  newRoot: Uint8Array,
  proof: readonly Uint8Array[],
): void {
  if (oldSize < 0n || oldSize > newSize)
    throw new MalformedBytes(`tree shrinks from ${oldSize} to ${newSize}`);
  requireHashes(proof, oldRoot, newRoot);
  if (oldSize === newSize || oldSize === 0n) {
    if (proof.length > 0) throw new MalformedBytes('consistency proof is too long');
    if (!equalBytes(oldRoot, oldSize === 0n ? EMPTY_ROOT : newRoot)) {
      throw new MalformedBytes(`two roots for size ${oldSize}`);
    }
    return;
  }
  let [own, last] = [oldSize - 1n, newSize - 1n];
  while (isOdd(own)) [own, last] = [own >> 1n, last >> 1n];
  // A power of two: the old root itself is the first node of the way up.
  const [start, ...path] = own === 0n ? [oldRoot, ...proof] : proof;
  if (start === undefined) throw new MalformedBytes('consistency proof is too short');
  let [oldHash, newHash] = [start, start];
  for (const node of path) {
    if (last === 0n) throw new MalformedBytes('consistency proof is too long');
    if (isOdd(own) || own === last) {
      oldHash = nodeHash(node, oldHash);
      newHash = nodeHash(node, newHash);
      while (!isOdd(own) && own !== 0n) [own, last] = [own >> 1n, last >> 1n];
    } else {
      newHash = nodeHash(newHash, node);
    }
    [own, last] = [own >> 1n, last >> 1n];
  }
  if (last !== 0n) throw new MalformedBytes('consistency proof is too short');
  if (!equalBytes(oldHash, oldRoot)) throw new MalformedBytes('consistency proof leads to another old root');
  if (!equalBytes(newHash, newRoot)) throw new MalformedBytes('consistency proof leads to another new root');
}

const isOdd = (n: bigint): boolean => (n & 1n) === 1n;

function requireHashes(proof: readonly Uint8Array[], ...others: readonly Uint8Array[]): void {
  for (const hash of [...proof, ...others]) {
    if (hash.length !== HASH_BYTES) throw new MalformedBytes(`a hash of ${hash.length} bytes`);
  }
}
