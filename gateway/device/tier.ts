// Trust tiers of draft-ietf-rats-ar4si §3.2.2: a claim's value, -128 to 127, says how much to trust.

/** From worst to best. `none` is "nothing is known", which is never good enough, but says nothing bad either. */
export const TIERS = ['contraindicated', 'warning', 'none', 'affirming'] as const;
export type Tier = (typeof TIERS)[number];

/** The tier of a claim's value; undefined for a number that no claim can have. */
export function tierOf(value: number): Tier | undefined {
  if (!Number.isInteger(value) || value < -128 || value > 127) return undefined;
  // Negative values mirror the positive ones: -1 belongs to 1, -2..-32 to 2..31, and so on (§3.2.2 prints the ranges).
  const [none, affirming, warning] = value < 0 ? [-1, -32, -96] : [1, 31, 95];
  const within = (limit: number): boolean => (value < 0 ? value >= limit : value <= limit);
  if (within(none)) return 'none';
  if (within(affirming)) return 'affirming';
  return within(warning) ? 'warning' : 'contraindicated';
}

/** Is a tier as good as wanted? `none` lies below `warning` here: a machine that shows its faults is better known. */
export const atLeast = (tier: Tier, wanted: Tier): boolean => RANK[tier] >= RANK[wanted];

/** For minimums; the worst of several is by {@link TIERS}. */
const RANK: Readonly<Record<Tier, number>> = { contraindicated: 0, none: 1, warning: 2, affirming: 3 };

/** The worst of several tiers: one bad claim is not outweighed by good ones. */
export function worstTier(tiers: readonly Tier[]): Tier {
  return TIERS.find((tier) => tiers.includes(tier)) ?? 'none';
}
