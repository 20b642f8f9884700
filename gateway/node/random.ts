import { randomBytes } from 'node:crypto';

const POOL_BYTES = 4096;

/** Random bytes, drawn in bulk: for the sixteen of an id, a draw costs more than all else about the id. */
export function pooledRandom(draw: (bytes: number) => Buffer = randomBytes): (bytes: number) => Buffer {
  let pool = Buffer.alloc(0);
  return (bytes) => {
    if (bytes > POOL_BYTES / 64) return draw(bytes);
    if (pool.length < bytes) pool = Buffer.from(draw(POOL_BYTES));
    const drawn = pool.subarray(0, bytes);
    pool = pool.subarray(bytes); // nothing is given out twice
    return drawn;
  };
}
