import { createPublicKey, type KeyObject } from 'node:crypto';
import { MalformedBytes } from '../core/errors.ts';

/**
 * y coordinates, without the sign bit, of every encoding of the points of order 1, 2, 4 and 8 on edwards25519. Under
 * such a "key" a signature nobody made verifies for any message (or one in eight), so its owner could deny all of them.
 */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000', // 0: order 4
  '0100000000000000000000000000000000000000000000000000000000000000', // 1: the identity
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', // order 8
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', // order 8
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', // p − 1: order 2
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', // p: 0 once more
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', // p + 1: 1 once more
]);

/** @throws MalformedBytes for a public key of small order */
export function requireEd25519Point(key: KeyObject): void {
  const point = (key.type === 'private' ? createPublicKey(key) : key)
    .export({ format: 'der', type: 'spki' })
    .subarray(-32); // RFC 8410 §4: the point ends the structure
  point[31] = (point[31] ?? 0) & 0x7f;
  if (SMALL_ORDER.has(point.toString('hex'))) throw new MalformedBytes('Ed25519 public key of small order');
}
