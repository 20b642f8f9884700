import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import t from 'tap';
import type { Claiming } from './claiming-thread-fixture.ts';
import { allocateTable, SharedTable } from './shared-table.ts';

const THREADS = 4;

for (const [what, turns, shift] of [
  ['the same texts in step', 0, 0],
  ['the same texts out of step', 0, 1000],
  ['the same texts while the generation turns', 1, 0],
] as const) {
  void t.test(`threads that claim ${what}: each text has exactly one taker`, async (t) => {
    const texts = Array.from({ length: 20_000 }, (_, i) => `gw.a11 ${i}`);
    const memory = allocateTable({ slots: 1 << 15, windowMs: 1000, seed: 'a seed' });
    const owner = new SharedTable(memory);
    owner.tend(0);
    const gate = new SharedArrayBuffer(4);
    const threads = Array.from({ length: THREADS }, (_, i) => {
      const workerData: Claiming = { memory, texts, from: i * shift, gate, threads: THREADS + 1 };
      return new Worker(new URL('./claiming-thread-fixture.ts', import.meta.url), { workerData });
    });
    const results = threads.map((thread) => once(thread, 'message'));
    const ready = new Int32Array(gate);
    while (Atomics.load(ready, 0) < THREADS) await delay(1);
    Atomics.add(ready, 0, 1);
    for (let i = 1; i <= turns; i += 1) {
      await delay(3);
      owner.tend(i * 1000);
    }
    const takers = new Uint8Array(texts.length);
    for (const [taken] of (await Promise.all(results)) as [Uint8Array][])
      for (const [i, one] of taken.entries()) takers[i] = (takers[i] ?? 0) + one;
    t.same(
      [...takers.entries()].filter(([, count]) => count !== 1),
      [],
    );
    const fresh = new SharedTable(memory);
    t.ok(texts.every((text) => fresh.claim(text) === 'seen'));
    if (turns === 0) t.equal(owner.size, texts.length);
  });
}

void t.test('against a plain map: nothing within its window is taken twice', async (t) => {
  const step = fc.record({ text: fc.integer({ min: 0, max: 30 }), pass: fc.integer({ min: 0, max: 700 }) });
  const property = fc.property(
    fc.array(step, { maxLength: 200 }),
    fc.constantFrom(8, 16, 64),
    (steps, slots) => {
      const table = new SharedTable(allocateTable({ slots, windowMs: 1000, seed: '' }));
      const takenAt = new Map<number, number>();
      let now = 0;
      for (const { text, pass } of steps) {
        now += pass;
        table.tend(now);
        const claim = table.claim(String(text));
        const before = takenAt.get(text);
        if (before !== undefined && now - before <= 1000 && claim === 'taken') return false;
        if (before === undefined && claim === 'seen') return false;
        if (claim === 'full' && table.size < (slots / 8) * 7) return false;
        if (claim === 'taken') takenAt.set(text, now);
      }
      return true;
    },
  );
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }));
});

void t.test('numbers beside texts, kept for a window', async (t) => {
  const memory = allocateTable({ slots: 8, windowMs: 1000, values: true, seed: 'x' });
  const [one, other] = [new SharedTable(memory), new SharedTable(memory)];
  one.tend(0);
  t.equal(other.valueOf('a'), 0);
  t.ok(one.setValue('a', 5));
  t.equal(other.valueOf('a'), 5);
  one.tend(1000);
  t.equal(other.valueOf('a'), 5, 'from the generation before');
  t.ok(other.setValue('a', 7));
  t.equal(one.valueOf('a'), 7);
  one.tend(2000);
  t.equal(one.valueOf('a'), 7);
  one.tend(3000);
  t.equal(one.valueOf('a'), 0);
  for (let i = 0; i < 7; i += 1) t.ok(one.setValue(`n${i}`, i + 1));
  t.notOk(one.setValue('no room', 1));
  t.ok(one.setValue('n3', 9), 'what is there can change');
  t.equal(one.valueOf('no room'), 0);
});

void t.test('a clock that jumps ahead takes both generations away; one that goes back none', async (t) => {
  const table = new SharedTable(allocateTable({ slots: 8, windowMs: 1000, seed: 'x' }));
  table.tend(10_000);
  table.claim('a');
  table.tend(5000);
  t.equal(table.claim('a'), 'seen');
  table.tend(13_000);
  t.equal(table.size, 0);
  t.equal(table.claim('a'), 'taken');
});

void t.test('sizes that are none', async (t) => {
  for (const slots of [0, 4, 12, -8])
    t.throws(() => allocateTable({ slots, windowMs: 1, seed: '' }), RangeError);
});
