import { ConfigError, MalformedBytes, describe } from '../core/errors.ts';
import { isObject } from '../trust/canonical.ts';
import { parseVerdict } from '../trust/decision.ts';
import { slipsIn } from './slips.ts';
import {
  testResults,
  testsIn,
  uncoveredPlaces,
  type FailedTest,
  type Place,
  type ReadSource,
  type RunOpa,
} from './rego.ts';
import type { GoldenVector } from './vectors.ts';

export interface PolicySources {
  readonly run: RunOpa;
  readonly read: ReadSource;
  /** Folders of Rego, and data as `name:file`. */
  readonly sources: readonly string[];
  /** Rego files to test; the others are there to be used. */
  readonly own: readonly string[];
  /** Every Rego file is its own. */
  readonly whole: boolean;
  /** Options of `opa check` besides `--strict`. */
  readonly check: readonly string[];
  /** `package/path/rule` */
  readonly entrypoint: string;
  /** Codes the policy has texts for, with these. */
  readonly reasons: ReadonlyMap<string, unknown>;
  readonly vectors: readonly GoldenVector[];
  /** Puts the inputs where `opa` can read them. @returns the path */
  readonly keep: (inputs: readonly unknown[]) => string;
}

export interface PolicyTestReport {
  readonly result: 'good' | 'bad';
  readonly passed: number;
  readonly failed: readonly FailedTest[];
  /** What nobody would notice before the policy is in force. */
  readonly slips: readonly FailedTest[];
  /** Lines of rules that no test reaches. Undefined: a test fails, and what the others reach says nothing. */
  readonly untested: readonly Place[] | undefined;
  readonly vectors: number;
  /** Undefined: a test fails, and the policy cannot be asked. */
  readonly wrong: readonly WrongVector[] | undefined;
}

interface WrongVector {
  readonly file: string;
  readonly name: string;
  readonly detail: string;
}

/** Tests the sources of a policy: the compiler's strict check, its tests, every line of every rule, golden vectors. */
export function testPolicy(policy: PolicySources): PolicyTestReport {
  const { run, sources, read, own, whole } = policy;
  run(['check', '--strict', ...policy.check]);
  const only = testsIn(whole ? undefined : own, read);
  const tests = ['test', '--timeout', '120s', ...only]; // for a test; the default of 5 s breaks on a loaded machine
  const { passed, failed } = testResults(run([...tests, '--fail-on-empty', '--format', 'json', ...sources]));
  // With coverage opa does not tell which test failed.
  const untested =
    failed.length > 0
      ? undefined
      : uncoveredPlaces(run([...tests, '--coverage', '--coverage-runs', '', ...sources]), read).filter(
          ({ file }) => whole || own.includes(file),
        );
  const wrong = failed.length > 0 ? wrongIfAsked(policy) : wrongVectors(policy);
  const slips = slipsIn(policy);
  const good =
    passed > 0 && failed.length + slips.length === 0 && untested?.length === 0 && wrong?.length === 0;
  return {
    result: good ? 'good' : 'bad',
    passed,
    failed,
    slips,
    untested,
    vectors: policy.vectors.length,
    wrong,
  };
}

/** Rules that contradict each other fail tests, and every evaluation with them: the tests say where. */
function wrongIfAsked(policy: PolicySources): WrongVector[] | undefined {
  try {
    return wrongVectors(policy);
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    return undefined;
  }
}

function wrongVectors({ run, sources, entrypoint, vectors, keep, reasons }: PolicySources): WrongVector[] {
  if (vectors.length === 0) return [];
  const rule = `data.${entrypoint.replaceAll('/', '.')}`;
  const query = `[[i, d] | some i, v in data.vectors.inputs; d := [r | r := ${rule} with input as v]]`;
  const data = [...sources, `vectors:${keep(vectors.map(({ input }) => input))}`].flatMap((each) => [
    '-d',
    each,
  ]);
  const output: unknown = JSON.parse(run(['eval', '-f', 'values', ...data, query]));
  const answers: readonly unknown[] = Array.isArray(output) && Array.isArray(output[0]) ? output[0] : [];
  const byIndex = new Map<unknown, unknown>();
  for (const pair of answers) if (Array.isArray(pair)) byIndex.set(pair[0], pair[1]);
  return vectors.flatMap(({ file, name, input, expect }, i) => {
    const detail = disagreement(input, byIndex.get(i), expect, reasons);
    return detail === undefined ? [] : [{ file, name, detail }];
  });
}

/** @returns undefined when the answer is the one expected */
function disagreement(
  input: unknown,
  answer: unknown,
  expect: GoldenVector['expect'],
  reasons: PolicySources['reasons'],
): string | undefined {
  const results = Array.isArray(answer) ? answer.map((result: unknown) => ({ result })) : [];
  const id = isObject(input) && typeof input['decision_id'] === 'string' ? input['decision_id'] : '';
  let verdict: Readonly<Record<string, unknown>>;
  try {
    verdict = { ...parseVerdict(results, id, reasons) };
  } catch (thrown) {
    if (!(thrown instanceof MalformedBytes)) throw thrown;
    return expect === 'undefined' ? undefined : `no usable decision: ${describe(thrown)}`;
  }
  if (expect === 'undefined') return 'a decision, where none was expected';
  const differing = Object.entries(expect).filter(
    ([member, value]) => JSON.stringify(verdict[member]) !== JSON.stringify(value),
  );
  if (differing.length === 0) return undefined;
  return differing
    .map(([member, value]) => `${member} is ${JSON.stringify(verdict[member])}, not ${JSON.stringify(value)}`)
    .join('; ');
}

export function renderPolicyTest(report: PolicyTestReport): string {
  const { result, passed, failed, slips, untested, vectors, wrong } = report;
  const lines = [
    `${passed} tests hold, ${failed.length} do not  測試`,
    ...failed.map(({ file, line, rule, why }) => `  ! ${file}:${line} ${rule}: ${why}`),
    ...slips.map(({ file, line, rule, why }) => `  ! ${file}:${line} ${rule}: ${why}`),
    untested === undefined
      ? 'what is untested shows when all tests hold  測試全數通過後才能得知未測試的規則'
      : `${untested.length} places are untested  未測試的規則`,
    ...(untested ?? []).map(({ file, line, rule }) => `  ! ${file}:${line} rule ${rule}: no test gets here`),
    wrong === undefined
      ? 'the policy cannot be asked about golden vectors  無法評估標準案例'
      : `${vectors - wrong.length} of ${vectors} golden vectors hold  標準案例`,
    ...(wrong ?? []).map(({ file, name, detail }) => `  ! ${file} "${name}": ${detail}`),
    '',
    result === 'good' ? 'GOOD  測試結果：通過' : 'BAD: see the lines marked !  測試結果：未通過',
  ];
  return `${lines.join('\n')}\n`;
}
