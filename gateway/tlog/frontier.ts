import { MalformedBytes } from '../core/errors.ts';
import { sha256 } from '../core/bytes.ts';
import { EMPTY_ROOT, HASH_BYTES, hashBytes, hashText, nodeTextOf, type HashText } from './hash.ts';

/** 2⁵³ leaves: a thousand a second for 285,000 years. Beyond it counting in doubles would go wrong silently. */
const MAX_SIZE = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * The right edge of a growing tree: roots of its complete subtrees, one for every bit set in its size. Enough to append
 * and to know the root; `log n` hashes whatever the size.
 */
export class Frontier {
  /** Index = level. A gap is a zero bit of the size. */
  readonly #nodes: (HashText | undefined)[] = [];
  #size = 0;

  get size(): bigint {
    return BigInt(this.#size);
  }

  /**
   * @param completed told every hash that the append settles for ever: the leaf, then each interior node it completes,
   * bottom up – the order of {@link storedHashIndex}
   */
  append(leaf: HashText, completed?: (hash: HashText) => void): void {
    let hash = leaf;
    let level = 0;
    completed?.(hash);
    for (let left = this.#nodes[0]; left !== undefined; left = this.#nodes[level]) {
      hash = nodeTextOf(left, hash);
      completed?.(hash);
      this.#nodes[level] = undefined;
      level += 1;
    }
    this.#nodes[level] = hash;
    this.#size += 1;
  }

  /** Root hash of RFC 6962 §2.1 at the present size. */
  root(): Buffer {
    let root: HashText | undefined;
    for (const node of this.#nodes) {
      if (node !== undefined) root = root === undefined ? node : nodeTextOf(node, root);
    }
    return root === undefined ? EMPTY_ROOT : hashBytes(root);
  }

  /** The subtree roots, largest subtree first. */
  hashes(): Buffer[] {
    return this.#nodes
      .filter((node) => node !== undefined)
      .map(hashBytes)
      .toReversed();
  }

  /** One hash that stands for size and all subtree roots: cheaper than the root where only equality counts. */
  digest(): Buffer {
    let text = `frontier ${this.#size}\n`;
    for (const node of this.#nodes.toReversed()) text += node ?? '';
    return sha256(Buffer.from(text, 'latin1'));
  }

  clone(): Frontier {
    const copy = new Frontier();
    copy.#nodes.push(...this.#nodes);
    copy.#size = this.#size;
    return copy;
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
      frontier.#nodes[level] = hashText(hash);
    }
    if (rest.length > 0)
      throw new MalformedBytes(`frontier of size ${size} has ${rest.length} hashes too many`);
    frontier.#size = Number(size);
    return frontier;
  }
}
