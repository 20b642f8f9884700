import { performance } from 'node:perf_hooks';
import type { Clock } from '../core/clock.ts';

// Imported, as `Buffer` is where every exchange needs it: the global of that name is a getter, which no compiler inlines.

/** The only clock of the program. Each thread has a `monotonic` of its own, which means nothing to another. */
export const clock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** Nanoseconds on one scale for all threads. */
export const nanoseconds = (): bigint => process.hrtime.bigint();

export const SOFTWARE = 'troad 0.1.0';
