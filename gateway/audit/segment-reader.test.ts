import t from 'tap';
import { Disk } from '../../conformance/builders/disk.ts';
import { SegmentReader } from './segment-reader.ts';

void t.test('each file reads as it is, whatever was read before it', async (t) => {
  const disk = new Disk();
  await disk.makeDir('/log');
  const contents = new Map<string, Buffer>();
  for (const [n, bytes] of [5000, 12, 0, 70_000, 4999].entries()) {
    const path = `/log/${n}`;
    const content = Buffer.alloc(bytes, n + 1);
    const file = await disk.open(path, 'create');
    await file.write(content, 0);
    contents.set(path, content);
  }
  const reader = new SegmentReader(disk);
  for (const [path, content] of contents) t.same(await reader.read(path), content, path);
  t.equal(await reader.read('/log/none'), undefined);
  t.same(await reader.read('/log/1'), contents.get('/log/1'));
});

void t.test('a file that was cut while it was read ends where it was cut', async (t) => {
  const disk = new Disk();
  await disk.makeDir('/log');
  for (const name of ['long', 'cut']) {
    const file = await disk.open(`/log/${name}`, 'create');
    await file.write(Buffer.alloc(100, name), 0);
  }
  const reader = new SegmentReader({
    list: (dir) => disk.list(dir),
    readFile: (path) => disk.readFile(path),
    open: async (path, mode) => {
      const file = await disk.open(path, mode);
      return path === '/log/cut' ? { ...file, size: async () => 200 } : file;
    },
  });
  await reader.read('/log/long');
  t.same(await reader.read('/log/cut'), Buffer.alloc(100, 'cut'));
});

void t.test('an error of the disk is told', async (t) => {
  const reader = new SegmentReader({
    list: async () => [],
    readFile: async () => undefined,
    open: async () => {
      throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
    },
  });
  await t.rejects(reader.read('/log/1'), { name: 'MalformedBytes', message: /permission denied/ });
});
