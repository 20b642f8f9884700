// Text that does not belong in the tree: work left open without a reason, paths and hosts of one machine, the clock.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { treeFiles } from './layers.ts';

interface Rule {
  readonly pattern: RegExp;
  readonly what: string;
  /** Files the rule is for; all when absent. */
  readonly only?: RegExp;
}

const RULES: readonly Rule[] = [
  {
    pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/,
    what: 'work left open: finish it, or say in words what is missing',
    only: /\.(?:ts|mjs|rego|go|md|ya?ml)$/,
  },
  { pattern: /(?<![\w.~@-])\/(?:work|root|home\/(?!user\b)\w+)\/\w/, what: 'path of one machine' },
  {
    pattern: /registry\.npmjs|npmmirror|proxy\.golang|files\.pythonhosted|"resolved": "http/,
    what: 'host of a package registry',
  },
  {
    pattern: /\bnew Date\(\s*\)/,
    what: 'reads the clock: take a Clock (gateway/core/clock.ts)',
    only: /^(?:gateway\/(?!node\.ts|cli\.ts|commands\/|sandbox\/)|pki\/)(?!.*\.test\.ts$)/,
  },
  {
    pattern: /@ts-(?:ignore|nocheck)/,
    what: 'switches the type check off',
    only: /\.ts$/,
  },
];

/** This file and its test have to say the words. */
const EXEMPT = new Set(['.ci/words.ts', '.ci/tree.test.ts']);

/** @returns `file:line: what` for every line that breaks a rule */
export function checkWords(file: string, text: string): string[] {
  const rules = RULES.filter(({ only }) => only?.test(file) ?? true);
  if (!rules.some(({ pattern }) => pattern.test(text))) return [];
  return text
    .split('\n')
    .flatMap((line, i) =>
      rules.filter(({ pattern }) => pattern.test(line)).map(({ what }) => `${file}:${i + 1}: ${what}`),
    );
}

if (import.meta.main) {
  const root = join(import.meta.dirname, '..');
  const problems = treeFiles(root, '.').flatMap((file) => {
    if (EXEMPT.has(file)) return [];
    const bytes = readFileSync(join(root, file));
    return bytes.includes(0) ? [] : checkWords(file, bytes.toString('utf8')); // a zero byte: not text
  });
  for (const problem of problems) console.log(problem);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
