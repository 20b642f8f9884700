import t from 'tap';
import { importsOf } from './imports.ts';

const rows: readonly (readonly [source: string, specifiers: readonly (string | undefined)[]])[] = [
  [`import 'a';`, ['a']],
  [`import a from "a"`, ['a']],
  [`import a, { b as c, type D } from 'a';`, ['a']],
  [`import * as a\n  from\n  'a';`, ['a']],
  [`import type { A } from 'a'; import { type B } from 'b'`, ['a', 'b']],
  [`import from from 'a'; import { from } from 'b';`, ['a', 'b']],
  [`import a from 'a' with { type: 'json' };`, ['a']],
  [
    `export * from 'a'; export * as b from 'b'; export { c } from 'c'; export type { D } from 'd'; export type * from 'e';`,
    ['a', 'b', 'c', 'd', 'e'],
  ],
  [`export { a };\nconst from = 'no';`, []],
  [`export { a }\nfrom('no');`, []],
  [`export const a = import('a'), b = await import("b", {});`, ['a', 'b']],
  [`type A = import('a').B<typeof import('b')>;`, ['a', 'b']],
  ['import(`a`)', [undefined]],
  [`import(a); import('a' + b);`, [undefined, undefined]],
  [`const a = require('a'); require(a === b, 'text');`, ['a']],
  [`import.meta.dirname; a.import('no'); ({ import: 'no' });`, []],
  [`// import 'no'\n/* import 'no' */ import 'a';`, ['a']],
  [`const s = "import 'no'"; const u = 'it\\'s import "no"';`, []],
  [
    'const s = `import \'no\' ${await import("a")} import "no" ${`${import("b")}`} import "no"`; import "c";',
    ['a', 'b', 'c'],
  ],
  [`const r = /import 'no'["'\`]/; import 'a';`, ['a']],
  [`const q = a / b; import 'a'; const r = c / d;`, ['a']],
  [`const r = [/[/'"]/, /\\/'/]; import 'a';`, ['a']],
  [`return /'/.test(a); import 'a';`, ['a']],
  ['const a = { b: `${{ c: 1 }.c}\'` }; import "a";', ['a']],
];

for (const [source, specifiers] of rows) {
  // tap counts a test twice whose name it has to escape.
  void t.test(source.replaceAll(/[^\w.]+/g, ' '), async (t) => {
    t.strictSame(
      importsOf(source).map(({ specifier }) => specifier),
      specifiers,
    );
  });
}

void t.test('lines are those of the import', async (t) => {
  t.strictSame(importsOf(`/*\n*/ import 'a';\nconst t = \`\n\n\`;\nimport\n'b';`), [
    { specifier: 'a', line: 2 },
    { specifier: 'b', line: 6 },
  ]);
});
