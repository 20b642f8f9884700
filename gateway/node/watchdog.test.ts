import t from 'tap';
import { EvaluationMark, Watchdog } from './watchdog.ts';

const MS = 1_000_000n;

void t.test('the mark names the bundle, to whoever looks at the memory', async (t) => {
  const mark = new EvaluationMark();
  mark.bundle = 'ftSAJbNc11gitTGnmfeRQfvdp-XHX5Bi0LZu1kKzQ_g';
  mark.begin(42n);
  const seen = new EvaluationMark(mark.memory);
  t.equal(seen.bundle, mark.bundle);
  t.equal(seen.began, 42n);
});

void t.test('one that is over its deadline, and was looked at often enough', async (t) => {
  let now = 1000n * MS;
  const dog = new Watchdog(500, () => now);
  const mark = new EvaluationMark();
  t.equal(dog.everyMs, 100);
  t.equal(dog.overruns(mark), false, 'nothing runs');
  mark.begin(now);
  const looks: boolean[] = [];
  for (let i = 0; i < 7; i += 1) {
    now += 90n * MS;
    looks.push(dog.overruns(mark));
  }
  t.same(looks, [false, false, false, false, false, true, true]);
  mark.end();
  t.equal(dog.overruns(mark), false);
});

void t.test('many short ones are none that is long', async (t) => {
  let now = 1000n * MS;
  const dog = new Watchdog(500, () => now);
  const mark = new EvaluationMark();
  for (let i = 0; i < 100; i += 1) {
    mark.begin(now);
    now += 100n * MS;
    t.equal(dog.overruns(mark), false);
  }
});

void t.test('a process that was stopped as a whole does not blame its evaluations', async (t) => {
  let now = 1000n * MS;
  const dog = new Watchdog(500, () => now);
  const mark = new EvaluationMark();
  mark.begin(now);
  now += 3_600_000n * MS;
  t.equal(dog.overruns(mark), false, 'old, and seen for the first time');
  now += 100n * MS;
  t.equal(dog.overruns(mark), false);
  mark.end(); // it goes on, and ends as it would have
  t.equal(dog.overruns(mark), false);
});

void t.test('the least deadline', async (t) => {
  t.equal(new Watchdog(50, () => 0n).everyMs, 10);
});
