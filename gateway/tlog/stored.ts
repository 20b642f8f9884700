/**
 * Where the settled hashes of a tree stand when they are written in the order in which appending settles them (the
 * layout of Go's `tlog.StoredHashIndex`). A proof then reads O(log n) hashes, whatever the size, from one flat file.
 */

const ones = (n: bigint): bigint => {
  let count = 0n;
  for (let rest = n; rest > 0n; rest &= rest - 1n) count += 1n;
  return count;
};

/** A complete subtree: the `n`-th of its level; level 0 are the leaves. */
export interface Subtree {
  readonly level: number;
  readonly n: bigint;
}

/** How many hashes a tree of `size` leaves has settled: each leaf, and each complete subtree above. */
export const storedHashCount = (size: bigint): bigint => 2n * size - ones(size);

/** Position of a subtree's root in that order, counted in hashes. */
export function storedHashIndex({ level, n }: Subtree): bigint {
  // It is settled `level` hashes after the last leaf below it, which itself follows all that was settled before it.
  const lastLeaf = ((n + 1n) << BigInt(level)) - 1n;
  return storedHashCount(lastLeaf) + BigInt(level);
}

const topBit = (n: bigint): number => n.toString(2).length - 1;

/** The complete subtrees that a range of leaves falls into, left to right. The range is one that RFC 6962 splits off. */
export function subtreesOf(from: bigint, to: bigint): Subtree[] {
  const subtrees: Subtree[] = [];
  for (let at = from; at < to;) {
    const level = topBit(to - at);
    subtrees.push({ level, n: at >> BigInt(level) });
    at += 1n << BigInt(level);
  }
  return subtrees;
}

/** Largest power of two smaller than `n`: where RFC 6962 §2.1 cuts a tree of `n` > 1 leaves. */
export const splitOf = (n: bigint): bigint => 1n << BigInt(topBit(n - 1n));
