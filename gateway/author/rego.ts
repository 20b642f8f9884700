// What the compiler says of Rego sources, in terms of file, line and rule. Running it is the caller's.
import { isObject } from '../trust/canonical.ts';
import type { FiredRule } from './explain.ts';

/** Runs `opa` in the folder of the sources. @returns standard output, whatever the exit status. @throws Error it did not run */
export type RunOpa = (args: readonly string[]) => string;

/** Text of a source file, by the path the compiler gives. */
export type ReadSource = (file: string) => string;

/** The rule that a line belongs to: the nearest head at or above it. Heads stand in the first column (opa fmt). */
export function ruleAt(source: string, line: number): string {
  const lines = source.split('\n');
  for (let at = Math.min(line, lines.length); at > 0; at--) {
    const name = /^(?:default )?([A-Za-z_][\w.]*)/.exec(lines[at - 1] ?? '')?.[1];
    if (name !== undefined && name !== 'package' && name !== 'import') return name;
  }
  return '?';
}

/** Findings of the compiler, `file.rego:7: …`, with the rule as well. */
export const withRules = (message: string, read: ReadSource): string =>
  message.replaceAll(
    /(^|\s)([\w./-]+\.rego):(\d+): /g,
    (all: string, before: string, file: string, line: string) => {
      let source: string;
      try {
        source = read(file);
      } catch {
        return all; // not a file of ours
      }
      return `${before}${file}:${line} rule ${ruleAt(source, Number(line))}: `;
    },
  );

/** Options of `opa test` for the tests in some files; none for all tests. */
export function testsIn(files: readonly string[] | undefined, read: ReadSource): readonly string[] {
  if (files === undefined) return [];
  const names = files.filter(isTest).map((file) => packageOf(read(file)).replaceAll('.', '\\.'));
  return ['--run', `^data\\.(${[...new Set(names)].join('|')})\\.`];
}

export const isTest = (file: string): boolean => file.endsWith('_test.rego');

export interface Place {
  readonly file: string;
  readonly line: number;
  readonly rule: string;
}

/** Name of the package, without `data.` */
export const packageOf = (source: string): string => /^package\s+(\S+)/m.exec(source)?.[1] ?? '?';

/** Lines that no test reached. @param json of `opa test --coverage` */
export function uncoveredPlaces(json: string, read: ReadSource): Place[] {
  const report: unknown = JSON.parse(json);
  const files = isObject(report) && isObject(report['files']) ? report['files'] : {};
  return Object.entries(files).flatMap(([file, coverage]) => {
    const ranges = isObject(coverage) ? list(coverage['not_covered']) : [];
    return ranges.map((range) => {
      const line = rowOf(isObject(range) ? range['start'] : undefined);
      return { file, line, rule: ruleAt(read(file), line) };
    });
  });
}

export interface FailedTest extends Place {
  readonly why: string;
}

/** @param json of `opa test --format json` */
export function testResults(json: string): {
  readonly passed: number;
  readonly failed: readonly FailedTest[];
} {
  const results = list(JSON.parse(json)).filter(isObject);
  const bad = results.filter((result) => result['fail'] === true || result['error'] !== undefined);
  const failed = bad.map((result) => {
    const { location, name, error } = result;
    const file = isObject(location) && typeof location['file'] === 'string' ? location['file'] : '?';
    return {
      file,
      line: rowOf(location),
      rule: typeof name === 'string' ? name : '?',
      why:
        isObject(error) && typeof error['message'] === 'string' ? error['message'] : 'the test does not hold',
    };
  });
  return { passed: results.length - failed.length, failed };
}

/**
 * Rules that held in one evaluation, with the parts of the input they read themselves, in the order in which they held.
 * @param json of `opa eval --explain=full --format json`
 */
export function firedRules(json: string, input: unknown, read: ReadSource): FiredRule[] {
  const output: unknown = JSON.parse(json);
  const fired = new Map<string, FiredRule>();
  for (const event of isObject(output) ? list(output['explanation']) : []) {
    if (!isObject(event) || event['Op'] !== 'Exit') continue;
    const { Node: node, Location: location } = event;
    if (!isObject(node) || !isObject(node['head']) || !isObject(location)) continue;
    const { file } = location;
    const line = rowOf(location);
    if (typeof file !== 'string' || file === '') continue;
    const source = read(file);
    const rule = `${packageOf(source)}.${ruleAt(source, line)}`;
    const inputs = [...new Set(refsOf(node['body']))].map((path) => ({ path, value: valueAt(input, path) }));
    fired.set(`${file}:${line}`, { rule, file, line, inputs });
  }
  return [...fired.values()];
}

/** `input.a.b` for every reference to the input below a node, as far as its names are constants. */
function* refsOf(node: unknown): Generator<string> {
  if (Array.isArray(node)) for (const each of node) yield* refsOf(each);
  if (!isObject(node)) return;
  const { type, value } = node;
  if (type === 'ref' && Array.isArray(value)) {
    const [head, ...rest] = value.filter(isObject);
    if (head?.['value'] === 'input') {
      const end = rest.findIndex((step) => step['type'] !== 'string');
      const names = (end < 0 ? rest : rest.slice(0, end)).map((step) => String(step['value']));
      yield ['input', ...names].join('.');
    }
  }
  for (const member of Object.values(node)) yield* refsOf(member);
}

const valueAt = (input: unknown, path: string): unknown =>
  path
    .split('.')
    .slice(1)
    .reduce<unknown>((at, name) => (isObject(at) ? at[name] : undefined), input) ?? null;

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const rowOf = (location: unknown): number =>
  isObject(location) && typeof location['row'] === 'number' ? location['row'] : 0;
