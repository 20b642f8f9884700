import t from 'tap';
import { allocateTable, SharedTable } from '../core/shared-table.ts';
import { ReplayTable } from './replay-table.ts';

const allocate = (slots = 1024) => allocateTable({ slots, windowMs: 1000, seed: 'a seed' });

void t.test('an id is taken once, by whoever looks at the memory', async (t) => {
  const memory = allocate();
  const [one, other] = [new ReplayTable(memory), new ReplayTable(memory, 'assertion.replayed')];
  one.claim('a', 'n');
  t.throws(() => one.claim('a', 'n'), { code: 'message.replayed' });
  t.throws(() => other.claim('a', 'n'), { code: 'assertion.replayed' });
  other.claim('b', 'n'); // another sender's ids are its own
});

void t.test('ids read back from the log count as taken, and may be read back twice', async (t) => {
  const table = new ReplayTable(allocate());
  table.remember('a', 'n');
  table.remember('a', 'n');
  t.throws(() => table.claim('a', 'n'), { code: 'message.replayed' });
});

void t.test('an id is remembered for its window, whenever it came, and then forgotten', async (t) => {
  for (const start of [0, 1, 500, 999]) {
    const memory = allocate();
    const [table, owner] = [new ReplayTable(memory), new SharedTable(memory)];
    owner.tend(0);
    owner.tend(start);
    table.claim('a', 'n');
    for (let now = start; now <= start + 1000; now += 100) owner.tend(now);
    t.throws(() => table.claim('a', 'n'), { code: 'message.replayed' }, `after ${start}`);
    owner.tend(start + 9000);
    t.equal(owner.size, 0);
    table.claim('a', 'n');
  }
});

void t.test('a full table refuses rather than forgets', async (t) => {
  const table = new ReplayTable(allocate(8));
  for (let i = 0; i < 7; i += 1) table.claim('a', String(i));
  t.throws(() => table.claim('a', '7'), { code: 'gateway.overloaded' });
  t.throws(() => table.remember('a', '7'), { code: 'gateway.overloaded' });
  t.throws(() => table.claim('a', '1'), { code: 'message.replayed' });
});
