import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

// The table of attacks in docs/devices.md names tests: they have to be there, for every row.

const root = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

const rows = [...read('docs/devices.md').matchAll(/^\| (A\d\d)\s*\|[^|]*\| `([^`|]+)`\s*\| (.*) \|$/gm)].map(
  ([, row = '', file = '', titles = '']) => ({
    row,
    file,
    titles: [...titles.matchAll(/«([^»]+)»/g)].map(([, title = '']) => title),
  }),
);

void t.test('every attack has its tests', async (t) => {
  const wanted = Array.from({ length: 21 }, (_, i) => `A${String(i + 1).padStart(2, '0')}`);
  t.strictSame([...new Set(rows.map(({ row }) => row))].toSorted(), wanted);
});

void t.test('every test that is named is there', async (t) => {
  for (const { row, file, titles } of rows) {
    t.ok(existsSync(join(root, file)), `${row}: ${file}`);
    t.ok(titles.length > 0, `${row}: titles`);
    for (const title of titles) t.ok(read(file).includes(title), `${row}: ${file}: ${title}`);
  }
});
