import { randomBytes } from 'node:crypto';

const POOL_BYTES = 4096;

/** Random bytes, drawn in bulk: for the sixteen of an id, a draw costs more than all else about the id. */
export function pooledRandom(draw: (bytes: number) => Buffer = randomBytes): (bytes: number) => Buffer {
  let pool = Buffer.alloc(0);
  let at = 0;
  return (bytes) => {
    if (bytes > POOL_BYTES / 64) return draw(bytes);
    if (at + bytes > pool.length) {
      pool = Buffer.from(draw(POOL_BYTES));
      at = 0;
    }
    return pool.subarray(at, (at += bytes)); // nothing is given out twice
  };
}
