import { Buffer } from 'node:buffer';
import { MalformedBytes } from '../core/errors.ts';
import { sha256 } from '../core/bytes.ts';
import { EMPTY_ROOT, HASH_BYTES, nodeHash } from './hash.ts';

/** 2⁵³ leaves: a thousand a second for 285,000 years. Beyond it counting in doubles would go wrong silently. */
const MAX_SIZE = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * The right edge of a growing tree: roots of its complete subtrees, one for every bit set in its size. Enough to append
 * and to know the root; `log n` hashes whatever the size.
 */
export class Frontier {
  /** Index = level. A gap is a zero bit of the size. */
  readonly #nodes: (Buffer | undefined)[] = [];
  #size = 0;

  get size(): bigint {
    return BigInt(this.#size);
  }

  /**
   * @param completed told every hash that the append settles for ever: the leaf, then each interior node it completes,
   * bottom up – the order of {@link storedHashIndex}
   */
  append(leaf: Buffer, completed?: (hash: Buffer) => void): void {
    let hash = leaf;
    let level = 0;
    completed?.(hash);
    for (let left = this.#nodes[0]; left !== undefined; left = this.#nodes[level]) {
      hash = nodeHash(left, hash);
      completed?.(hash);
      this.#nodes[level] = undefined;
      level += 1;
    }
    this.#nodes[level] = hash;
    this.#size += 1;
  }

  /** Root hash of RFC 6962 §2.1 at the present size. */
  root(): Buffer {
    let root: Buffer | undefined;
    for (const node of this.#nodes) {
      if (node !== undefined) root = root === undefined ? node : nodeHash(node, root);
    }
    return root ?? EMPTY_ROOT;
  }

  /** The subtree roots, largest subtree first. */
  hashes(): Buffer[] {
    return this.#nodes.filter((node) => node !== undefined).toReversed();
  }

  /** One hash that stands for size and all subtree roots: cheaper than the root where only equality counts. */
  digest(): Buffer {
    return sha256(`frontier ${this.#size}\n`, ...this.hashes());
  }

  clone(): Frontier {
    return Frontier.of(this.size, this.hashes());
  }

  /** @throws MalformedBytes the hashes are not one for every bit of the size */
  static of(size: bigint, hashes: readonly Uint8Array[]): Frontier {
    if (size < 0n || size > MAX_SIZE) throw new MalformedBytes(`tree size ${size} is out of range`);
    const frontier = new Frontier();
    const rest = [...hashes];
    for (let level = 0, bits = size; bits > 0n; level += 1, bits >>= 1n) {
      if ((bits & 1n) === 0n) continue;
      const hash = rest.pop();
      if (hash?.length !== HASH_BYTES)
        throw new MalformedBytes(`frontier of size ${size} lacks level ${level}`);
      frontier.#nodes[level] = Buffer.from(hash);
    }
    if (rest.length > 0)
      throw new MalformedBytes(`frontier of size ${size} has ${rest.length} hashes too many`);
    frontier.#size = Number(size);
    return frontier;
  }
}
