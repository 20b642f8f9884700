import type { FamilySnapshot, Merge, Sample } from './metrics.ts';

/** The metrics of several threads as those of one process, in the order in which they come first. */
export function mergeSnapshots(snapshots: readonly (readonly FamilySnapshot[])[]): FamilySnapshot[] {
  const merged = new Map<string, { facts: FamilySnapshot; values: Map<string, number> }>();
  for (const facts of snapshots.flat()) {
    const family = merged.get(facts.name) ?? { facts, values: new Map<string, number>() };
    merged.set(facts.name, family);
    for (const [series, value] of facts.samples) {
      const before = family.values.get(series);
      family.values.set(series, before === undefined ? value : join(facts.merge, before, value));
    }
  }
  return [...merged.values()].map(({ facts, values }) => ({ ...facts, samples: [...values] }));
}

/**
 * What a thread that has ended leaves behind: a counter of the process may not go back because one of its threads was
 * replaced. What was a state of that thread is gone with it.
 */
export function remains(snapshot: readonly FamilySnapshot[]): FamilySnapshot[] {
  return snapshot.map((family) => (family.type === 'gauge' ? { ...family, samples: [] } : family));
}

function join(merge: Merge, a: Sample[1], b: Sample[1]): number {
  switch (merge) {
    case 'sum':
      return a + b;
    case 'least':
      return Math.min(a, b);
    case 'greatest':
      return Math.max(a, b);
  }
}
