import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { ForwardFile } from './forward-file.ts';
import { nodeStorage } from './node-storage.ts';
import type { StorageFile } from './storage.ts';

const PAGE = 4096;

/** Bytes that differ wherever they are cut off. */
const bytesOf = (count: number, seed: number): Buffer =>
  Buffer.from(Uint8Array.from({ length: count }, (_, i) => (i * 31 + (i >> 8) + seed) & 0xff));

void t.test('what is written forward stands there, byte for byte', async (t) => {
  const path = `${t.testdir()}/file`;
  const storage = nodeStorage();
  let seed = 0;
  const lengths = fc.array(
    fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.constantFrom(PAGE, 2 * PAGE, 1 << 20, (1 << 20) + 1)),
    { minLength: 1, maxLength: 6 },
  );
  const property = fc.asyncProperty(fc.nat({ max: 5000 }), lengths, fc.nat(), async (start, list, cut) => {
    const reopened = cut % list.length;
    const before = bytesOf(start, (seed += 1));
    writeFileSync(path, before);
    const written = [before];
    let file = await storage.open(path, 'forward');
    let end = start;
    for (const [i, length] of list.entries()) {
      const bytes = bytesOf(length, (seed += 1));
      await file.write(bytes, end);
      end += length;
      written.push(bytes);
      if (i !== reopened) continue;
      await file.close(); // as after a restart: the page that was begun is on disk only
      file = await storage.open(path, 'forward');
    }
    await file.close();
    const found = readFileSync(path);
    if (!found.subarray(0, end).equals(Buffer.concat(written))) throw new Error('other bytes');
    if (found.length >= end + PAGE || found.subarray(end).some((byte) => byte !== 0))
      throw new Error('more than zeros behind');
  });
  await fc.assert(property, { numRuns: 20 });
  t.pass();
});

void t.test('past the cache of the system, wherever the file system knows how', async (t) => {
  const path = `${t.testdir({ file: '' })}/file`;
  const file = await nodeStorage().open(path, 'forward');
  await file.write(Buffer.from('a commit block'), 0);
  const flags = flagsOf(path);
  t.equal((flags & constants.O_DIRECT) !== 0, knowsDirect(path));
  t.equal(flags & constants.O_DSYNC, constants.O_DSYNC, 'on disk when it resolves');
  await file.close();
});

/** What the kernel says of the open file (proc(5), `fdinfo`). */
function flagsOf(path: string): number {
  const fd = readdirSync('/proc/self/fd').find((name) => linkOf(`/proc/self/fd/${name}`) === path);
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
  if (flags === undefined) throw new Error('the kernel says no flags');
  return parseInt(flags, 8);
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // the descriptor with which the folder was read
  }
}

function knowsDirect(path: string): boolean {
  try {
    const fd = openSync(path, constants.O_RDWR | constants.O_DIRECT);
    try {
      return (
        writeSync(
          fd,
          Buffer.from(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer),
          0,
          PAGE,
          PAGE,
        ) === PAGE
      );
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

/** A file in memory that answers its first writes with these errors. */
function fakeFile(errors: readonly string[]) {
  const left = [...errors];
  const content = Buffer.alloc(4 * PAGE);
  let closed = false;
  const file: StorageFile = {
    write: async (bytes, position) => {
      const code = left.shift();
      if (code !== undefined) throw Object.assign(new Error(code), { code });
      content.set(bytes, position);
    },
    read: async (into, position) => content.copy(into, 0, position),
    sync: async () => undefined,
    truncate: async (bytes) => {
      content.fill(0, bytes);
    },
    size: async () => content.length,
    close: async () => {
      if (closed) throw new Error('closed twice: the descriptor may be of another file by now');
      closed = true;
    },
  };
  return { file, content, left, isClosed: () => closed };
}

void t.test('a file system that opens a file for direct writes, and takes none', async (t) => {
  const direct = fakeFile(['EINVAL']);
  const cached = fakeFile([]);
  const file = new ForwardFile(direct.file, async () => cached.file);
  await file.write(bytesOf(100, 1), 0);
  t.ok(direct.isClosed());
  await file.write(bytesOf(PAGE, 2), 100);
  t.same(cached.content.subarray(0, 100 + PAGE), Buffer.concat([bytesOf(100, 1), bytesOf(PAGE, 2)]));
});

void t.test('an error of the disk is told, and not tried again', async (t) => {
  const direct = fakeFile(['EIO']);
  const cached = fakeFile([]);
  const file = new ForwardFile(direct.file, async () => cached.file);
  await t.rejects(file.write(bytesOf(100, 1), 0), { code: 'EIO' });
  t.notOk(direct.isClosed());
  const twice = new ForwardFile(fakeFile(['EINVAL']).file, async () => fakeFile(['EINVAL']).file);
  await t.rejects(twice.write(bytesOf(100, 1), 0), { code: 'EINVAL' });
});

void t.test(
  'a file that was written to is not looked for by its name: that may be of another file',
  async (t) => {
    const direct = fakeFile([]);
    const nextSpare = fakeFile([]);
    const file = new ForwardFile(direct.file, async () => nextSpare.file);
    await file.write(bytesOf(100, 1), 0); // the head of a segment, which gets its own name then
    direct.left.push('EINVAL');
    await t.rejects(file.write(bytesOf(100, 2), 100), { code: 'EINVAL' });
    t.ok(nextSpare.content.every((byte) => byte === 0));
    await file.close();
    t.ok(direct.isClosed());
  },
);

void t.test('a file that cannot be opened again is closed once, by its owner', async (t) => {
  const direct = fakeFile(['EINVAL']);
  const file = new ForwardFile(direct.file, () => Promise.reject(new Error('too many open files')));
  await t.rejects(file.write(bytesOf(100, 1), 0), { message: 'too many open files' });
  t.notOk(direct.isClosed());
  await file.close();
  t.ok(direct.isClosed());
});

void t.test('what was cut off does not come back with the next write', async (t) => {
  const { file, content } = fakeFile([]);
  const forward = new ForwardFile(file, async () => file);
  await forward.write(bytesOf(200, 1), 0);
  await forward.truncate(100);
  await forward.write(bytesOf(10, 2), 150);
  t.same(content.subarray(0, 160), Buffer.concat([bytesOf(100, 1), Buffer.alloc(50), bytesOf(10, 2)]));
});
