import { Cells, type Labels, type Values } from './label-cells.ts';

/**
 * Prometheus text exposition 0.0.4, with what a gateway needs: counters, gauges, histograms with fixed buckets. Every
 * label has a closed set of values, fixed at declaration, so that nobody outside can grow the memory or the page.
 */

/** How one value is made of those that several threads have. */
export type Merge = 'sum' | 'least' | 'greatest';

/** A name with its labels, and its value. */
export type Sample = readonly [series: string, value: number];

interface FamilyFacts {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly merge: Merge;
}

interface Family extends FamilyFacts {
  samples(): Iterable<Sample>;
}

/** One metric as it was at a moment: plain values, which can be posted to another thread. */
export interface FamilySnapshot extends FamilyFacts {
  readonly samples: readonly Sample[];
}

export class MetricsPage {
  readonly #families: Family[] = [];

  /** @param name without `_total`, which is added */
  counter<const L extends Labels>(name: string, help: string, labels: L): Counter<L> {
    const counter = new Counter(`${name}_total`, labels);
    this.#add({
      name: `${name}_total`,
      help,
      type: 'counter',
      merge: 'sum',
      samples: () => counter.samples(),
    });
    return counter;
  }

  gauge<const L extends Labels>(name: string, help: string, labels: L, merge: Merge = 'sum'): Gauge<L> {
    const gauge = new Gauge(name, labels);
    this.#add({ name, help, type: 'gauge', merge, samples: () => gauge.samples() });
    return gauge;
  }

  /** @param bounds upper bounds of the buckets, rising; `+Inf` is added */
  histogram<const L extends Labels>(
    name: string,
    help: string,
    labels: L,
    bounds: readonly number[],
  ): Histogram<L> {
    const histogram = new Histogram(name, labels, bounds);
    this.#add({ name, help, type: 'histogram', merge: 'sum', samples: () => histogram.samples() });
    return histogram;
  }

  /** A value that somebody else keeps, asked for when the page is read; nothing is shown while it is undefined. */
  observed(
    type: 'counter' | 'gauge',
    name: string,
    help: string,
    read: () => number | undefined,
    merge: Merge = 'sum',
  ): void {
    const samples = (): Sample[] => {
      const value = read();
      return value === undefined ? [] : [[name, value]];
    };
    this.#add({ name, help, type, merge, samples });
  }

  /** A counter whose label values come up as it counts: from us, and few. */
  tally(name: string, help: string): Tally {
    const tally = new Tally(`${name}_total`);
    this.#add({
      name: `${name}_total`,
      help,
      type: 'counter',
      merge: 'sum',
      samples: () => tally.samples(),
    });
    return tally;
  }

  /** Facts that are text: a gauge that is always 1, with labels that change rarely and come from us. */
  info(name: string, help: string, read: () => Readonly<Record<string, string>> | undefined): void {
    const samples = (): Sample[] => {
      const facts = read();
      return facts === undefined ? [] : [[`${name}${formatLabels(Object.entries(facts))}`, 1]];
    };
    this.#add({ name, help, type: 'gauge', merge: 'greatest', samples });
  }

  snapshot(): FamilySnapshot[] {
    return this.#families.map((family) => {
      const { name, help, type, merge } = family;
      return { name, help, type, merge, samples: [...family.samples()] };
    });
  }

  render(): string {
    return renderPage(this.snapshot());
  }

  #add(family: Family): void {
    if (!/^[a-z][a-z0-9_]*$/.test(family.name)) throw new Error(`not a metric name: ${family.name}`);
    if (this.#families.some(({ name }) => name === family.name))
      throw new Error(`declared twice: ${family.name}`);
    this.#families.push(family);
  }
}

export function renderPage(families: readonly FamilySnapshot[]): string {
  let page = '';
  for (const { name, help, type, samples } of families) {
    page += `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`;
    for (const [series, value] of samples) page += `${series} ${formatNumber(value)}\n`;
  }
  return page;
}

/** Counts or observes in one label set, which was found before: for what every exchange does. */
export type Meter = (amount: number) => void;

export class Counter<L extends Labels> {
  readonly #name: string;
  readonly #cells: Cells<L>;
  readonly #counts: Float64Array;

  constructor(name: string, labels: L) {
    this.#name = name;
    this.#cells = new Cells(labels);
    this.#counts = new Float64Array(this.#cells.size);
  }

