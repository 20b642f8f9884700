import { getHeapSpaceStatistics } from 'node:v8';
import t from 'tap';
import { giveBack } from './collector.ts';

const youngBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? NaN;

void t.test('gives back what starting has left', async (t) => {
  // What loading does: more and more that lives for a while, until the young generation has grown.
  const live: object[] = [];
  for (let i = 0; youngBytes() < 8 << 20 && i < 5_000_000; i += 1) live.push({ i });
  const grown = youngBytes();
  t.ok(grown >= 8 << 20, `${grown} bytes of young generation`);
  live.length = 0;
  let segment: Buffer | undefined = Buffer.alloc(64 << 20, 1);
  const full = process.memoryUsage().arrayBuffers;
  t.ok(full >= segment.length, 'the bytes count');
  segment = undefined;
  giveBack();
  t.ok(youngBytes() <= 2 << 20, `${youngBytes()} bytes of young generation are left`);
  t.ok(process.memoryUsage().arrayBuffers <= full - (64 << 20), 'the memory of what was read is free');
});
