import t from 'tap';
import { DiskPace } from './disk-pace.ts';

/** A disk and a clock that only it moves. */
function setUp(now = 0) {
  const clock = { now };
  const pace = new DiskPace(() => clock.now);
  /** A write that takes so long. */
  const wait = (ms: number): number => pace.timed(() => (clock.now += ms));
  return { clock, pace, wait };
}

void t.test('while the disk is quick, the event loop waits for it', async (t) => {
  const { pace, wait } = setUp();
  for (let n = 0; n < 1000; n += 1) {
    t.ok(pace.allows(96 << 10));
    wait(0.9);
  }
});

void t.test('a slow write is followed by a pause in proportion', async (t) => {
  for (const tookMs of [2, 5, 30_000]) {
    const { clock, pace, wait } = setUp(1000);
    wait(tookMs);
    const over = clock.now + 20 * tookMs;
    for (const at of [clock.now, clock.now + tookMs, over - 0.5]) {
      clock.now = at;
      t.notOk(pace.allows(100), `${tookMs} ms, at ${at}`);
    }
    clock.now = over;
    t.ok(pace.allows(100), 'once more');
  }
});

void t.test(
  'whatever the disk does, slow writes hold up the loop a twentieth of the time at most',
  async (t) => {
    const { clock, pace, wait } = setUp();
    let held = 0;
    for (let n = 0; n < 20_000; n += 1) {
      const tookMs = 1.5 + ((n * 7919) % 40);
      if (pace.allows(100)) {
        wait(tookMs);
        held += tookMs;
      } else clock.now += tookMs; // the pool waits
    }
    t.ok(held > 0);
    t.ok(held <= clock.now / 20, `${held} of ${clock.now} ms`);
  },
);

void t.test('a write that failed counts for what it took', async (t) => {
  const { clock, pace } = setUp();
  const failing = () => {
    clock.now += 30_000;
    throw new Error('EIO');
  };
  t.throws(() => pace.timed(failing), /EIO/);
  t.notOk(pace.allows(100));
});

void t.test('a large write is never waited for', async (t) => {
  const { pace } = setUp();
  t.ok(pace.allows(256 << 10));
  t.notOk(pace.allows((256 << 10) + 1));
});
