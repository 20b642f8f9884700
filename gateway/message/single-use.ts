import type { RefusalCode } from '../core/refusals.ts';

/** What may be used once, and what a second use is refused with. */
export const USED_AGAIN = {
  message: 'message.replayed',
  assertion: 'assertion.replayed',
  proof: 'assertion.proof_replayed',
} as const satisfies Record<string, RefusalCode>;

/** An id that is used up by one exchange. */
export interface OnceId {
  readonly kind: keyof typeof USED_AGAIN;
  /** Unique for its kind; printable, at most a few hundred characters. */
  readonly id: string;
}

/** Where all replicas of a gateway remember what was used: beyond the tables of this process, which are asked first. */
export interface SharedOnce {
  /**
   * Takes all of them for their only use.
   * @throws Denied with the code of the first that was used before, at any replica; Unavailable `gateway.replicas`
   *   when that cannot be known: then nothing may go on
   */
  claim(ids: readonly OnceId[]): Promise<void>;
}
