// Merkle tree hashing of RFC 6962 §2.1, which C2SP tlog-checkpoint fixes to SHA-256.
import { Buffer } from 'node:buffer';
import { hash } from 'node:crypto';
import { sha256, view } from '../core/bytes.ts';

export const HASH_BYTES = 32;

// Distinct prefixes, so that no leaf can be passed off as an interior node (RFC 6962 §2.1).
export const LEAF_PREFIX = 0x00;
const NODE_PREFIX = 0x01;

/** Root of the tree without leaves: the hash of nothing. */
export const EMPTY_ROOT: Buffer = sha256('');

// Reused: hashing is synchronous, and two thirds of a small hash's price would be the allocation.
const node = Buffer.alloc(1 + 2 * HASH_BYTES, NODE_PREFIX);

/** A hash as a text of 32 characters, one a byte: made by one call, compared and kept without an object of its own. */
export type HashText = string & { readonly hashText: never };

const hashed = (data: Uint8Array | string): HashText => hash('sha256', data, 'binary') as HashText; // the only source

/** The bytes of a hash. Through a text and back costs half of asking for a buffer, which would not come from the pool. */
export const hashBytes = (text: HashText): Buffer => Buffer.from(text, 'latin1');

/** The text of the bytes of a hash. @throws RangeError as many bytes as no hash has */
export function hashText(bytes: Uint8Array): HashText {
  if (bytes.length !== HASH_BYTES) throw new RangeError(`hash of ${bytes.length} bytes`);
  return view(bytes).toString('latin1') as HashText; // of as many bytes as a hash has
}

export const leafHash = (entry: Uint8Array): Buffer => sha256(Uint8Array.of(LEAF_PREFIX), entry);

/** Leaf hash of an entry that already stands behind its prefix in memory: one call, no copy. */
export const leafTextInPlace = (prefixed: Uint8Array): HashText => hashed(prefixed);

/** Room for a leaf of 16 KiB behind its prefix, in UTF-8. */
const leaf = Buffer.alloc(1 + 3 * 16 * 1024, LEAF_PREFIX);

/** Leaf hash of a text in UTF-8: no other text, of whatever characters, has the same bytes. */
export function leafTextOf(text: string): HashText {
  // Written out, so that a text put together from pieces is put together once for all who read it after us.
  if (3 * text.length < leaf.length) return hashed(leaf.subarray(0, 1 + leaf.write(text, 1)));
  return hashed(`\0${text}`);
}

/** {@link leafTextOf} in bytes. */
export const leafHashOfText = (text: string): Buffer => hashBytes(leafTextOf(text));

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTES);
  return hashBytes(hashed(node));
}

export function nodeTextOf(left: HashText, right: HashText): HashText {
  node.write(left, 1, 'latin1');
  node.write(right, 1 + HASH_BYTES, 'latin1');
  return hashed(node);
}

/** The node of a hash and its sibling, which lies in the bytes from `at` on. */
export function nodeTextWith(own: HashText, isRight: boolean, bytes: Buffer, at: number): HashText {
  bytes.copy(node, isRight ? 1 : 1 + HASH_BYTES, at, at + HASH_BYTES);
  node.write(own, isRight ? 1 + HASH_BYTES : 1, 'latin1');
  return hashed(node);
}
