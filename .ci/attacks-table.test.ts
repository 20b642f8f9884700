import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

// Each attack on attestation (A) and on the policy engine (O) has tests: conformance/attacks.json names them, and they have
// to be there. Attacks on tokens (J) are in the table of docs/identity.md (identity-table.test.ts).

const root = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(root, file), 'utf8');

interface Row {
  readonly attack: string;
  /** Titles, or the cases of a table, as they stand in the file. */
  readonly tests: Readonly<Record<string, readonly string[]>>;
}
const rows = JSON.parse(read('conformance/attacks.json')) as Readonly<Record<string, Row>>; // ours

void t.test('every attack has its row, in order', async (t) => {
  const wanted = (letter: string, count: number): string[] =>
    Array.from({ length: count }, (_, i) => letter + String(i + 1).padStart(2, '0'));
  t.strictSame(Object.keys(rows), [...wanted('A', 21), ...wanted('O', 14)]);
});

/** As a whole text or title: a part of another one would be found whatever became of its own. */
const isNamed = (text: string, title: string): boolean =>
  ["'", '`'].some((quote) => text.includes(quote + title + quote));

void t.test('every test that is named is there', async (t) => {
  for (const [row, { tests }] of Object.entries(rows)) {
    t.ok(Object.keys(tests).length > 0, row);
    for (const [file, titles] of Object.entries(tests)) {
      t.ok(existsSync(join(root, file)) && titles.length > 0, `${row}: ${file}`);
      const text = existsSync(join(root, file)) ? read(file) : '';
      for (const title of titles) t.ok(isNamed(text, title), `${row}: ${file}: ${title}`);
    }
  }
});
