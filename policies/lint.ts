// What `opa check --strict` does not look at. Untested rules are found by the coverage (build.mjs).
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { POLICIES, type Opa } from './opa.ts';

const inside = (folder: string, ending: string): string[] =>
  readdirSync(join(POLICIES, folder))
    .filter((name) => name.endsWith(ending))
    .toSorted() // the file system promises no order
    .map((name) => `${folder}/${name}`);

const text = (path: string): string => readFileSync(join(POLICIES, path), 'utf8');
const reasonsIn = (source: string): string[] =>
  [...source.matchAll(/"((?:admission|score)\.[a-z_]+)"/g)].map(([, code = '']) => code);

/** @returns findings, each with file, line and rule */
export function lint(opa: Opa): string[] {
  const files = inside('troad', '.rego').filter((path) => !path.endsWith('_test.rego'));
  return [...files.flatMap((path) => untitled(opa, path)), ...unknownReasons(files), ...unlikeSchema(opa)];
}

interface Rule {
  readonly name: string;
  readonly row: number;
}

/** The first definition of every rule says in an annotation what the rule is about. */
function untitled(opa: Opa, path: string): string[] {
  const lines = text(path).split('\n');
  const findings: string[] = [];
  const seen = new Set<string>();
  for (const { name, row } of rulesOf(opa, path)) {
    if (seen.has(name)) continue;
    seen.add(name);
    let first = row - 1; // index of the rule's line
    while (lines[first - 1]?.startsWith('#') === true) first -= 1;
    const block = lines.slice(first, row - 1);
    if (block[0] !== '# METADATA' || block[1]?.startsWith('# title: ') !== true)
      findings.push(`${path}:${row}: rule ${name} has no title (# METADATA and # title: above it)`);
  }
  return findings;
}

function rulesOf(opa: Opa, path: string): Rule[] {
  const tree: unknown = JSON.parse(opa.run(['parse', '-f', 'json', '--json-include', 'locations', path]));
  const rules: readonly unknown[] = isObject(tree) && Array.isArray(tree['rules']) ? tree['rules'] : [];
  return rules.map((rule) => {
    const { head, location } = isObject(rule) ? rule : {};
    const { ref } = isObject(head) ? head : {};
    const parts: readonly unknown[] = Array.isArray(ref) ? ref : [];
    const [first] = parts;
    const name = isObject(first) ? first['value'] : undefined;
    const row = isObject(location) ? location['row'] : undefined;
    if (typeof name !== 'string' || typeof row !== 'number') throw new Error(`${path}: opa parse`);
    return { name, row };
  });
}

/** Every code a rule gives has its texts, and no text is left without a rule. */
function unknownReasons(files: readonly string[]): string[] {
  const reasons = JSON.parse(text('data/reasons.json')) as object; // checked against its schema below
  const known = new Set(Object.keys(reasons));
  const weights: unknown = (JSON.parse(text('data/score.json')) as Record<string, unknown>)['weights'];
  // score.rego makes these from the names of the factors.
  const made = Object.keys(Object(weights) as object).map((factor) => `score.${factor}_low`);
  const used = new Set(made);
  const findings = made
    .filter((code) => !known.has(code))
    .map((code) => `data/score.json: no text for ${code} in data/reasons.json`);
  for (const path of files) {
    for (const [i, line] of text(path).split('\n').entries()) {
      for (const code of reasonsIn(line)) {
        used.add(code);
        if (!known.has(code)) findings.push(`${path}:${i + 1}: no text for ${code} in data/reasons.json`);
      }
    }
  }
  const idle = [...known].filter((code) => !used.has(code));
  return [...findings, ...idle.map((code) => `data/reasons.json: no rule gives ${code}`)];
}

/** Data is what its schema says. The compiler checks references against the schema only. */
function unlikeSchema(opa: Opa): string[] {
  const names = inside('data', '.json').map((path) => path.slice('data/'.length, -'.json'.length));
  const pairs = names.map(
    (name) => `"${name}": json.match_schema(data.given["${name}"], data.schemas["${name}"])`,
  );
  const sources = names.flatMap((name) => [
    '-d',
    `given.${name}:data/${name}.json`,
    '-d',
    `schemas.${name}:schemas/${name}.json`,
  ]);
  const output: unknown = JSON.parse(opa.run(['eval', '-f', 'values', ...sources, `{${pairs.join(', ')}}`]));
  const [results]: readonly unknown[] = Array.isArray(output) ? output : [];
  const answers: unknown = Array.isArray(results) ? results[0] : results;
  return names.flatMap((name) => {
    const answer = isObject(answers) ? answers[name] : undefined;
    const [good, errors]: readonly unknown[] = Array.isArray(answer) ? answer : [];
    return good === true ? [] : [`data/${name}.json: ${JSON.stringify(errors ?? 'no schema')}`];
  });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
