import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { nodeStorage } from './node-storage.ts';
import { lookAt } from './storage.ts';

/** How many calls of the file system the thread pool has. */
const inPool = (): number =>
  process.getActiveResourcesInfo().filter((resource) => resource === 'FSReqCallback').length;

/** A clock that goes on by so much whenever it is asked: each write seems to take that. */
function ticking(stepMs: number) {
  let at = 0;
  const next = (): number => (at += stepMs);
  return { now: next, monotonic: next };
}

const content = Buffer.from('a commit block');

void t.test('where a durable write is waited for', async (t) => {
  const path = `${t.testdir({ file: '' })}/file`;
  const written = async (storage = nodeStorage(), mode: 'durable' | 'forward' | 'write' = 'durable') => {
    const file = await storage.open(path, mode);
    const before = inPool();
    const at = mode === 'forward' ? 0 : 3; // it would have to read what stands before
    const writing = file.write(content, at);
    const pooled = inPool() - before;
    await writing;
    t.same(readFileSync(path).subarray(at, at + content.length), content);
    writeFileSync(path, '');
    await file.close();
    return pooled === 1 ? 'pool' : 'here';
  };
  t.equal(await written(), 'pool', 'without a clock');
  t.equal(await written(nodeStorage(ticking(0.5))), 'here', 'a quick disk');
  t.equal(await written(nodeStorage(ticking(0.5)), 'forward'), 'here', 'of a segment');
  t.equal(await written(nodeStorage(ticking(0.5)), 'write'), 'pool', 'a write that promises nothing');
  const slow = nodeStorage(ticking(2));
  t.equal(await written(slow), 'here', 'slow, which nobody knows before');
  t.equal(await written(slow), 'pool');
  t.equal(await written(slow), 'pool');
});

void t.test('an error rejects, wherever the write was', async (t) => {
  for (const clock of [undefined, ticking(0.5)]) {
    const file = await nodeStorage(clock).open('/dev/full', 'durable');
    await t.rejects(file.write(content, 0), { code: 'ENOSPC' });
    await file.close();
  }
});

void t.test('what was looked at takes no memory any more', async (t) => {
  const path = `${t.testdir({ segment: Buffer.alloc(1 << 20, 7) })}/segment`;
  let seen: Buffer | undefined;
  const last = await lookAt(nodeStorage(), path, (bytes) => {
    seen = bytes;
    return bytes.at(-1);
  });
  t.equal(last, 7);
  t.equal(seen?.length, 0);
  await t.rejects(
    lookAt(nodeStorage(), path, (bytes) => {
      seen = bytes;
      throw new Error('damaged');
    }),
    /damaged/,
  );
  t.equal(seen?.length, 0, 'nor what was refused');
  t.equal(await lookAt(nodeStorage(), `${path}.gone`, () => 1), undefined);
});
