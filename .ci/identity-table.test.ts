import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

// The table of requirements and attacks in docs/identity.md names tests: they have to be there, for every row.

const root = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

const rows = [
  ...read('docs/identity.md').matchAll(/^\| (\d\d|J\d\d) \|[^|]*\|[^|]*\| `([^`|]+)` \| (.*) \|$/gm),
].map(([, row = '', file = '', titles = '']) => ({
  row,
  file,
  titles: [...titles.matchAll(/«([^»]+)»/g)].map(([, title = '']) => title),
}));

void t.test('every row has its tests', async (t) => {
  const numbers = (from: number, to: number): string[] =>
    Array.from({ length: to - from + 1 }, (_, i) => String(from + i).padStart(2, '0'));
  const wanted = [...numbers(16, 32), ...numbers(49, 51), ...numbers(1, 18).map((number) => `J${number}`)];
  t.strictSame([...new Set(rows.map(({ row }) => row))].toSorted(), wanted.toSorted());
});

void t.test('every test that is named is there', async (t) => {
  for (const { row, file, titles } of rows) {
    t.ok(existsSync(join(root, file)), `${row}: ${file}`);
    t.ok(titles.length > 0, `${row}: titles`);
    for (const title of titles) t.ok(read(file).includes(title), `${row}: ${file}: ${title}`);
  }
});

void t.test('each of the twelve checks of RFC 9449 §4.3 has a test that fails it', async (t) => {
  const text = read('gateway/identity/dpop.test.ts');
  t.match(text, /'check 1: /);
  for (let number = 2; number <= 12; number += 1)
    t.match(text, new RegExp(`^ {2}\\[\\s*${number}, ?'`, 'm'), `check ${number}`);
});
