import fc from 'fast-check';
import t from 'tap';
import { MetricsPage } from './metrics.ts';

void t.test('counters, gauges, histograms in the exposition format', async (t) => {
  const page = new MetricsPage();
  const plain = page.counter('a', 'Plain.', {});
  const labelled = page.counter('b', 'With \\ and\nline.', { role: ['c', 'p'], out: ['ok', 'bad'] });
  const gauge = page.gauge('g', 'Gauge.', { side: ['x', 'y'] });
  const histogram = page.histogram('h', 'Histogram.', { role: ['c'] }, [0.1, 1]);
  page.observed('gauge', 'o', 'Observed.', () => 3.5);
  page.observed('gauge', 'none', 'Nothing yet.', () => undefined);
  page.info('i', 'Info.', () => ({ version: 'a "quoted" \\ \n one' }));
  plain.add({});
  labelled.add({ role: 'p', out: 'bad' }, 2);
  gauge.add({ side: 'y' }, 2);
  gauge.add({ side: 'y' }, -3);
  gauge.set({ side: 'x' }, Number.POSITIVE_INFINITY);
  for (const value of [0.1, 0.5, 1, 7]) histogram.observe({ role: 'c' }, value);
  t.equal(
    page.render(),
    `# HELP a_total Plain.
# TYPE a_total counter
a_total 1
# HELP b_total With \\\\ and\\nline.
# TYPE b_total counter
b_total{role="p",out="bad"} 2
# HELP g Gauge.
# TYPE g gauge
g{side="x"} +Inf
g{side="y"} -1
# HELP h Histogram.
# TYPE h histogram
h_bucket{role="c",le="0.1"} 1
h_bucket{role="c",le="1"} 3
h_bucket{role="c",le="+Inf"} 4
h_sum{role="c"} 8.6
h_count{role="c"} 4
# HELP o Observed.
# TYPE o gauge
o 3.5
# HELP none Nothing yet.
# TYPE none gauge
# HELP i Info.
# TYPE i gauge
i{version="a \\"quoted\\" \\\\ \\n one"} 1
`,
  );
});

void t.test('a label value outside the declared set is an error, not a new line', async (t) => {
  const page = new MetricsPage();
  const counter = page.counter('a', 'A.', { role: ['c', 'p'] });
  // @ts-expect-error: the type refuses it; so does the code, for values that came in untyped
  t.throws(() => counter.add({ role: 'x' }), /label role: not one of its values/);
  // @ts-expect-error: a label is missing
  t.throws(() => counter.add({}), /label role/);
  for (const name of ['__proto__', 'constructor', '']) {
    // @ts-expect-error: as above
    t.throws(() => counter.add({ role: name }), /label role/);
  }
});

void t.test('declarations are checked', async (t) => {
  const page = new MetricsPage();
  page.gauge('a', 'A.', {});
  t.throws(() => page.gauge('a', 'A.', {}), /declared twice/);
  t.throws(() => page.gauge('A b', 'A.', {}), /not a metric name/);
  t.throws(() => page.histogram('h', 'H.', {}, [1, 1]), /bounds must rise/);
  const many = Array.from({ length: 40 }, (_, i) => String(i));
  t.throws(() => page.counter('c', 'C.', { a: many, b: many }), /too many/);
});

void t.test('every combination of labels has its own cell', async () => {
  const values = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,4}$/), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(values, values, values, (a, b, c) => {
      const page = new MetricsPage();
      const counter = page.counter('m', 'M.', { a, b, c });
      let n = 0;
      for (const x of a) for (const y of b) for (const z of c) counter.add({ a: x, b: y, c: z }, (n += 1));
      const lines = page
        .render()
        .split('\n')
        .filter((line) => line.startsWith('m_total{'));
      let expected = 0;
      const sorted: string[] = [];
      for (const x of a)
        for (const y of b)
          for (const z of c) sorted.push(`m_total{a="${x}",b="${y}",c="${z}"} ${(expected += 1)}`);
      if (lines.toSorted().join('\n') !== sorted.toSorted().join('\n')) throw new Error(lines.join('\n'));
    }),
  );
});

void t.test('histograms agree with counting by hand', async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -5, max: 40 })), (observations) => {
      const page = new MetricsPage();
      const histogram = page.histogram('h', 'H.', {}, [0, 10, 20]);
      for (const value of observations) histogram.observe({}, value);
      const text = page.render();
      for (const bound of [0, 10, 20]) {
        const count = observations.filter((value) => value <= bound).length;
        if (!text.includes(`h_bucket{le="${bound}"} ${count}\n`)) throw new Error(text);
      }
      if (!text.includes(`h_count ${observations.length}\n`)) throw new Error(text);
    }),
  );
});
