// Merkle tree hashing of RFC 6962 §2.1, which C2SP tlog-checkpoint fixes to SHA-256.
import { hash } from 'node:crypto';
import { sha256 } from '../core/bytes.ts';

export const HASH_BYTES = 32;

// Distinct prefixes, so that no leaf can be passed off as an interior node (RFC 6962 §2.1).
export const LEAF_PREFIX = 0x00;
const NODE_PREFIX = 0x01;

/** Root of the tree without leaves: the hash of nothing. */
export const EMPTY_ROOT: Buffer = sha256('');

// Reused: hashing is synchronous, and two thirds of a small hash's price would be the allocation.
const node = Buffer.alloc(1 + 2 * HASH_BYTES, NODE_PREFIX);

/** Through a string and back costs half of asking for a buffer, which would not come from the pool. */
const hashed = (data: Uint8Array | string): Buffer => Buffer.from(hash('sha256', data, 'binary'), 'binary');

export const leafHash = (entry: Uint8Array): Buffer => sha256(Uint8Array.of(LEAF_PREFIX), entry);

/** Leaf hash of an entry that already stands behind its prefix in memory: one call, no copy. */
export const leafHashInPlace = (prefixed: Uint8Array): Buffer => hashed(prefixed);

/** Leaf hash of a text in UTF-8: no other text, of whatever characters, has the same bytes. */
export const leafHashOfText = (text: string): Buffer => hashed(`\0${text}`);

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTES);
  return hashed(node);
}
