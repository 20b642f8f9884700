export const BREAKS = [
  'extend-pcr',
  'stale-result',
  'cloned-tpm',
  'relabelled-log',
  'relayed-result',
] as const;
export type Break = (typeof BREAKS)[number];

/** What was played, and what came of it. */
export interface BreakReport {
  readonly what: Break | 'heal';
  readonly did: readonly string[];
  readonly expected: string;
  /** The answers of the service, in order, with the seconds since it was broken. */
  readonly observed: readonly Observed[];
  readonly asExpected: boolean;
}

/** One answer. */
export interface Observed {
  readonly seconds: number;
  readonly status: number;
  /** Of a refusal. */
  readonly code: string | null;
}
