/** Milliseconds since 1970, wall clock. */
export type EpochMs = number;
/** Seconds since 1970, wall clock: what RFC 9421 `created` and JWT times are counted in. */
export type EpochSeconds = number;

/** Time is an argument. The only `Date.now` of the repository is in `node/clock.ts`. */
export interface Clock {
  /** Wall clock, for what is written down and compared with other machines. */
  now(): EpochMs;
  /** Milliseconds that never go back, for deadlines and durations. */
  monotonic(): number;
}

export const toSeconds = (at: EpochMs): EpochSeconds => Math.floor(at / 1000);
