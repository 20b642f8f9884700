/** Median, least and greatest of a set of figures, and how many there were. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
}

/** The value below which `fraction` (0 to 1) of the figures lie, interpolated. @throws RangeError for no figures */
export function quantile(values: readonly number[], fraction: number): number {
  if (!(fraction >= 0 && fraction <= 1)) throw new RangeError(`quantile: fraction ${fraction}`);
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * fraction;
  const below = sorted[Math.floor(at)];
  const above = sorted[Math.ceil(at)];
  if (below === undefined || above === undefined) throw new RangeError('quantile of nothing');
  return below + (above - below) * (at - Math.floor(at));
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), n: values.length };
}

/** One round's figure of each subject, by the subject's name. */
export type RoundFigures = ReadonlyMap<string, number>;

/**
 * Compares two subjects inside each round and only then over rounds: what both suffered (a busy neighbour, a slower
 * clock) falls out of the quotient, while a quotient of two medians would keep it. Rounds that lack one of the two are
 * left out.
 */
export function compareRounds(
  rounds: readonly RoundFigures[],
  ours: string,
  theirs: string,
  compare: (ours: number, theirs: number) => number,
): Spread | undefined {
  const compared = rounds.flatMap((round) => {
    const a = round.get(ours);
    const b = round.get(theirs);
    return a === undefined || b === undefined ? [] : [compare(a, b)];
  });
  return compared.length === 0 ? undefined : spread(compared);
}

/** @throws RangeError when the quotient would say nothing (no CPU time at all was counted) */
export function ratio(ours: number, theirs: number): number {
  if (!(theirs > 0) || !Number.isFinite(ours)) throw new RangeError(`ratio ${ours} / ${theirs}`);
  return ours / theirs;
}

export const difference = (ours: number, theirs: number): number => ours - theirs;
