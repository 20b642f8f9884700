import type { Clock } from '../core/clock.ts';

/** The only clock of the program. Each thread has a `monotonic` of its own, which means nothing to another. */
export const clock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** Nanoseconds on one scale for all threads. */
export const nanoseconds = (): bigint => process.hrtime.bigint();

export const SOFTWARE = 'troad 0.1.0';
