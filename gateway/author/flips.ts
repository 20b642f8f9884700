import type { OutcomeWord } from './outcome.ts';

/** One decision that came out otherwise. */
export interface FlipExample {
  readonly exchange: string;
  readonly log: string;
  readonly index: string;
  readonly at: string;
  readonly client: string | undefined;
  readonly service: string | undefined;
  readonly method: string | undefined;
}

/** Decisions that went the same way from one outcome to another. */
export interface FlipGroup<Example> {
  readonly from: OutcomeWord;
  readonly to: OutcomeWord;
  readonly reasonsBefore: readonly string[];
  readonly reasonsAfter: readonly string[];
  readonly count: number;
  /** The first few. */
  readonly examples: readonly Example[];
}

interface Side {
  readonly word: OutcomeWord;
  readonly reasons: readonly string[];
}

const MAX_EXAMPLES = 3;
/** A policy can make any number of combinations of reasons; a report has a size. */
const MAX_GROUPS = 200;

/** Groups flips by outcome and reasons, with counts and the first examples. */
export class Flips<Example> {
  readonly #groups = new Map<string, { before: Side; after: Side; count: number; examples: Example[] }>();
  /** Flips beyond the groups that are kept. */
  more = 0;
  count = 0;

  add(before: Side, after: Side, example: () => Example): void {
    this.count += 1;
    const key = JSON.stringify([before.word, after.word, before.reasons, after.reasons]);
    let group = this.#groups.get(key);
    if (group === undefined) {
      if (this.#groups.size >= MAX_GROUPS) {
        this.more += 1;
        return;
      }
      this.#groups.set(key, (group = { before, after, count: 0, examples: [] }));
    }
    group.count += 1;
    if (group.examples.length < MAX_EXAMPLES) group.examples.push(example());
  }

  /** Most frequent first. */
  groups(): FlipGroup<Example>[] {
    return [...this.#groups.values()]
      .toSorted((a, b) => b.count - a.count)
      .map(({ before, after, count, examples }) => ({
        from: before.word,
        to: after.word,
        reasonsBefore: before.reasons,
        reasonsAfter: after.reasons,
        count,
        examples,
      }));
  }
}
