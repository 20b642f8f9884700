import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { RunningGrants, type Running } from './running-grants.ts';

const real = { monotonic: () => performance.now() };

/** Looked at, it says when; and is due again when `next` says. */
class Fake implements Running {
  dueAt: number;
  readonly looks: number[] = [];
  readonly #next: (look: number) => number;
  readonly #work: () => void;

  constructor(dueAt: number, next: (look: number) => number = () => Infinity, work = (): void => undefined) {
    this.dueAt = dueAt;
    this.#next = next;
    this.#work = work;
  }

  look(): void {
    this.looks.push(performance.now());
    this.dueAt = this.#next(this.looks.length);
    this.#work();
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; waited < 60_000 && !condition(); waited += 5) await delay(5);
}

await t.test('each is looked at when it is due, never early, and again as often as it says', async (t) => {
  const grants = new RunningGrants(real);
  const began = performance.now();
  const never = new Fake(Infinity);
  const once = new Fake(began + 120);
  const often = new Fake(began + 60, (look) => (look < 3 ? performance.now() + 60 : Infinity));
  for (const each of [never, once, often]) grants.add(each);
  t.equal(grants.size, 3);
  await until(() => often.looks.length === 3);
  t.equal(once.looks.length, 1);
  t.ok((once.looks[0] ?? 0) >= began + 120);
  t.equal(often.looks.length, 3);
  t.ok((often.looks[2] ?? 0) >= began + 180);
  t.equal(never.looks.length, 0);
  grants.close();
});

await t.test('one that is over is not looked at any more', async (t) => {
  const grants = new RunningGrants(real);
  const timed = new Fake(performance.now() + 30);
  const hastened = new Fake(Infinity);
  const last = new Fake(performance.now() + 120);
  const first = grants.add(timed);
  const second = grants.add(hastened);
  grants.add(last);
  grants.hasten(second);
  for (const each of [first, second]) grants.delete(each);
  grants.hasten(second);
  await until(() => last.looks.length === 1);
  t.same([timed.looks, hastened.looks], [[], []]);
  t.equal(grants.size, 1);
  grants.close();
});

await t.test('a change hastens one, or all, and each once', async (t) => {
  const grants = new RunningGrants(real);
  const later = performance.now() + 3_600_000;
  const some = Array.from({ length: 100 }, () => new Fake(later, () => later));
  const [first = new Fake(0), ...others] = some;
  const entry = grants.add(first);
  for (const each of others) grants.add(each);
  grants.hasten(entry);
  grants.hasten(entry);
  await until(() => first.looks.length > 0);
  grants.hastenAll();
  await until(() => some.every(({ looks }) => looks.length > 0));
  await delay(30);
  t.equal(first.looks.length, 2);
  t.ok(some.slice(1).every(({ looks }) => looks.length === 1));
  grants.close();
});

await t.test(
  'many that are due at once are spread over time: whatever else there is to do goes on',
  async (t) => {
    const grants = new RunningGrants(real);
    const work = (): void => {
      for (const end = performance.now() + 0.2; performance.now() < end;);
    };
    const all = Array.from({ length: 500 }, () => new Fake(performance.now() + 20, () => Infinity, work));
    for (const each of all) grants.add(each);
    let turns = 0;
    const others = setInterval(() => (turns += 1), 1);
    await until(() => all.every(({ looks }) => looks.length === 1));
    clearInterval(others);
    t.ok(
      all.every(({ looks }) => looks.length === 1),
      '500 times 0.2 ms: 100 ms of work',
    );
    t.ok(turns >= 40, `others had ${turns} turns meanwhile`);
    grants.close();
  },
);

await t.test('a clock that leaps wakes all that became due', async (t) => {
  let leapt = 0;
  const grants = new RunningGrants({ monotonic: () => performance.now() + leapt });
  const all = [1_000, 60_000, 3_600_000].map((after) => new Fake(performance.now() + after));
  for (const each of all) grants.add(each);
  leapt = 3_700_000;
  await until(() => all.every(({ looks }) => looks.length === 1));
  t.ok(all.every(({ looks }) => looks.length === 1));
  grants.close();
});