  add(values: Values<L>, amount = 1): void {
    this.of(values)(amount);
  }

  of(values: Values<L>): Meter {
    const index = this.#cells.indexOf(values);
    return (amount) => {
      this.#counts[index] = (this.#counts[index] ?? 0) + amount;
    };
  }

  /** A label set is shown once it has counted; a counter without labels always is, so that alerts find it. */
  *samples(): Iterable<Sample> {
    for (const [i, count] of this.#counts.entries()) {
      if (count === 0 && this.#counts.length > 1) continue;
      yield [`${this.#name}${formatLabels(this.#cells.labelsOf(i))}`, count];
    }
  }
}

export class Tally {
  readonly #name: string;
  readonly #counts = new Map<string, number>();

  constructor(name: string) {
    this.#name = name;
  }

  add(labels: Readonly<Record<string, string>>, amount = 1): void {
    const series = `${this.#name}${formatLabels(Object.entries(labels))}`;
    this.#counts.set(series, (this.#counts.get(series) ?? 0) + amount);
  }

  samples(): Iterable<Sample> {
    return this.#counts;
  }
}

export class Gauge<L extends Labels> {
  readonly #name: string;
  readonly #cells: Cells<L>;
  readonly #values: Float64Array;

  constructor(name: string, labels: L) {
    this.#name = name;
    this.#cells = new Cells(labels);
    this.#values = new Float64Array(this.#cells.size);
  }

  set(values: Values<L>, value: number): void {
    this.#values[this.#cells.indexOf(values)] = value;
  }

  add(values: Values<L>, change: number): void {
    this.of(values)(change);
  }

  of(values: Values<L>): Meter {
    const index = this.#cells.indexOf(values);
    return (change) => {
      this.#values[index] = (this.#values[index] ?? 0) + change;
    };
  }

  *samples(): Iterable<Sample> {
    for (const [i, value] of this.#values.entries()) {
      yield [`${this.#name}${formatLabels(this.#cells.labelsOf(i))}`, value];
    }
  }
}

export class Histogram<L extends Labels> {
  readonly #name: string;
  readonly #cells: Cells<L>;
  readonly #bounds: readonly number[];
  /** Per label set: one count for each bucket and one for what is above all of them, not cumulated. */
  readonly #counts: Float64Array;
  readonly #sums: Float64Array;

  constructor(name: string, labels: L, bounds: readonly number[]) {
    if (bounds.some((bound, i) => i > 0 && bound <= (bounds[i - 1] ?? 0)))
      throw new Error(`${name}: bounds must rise`);
    this.#name = name;
    this.#cells = new Cells(labels);
    this.#bounds = bounds;
    this.#counts = new Float64Array(this.#cells.size * (bounds.length + 1));
    this.#sums = new Float64Array(this.#cells.size);
  }

  observe(values: Values<L>, value: number): void {
    this.of(values)(value);
  }

  of(values: Values<L>): Meter {
    const cell = this.#cells.indexOf(values);
    return (value) => {
      let bucket = 0;
      while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? 0)) bucket += 1;
      const index = cell * (this.#bounds.length + 1) + bucket;
      this.#counts[index] = (this.#counts[index] ?? 0) + 1;
      this.#sums[cell] = (this.#sums[cell] ?? 0) + value;
    };
  }

  *samples(): Iterable<Sample> {
    for (const [cell, sum] of this.#sums.entries()) {
      const labels = this.#cells.labelsOf(cell);
      let cumulated = 0;
      for (let bucket = 0; bucket <= this.#bounds.length; bucket += 1) {
        cumulated += this.#counts[cell * (this.#bounds.length + 1) + bucket] ?? 0;
        const bound = this.#bounds[bucket] ?? Number.POSITIVE_INFINITY;
        yield [`${this.#name}_bucket${formatLabels([...labels, ['le', formatNumber(bound)]])}`, cumulated];
      }
      yield [`${this.#name}_sum${formatLabels(labels)}`, sum];
      yield [`${this.#name}_count${formatLabels(labels)}`, cumulated];
    }
  }
}

function formatLabels(labels: readonly (readonly [string, string])[]): string {
  if (labels.length === 0) return '';
  const pairs = labels.map(([name, value]) => {
    const text = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
    return `${name}="${text}"`;
  });
  return `{${pairs.join(',')}}`;
}

function formatNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value); // NaN is spelled alike
}
