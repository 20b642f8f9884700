/** The values each label may have. */
export type Labels = Readonly<Record<string, readonly string[]>>;
export type Values<L extends Labels> = { readonly [K in keyof L]: L[K][number] };

/** One cell for every combination of label values, in one array: an update costs a few additions and no allocation. */
export class Cells<L extends Labels> {
  readonly size: number;
  readonly #names: readonly (keyof L & string)[];
  /** Position of each value of each label, times the distance between its cells. */
  readonly #steps: readonly ReadonlyMap<string, number>[];
  readonly #labels: L;

  constructor(labels: L) {
    this.#labels = labels;
    this.#names = Object.keys(labels);
    let size = 1;
    this.#steps = this.#names.map((name) => {
      const step = size;
      const values = labels[name] ?? [];
      size *= values.length;
      return new Map(values.map((value, i) => [value, i * step]));
    });
    if (size > 1000) throw new Error(`${size} combinations of labels are too many`);
    this.size = size;
  }

  indexOf(values: Values<L>): number {
    let index = 0;
    for (let i = 0; i < this.#names.length; i += 1) {
      const name = this.#names[i] ?? '';
      const step = this.#steps[i]?.get(values[name] ?? '');
      if (step === undefined) throw new Error(`label ${name}: not one of its values`);
      index += step;
    }
    return index;
  }

  labelsOf(index: number): [string, string][] {
    let rest = index;
    return this.#names.map((name) => {
      const values = this.#labels[name] ?? [];
      const value = values[rest % values.length] ?? '';
      rest = Math.floor(rest / values.length);
      return [name, value];
    });
  }
}
