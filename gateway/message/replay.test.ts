import t from 'tap';
import { ReplayStore } from './replay.ts';

const clockAt = (start: number) => {
  let now = start;
  return { now: () => now, monotonic: () => now, pass: (ms: number) => (now += ms) };
};

void t.test('an id is taken once', async (t) => {
  const clock = clockAt(0);
  const store = new ReplayStore(clock, 1000);
  store.claim('a', 'n');
  t.throws(() => store.claim('a', 'n'), { code: 'message.replayed' });
  store.claim('b', 'n'); // another sender's ids are its own
  clock.pass(999);
  t.throws(() => store.claim('a', 'n'), { code: 'message.replayed' });
});

void t.test(
  'an id is remembered for at least its window, whenever it came, and then forgotten',
  async (t) => {
    for (const start of [0, 1, 500, 999]) {
      const clock = clockAt(0);
      const store = new ReplayStore(clock, 1000);
      clock.pass(start);
      store.claim('a', 'n');
      clock.pass(1000);
      t.throws(() => store.claim('a', 'n'), { code: 'message.replayed' }, `after ${start}`);
      clock.pass(5000);
      store.claim('a', 'other');
      t.equal(store.size, 1);
    }
  },
);

void t.test('ids read back from the log count as taken', async (t) => {
  const store = new ReplayStore(clockAt(0), 1000);
  store.remember('a', 'n');
  t.throws(() => store.claim('a', 'n'), { code: 'message.replayed' });
});

void t.test('a full store refuses rather than forgets', async (t) => {
  const store = new ReplayStore(clockAt(0), 1000, 2);
  store.claim('a', '1');
  store.claim('a', '2');
  t.throws(() => store.claim('a', '3'), { code: 'gateway.overloaded' });
  t.throws(() => store.claim('a', '1'), { code: 'message.replayed' });
});
