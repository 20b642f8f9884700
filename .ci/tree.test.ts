import t from 'tap';
import { compareDependencies } from './dependencies.ts';
import { checkWords } from './words.ts';

const manifest = JSON.stringify({
  dependencies: { a: '1.2.3', '@b/c': '2.0.0' },
  devDependencies: { d: '0.1.0' },
});
const rows = ['| package | version |', '| --- | --- |', '| a | 1.2.3 |', '| @b/c | 2.0.0 |', '| d | 0.1.0 |'];

void t.test('the table of dependencies', async (t) => {
  t.strictSame(compareDependencies(manifest, rows.join('\n')), []);
  t.match(compareDependencies(manifest, rows.slice(0, -1).join('\n')), [/d is missing/]);
  t.match(compareDependencies(manifest, rows.join('\n').replace('2.0.0', '2.0.1')), [
    /@b\/c is 2\.0\.0, not 2\.0\.1/,
  ]);
  t.match(compareDependencies(manifest, [...rows, '| e | 1.0.0 |'].join('\n')), [
    /e is not in package\.json/,
  ]);
  t.match(compareDependencies(manifest.replace('1.2.3', '^1.2.3'), rows.join('\n')), [
    /not an exact version/,
    /a is \^1/,
  ]);
});

// [what, file, text, is it refused]
const texts: readonly (readonly [file: string, text: string, refused: boolean])[] = [
  ['gateway/core/a.ts', '// TODO later', true],
  ['gateway/core/a.ts', 'const mastodon = 1;', false],
  ['README.md', 'FIXME', true],
  ['conformance/vectors/a.json', '"XXX"', false],
  ['docs/a.md', ' /work/main/x', true],
  ['docs/a.md', 'see /home/alice/x', true],
  ['docs/a.md', 'the framework/main folder, ~/work/x', false],
  ['package-lock.json', '"resolved": "https://a.example/b.tgz"', true],
  ['.npmrc', 'registry=https://registry.npmjs.org', true],
  ['gateway/evidence/a.ts', 'new Date()', true],
  ['gateway/evidence/a.ts', 'new Date(at)', false],
  ['gateway/node.ts', 'new Date()', false],
  ['gateway/evidence/a.test.ts', 'new Date()', false],
  ['gateway/evidence/a.ts', '// @ts-ignore', true],
  ['gateway/evidence/a.types.ts', '// @ts-expect-error: an object of the same shape is no proof', false],
];
for (const [file, text, refused] of texts) {
  void t.test(`${file}: ${text.replaceAll(/\W+/g, ' ')}: ${refused ? 'refused' : 'fine'}`, async (t) => {
    t.match(checkWords(file, `first line\n${text}\n`), refused ? [new RegExp(`^${file}:2: `)] : []);
    t.equal(checkWords(file, text).length, refused ? 1 : 0);
  });
}
