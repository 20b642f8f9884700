import t from 'tap';
import { PerformanceObserver, constants } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { RECLAIM_BYTES, reclaimer } from './reclaimer.ts';

void t.test('asks for a collection once in so many bytes, whoever passed them', async (t) => {
  let collections = 0;
  const passed = reclaimer(() => (collections += 1));
  for (let i = 0; i < 15; i += 1) passed(RECLAIM_BYTES / 16, false);
  t.equal(collections, 0);
  passed(RECLAIM_BYTES / 16, false);
  t.equal(collections, 1);
  passed(RECLAIM_BYTES - 1, false);
  t.equal(collections, 1, 'counts anew');
  passed(1, false);
  t.equal(collections, 2);
  for (let i = 0; i < 40; i += 1) passed(RECLAIM_BYTES / 16, true);
  t.equal(collections, 2, 'what is lent comes back by itself');
});

void t.test('a stream of buffers is freed without going through the whole heap', async (t) => {
  let major = 0;
  let minor = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const detail: unknown = Reflect.get(entry, 'detail'); // Node's addition to the standard's entry
      const kind: unknown = typeof detail === 'object' && detail !== null && Reflect.get(detail, 'kind');
      if (kind === constants.NODE_PERFORMANCE_GC_MINOR) minor += 1;
      if (kind === constants.NODE_PERFORMANCE_GC_MAJOR) major += 1;
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  const passed = reclaimer();
  let held = Buffer.alloc(0);
  for (let bytes = 0; bytes < 512 << 20; bytes += held.length) {
    held = Buffer.allocUnsafeSlow(16 << 10);
    passed(held.length, false);
    if (bytes % (4 << 20) === 0) await turn();
  }
  await turn();
  observer.disconnect();
  t.ok(minor >= 20, `${minor} minor collections`);
  t.ok(major <= 1, `${major} major collections`);
});
