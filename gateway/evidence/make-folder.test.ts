import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeFolder } from './make-folder.ts';

void t.test('makes what is missing, for us alone, and minds nothing that is there', async (t) => {
  const dir = t.testdir();
  const deep = join(dir, 'a', 'b', 'c');
  makeFolder(deep);
  makeFolder(deep);
  for (const path of [join(dir, 'a'), deep]) t.equal(statSync(path).mode & 0o777, 0o700, path);
});

void t.test('a file in the way', async (t) => {
  const file = join(t.testdir(), 'file');
  writeFileSync(file, '');
  t.throws(() => makeFolder(file), { code: 'EEXIST' });
  t.throws(() => makeFolder(join(file, 'x')), { code: 'ENOTDIR' });
});

void t.test(
  'a folder in which nothing can be made is an error, not a wait',
  { skip: existsSync('/proc/self') ? false : 'no /proc on this system' },
  async (t) => {
    t.throws(() => makeFolder('/proc/troad'), { code: 'ENOENT' });
    t.throws(() => makeFolder('/proc/troad/a/b'), { code: 'ENOENT' });
  },
);
