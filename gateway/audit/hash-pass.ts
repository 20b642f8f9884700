// The hash pass: every byte of every record into the tree, no JSON read. What it says rests on nothing but the segments;
// what the tree is then worth is for the signed heads to say.
import { equalBytes } from '../core/bytes.ts';
import { describe } from '../core/errors.ts';
import { forEachFrame, readBlock } from '../evidence/block.ts';
import { firstOfSegment, readSegmentHead } from '../evidence/segment.ts';
import { Frontier } from '../tlog/frontier.ts';
import { leafTextInPlace, type HashText } from '../tlog/hash.ts';
import type { EpochFolder, ReadStorage } from './folder.ts';
import { SegmentReader } from './segment-reader.ts';

export interface Damage {
  /** No record from this one on can be vouched for. */
  readonly index: bigint;
  readonly kind: 'damaged' | 'gap';
  readonly detail: string;
}

export interface HashedLog {
  readonly origin: string | undefined;
  readonly frontier: Frontier;
  /** Roots at the sizes that were asked for, as far as the tree reaches. */
  readonly roots: ReadonlyMap<bigint, Buffer>;
  /** The first thing that is not as it was written, if anything is. */
  readonly damage: Damage | undefined;
}

/**
 * Hashes an epoch from its first record on, and stops at the first damage.
 * @param sizes tree sizes to note the root at
 * @param settled told every settled hash of the tree, in order, and asked to compare them after each segment
 */
export async function hashEpoch(
  storage: ReadStorage,
  epoch: EpochFolder,
  sizes: Iterable<bigint>,
  settled?: { readonly add: (hash: HashText) => void; compare(): Promise<void> },
): Promise<HashedLog> {
  const wanted = [...new Set(sizes)].toSorted((a, b) => (a < b ? -1 : 1));
  const roots = new Map<bigint, Buffer>();
  const frontier = new Frontier();
  let next = 0;
  const note = (): void => {
    for (let size = wanted[next]; size !== undefined && size <= frontier.size; size = wanted[++next]) {
      if (size === frontier.size) roots.set(size, frontier.root());
    }
  };
  note();
  let origin: string | undefined;
  const damaged = (kind: Damage['kind'], detail: string): HashedLog => ({
    origin,
    frontier,
    roots,
    damage: { index: frontier.size, kind, detail },
  });
  const segments = new SegmentReader(storage);
  for (const path of epoch.segments) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    await settled?.compare();
    try {
      const bytes = await segments.read(path);
      if (bytes === undefined) return damaged('gap', `${name} cannot be read`);
      const { head, end } = readSegmentHead(bytes);
      origin ??= head.origin;
      const first = head.frontier.size;
      if (first !== firstOfSegment(name)) return damaged('damaged', `${name} begins with record ${first}`);
      if (head.origin !== origin) return damaged('damaged', `${name} is of another log: ${head.origin}`);
      if (first !== frontier.size) {
        const what = first > frontier.size ? 'records are missing before' : 'records are there twice in';
        return damaged('gap', `${what} ${name}`);
      }
      if (!equalBytes(head.frontier.digest(), frontier.digest())) {
        return damaged('damaged', `the records before ${name} are not those it was begun on`);
      }
      for (let at = end; at < bytes.length;) {
        if (bytes[at] === 0) {
          const behind = bytes.subarray(at).findIndex((byte) => byte !== 0);
          if (behind < 0) break; // zeros to the end: space not used yet
          return damaged('damaged', `${name}: bytes behind the last block, at byte ${at + behind}`);
        }
        const block = readBlock(bytes, at);
        if (block.first !== frontier.size) {
          return damaged('gap', `${name}: block at byte ${at} begins with record ${block.first}`);
        }
        const before = frontier.clone();
        const stop = wanted[next];
        forEachFrame(block, (prefixed) => {
          frontier.append(leafTextInPlace(prefixed), settled?.add);
          if (stop !== undefined) note();
        });
        if (!equalBytes(frontier.digest(), block.frontierDigest)) {
          const last = frontier.size - 1n;
          return {
            origin,
            frontier: before,
            roots,
            damage: {
              index: before.size,
              kind: 'damaged',
              detail: `${name}: one of records ${before.size} to ${last} (block at byte ${at}) is not as it was written`,
            },
          };
        }
        at += block.length;
      }
    } catch (cause) {
      return damaged('damaged', `${name}: ${describe(cause)}`);
    }
  }
  return { origin, frontier, roots, damage: undefined };
}
