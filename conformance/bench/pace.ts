import type { Readable } from 'node:stream';

/** The rate of the deliberately slow readers: well below what any subject reaches. */
export const SLOW_BYTES_PER_SECOND = 120e6;

/**
 * Makes a reader slow. Call the result with the length of every chunk: whenever the stream is ahead of its rate it is
 * paused, the socket's buffers fill, and whoever sends feels it.
 */
export function paced(stream: Readable, bytesPerSecond: number): (length: number) => void {
  const start = performance.now();
  let total = 0;
  return (length) => {
    total += length;
    const aheadMs = (total / bytesPerSecond) * 1000 - (performance.now() - start);
    if (aheadMs < 2) return; // below a timer's resolution
    stream.pause();
    setTimeout(() => stream.resume(), aheadMs);
  };
}
