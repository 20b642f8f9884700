import { isObject } from '../trust/canonical.ts';
import { isTest, packageOf, ruleAt, type FailedTest, type ReadSource } from './rego.ts';
import type { GoldenVector } from './vectors.ts';

interface Read {
  /** Rego files to look at. */
  readonly own: readonly string[];
  readonly read: ReadSource;
  readonly reasons: ReadonlyMap<string, unknown>;
  readonly vectors: readonly GoldenVector[];
}

/** A code of a reason, as it stands in a rule. */
const CODE = /"([a-z][a-z0-9_]*\.[a-z][a-z0-9_]*)"/g;

/**
 * Slips that the compiler lets pass: a reason without texts, which a gateway takes for no decision at all; a reason that
 * no golden vector expects; an agency's package that is never asked.
 */
export function slipsIn({ own, read, reasons, vectors }: Read): FailedTest[] {
  const expected = new Set(
    vectors.flatMap(({ expect }) => (expect !== 'undefined' ? listOf(expect['reasons']) : [])),
  );
  return own
    .filter((file) => !isTest(file))
    .flatMap((file) => {
      const source = read(file);
      const reported = new Set<string>();
      const found = source.split('\n').flatMap((text, i) =>
        [...(text.startsWith('#') ? [] : text.matchAll(CODE))].flatMap(([, code = '']) => {
          const why = reported.has(code) ? undefined : slipOf(code, reasons, expected);
          reported.add(code);
          return why === undefined ? [] : [{ file, line: i + 1, rule: ruleAt(source, i + 1), why }];
        }),
      );
      return [...found, ...unasked(file, source)];
    });
}

function slipOf(code: string, reasons: Read['reasons'], expected: ReadonlySet<unknown>): string | undefined {
  const texts = reasons.get(code);
  if (texts === undefined) return `reason ${code} has no texts in data/reasons.json`;
  if (!isObject(texts) || typeof texts['en'] !== 'string' || typeof texts['zh-TW'] !== 'string')
    return `reason ${code} lacks "en" or "zh-TW" in data/reasons.json`;
  return expected.has(code) ? undefined : `no golden vector (vectors/*.json) expects reason ${code}`;
}

/** The default set asks packages `agency.NAME` for `refusals`; of anything else there nobody would hear. */
function unasked(file: string, source: string): FailedTest[] {
  const name = packageOf(source);
  const line = source.split('\n').findIndex((text) => text.startsWith('package ')) + 1;
  const slip = (why: string): FailedTest[] => [{ file, line, rule: `package ${name}`, why }];
  if (file.startsWith('agency/') && !/^agency\.\w+$/.test(name))
    return slip('is asked nothing: name it agency.NAME');
  if (!name.startsWith('agency.') || /^refusals\b/m.test(source)) return [];
  return slip('has no rule refusals, so that it refuses nothing');
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
