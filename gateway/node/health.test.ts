import t from 'tap';
import { setTimeout as delay } from 'node:timers/promises';
import { collector } from './collector.ts';
import { threadFacts } from './health.ts';

void t.test('an event loop that was held up is told once, by how much', async (t) => {
  const facts = threadFacts();
  // Twice: the first look has nothing to compare with.
  for (let i = 0; i < 2; i += 1) {
    const until = Date.now() + 600;
    while (Date.now() < until);
    await delay(1);
  }
  t.ok(facts().loopDelaySeconds >= 0.3);
  t.equal(facts().loopDelaySeconds, 0, 'reading it has reset it');
});

void t.test('what lies between two looks anyway is no delay', async (t) => {
  let betweenMs = 0;
  const facts = threadFacts({ percentile: () => betweenMs * 1e6, reset: () => undefined });
  betweenMs = 203;
  t.ok(Math.abs(facts().loopDelaySeconds - 0.003) < 1e-9);
  betweenMs = 190;
  t.equal(facts().loopDelaySeconds, 0, 'a look after a late one comes early');
});

void t.test('how long the thread stood still for the collector adds up', async (t) => {
  const facts = threadFacts();
  const collect = collector();
  let before = 0;
  for (let times = 0; times < 2; times += 1) {
    collect({ type: 'minor' });
    while (facts().collectorSeconds === before) await delay(1);
    const { collectorSeconds } = facts();
    t.ok(collectorSeconds > before, `${collectorSeconds} s`);
    before = collectorSeconds;
  }
});
