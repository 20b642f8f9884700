import { ConfigError, describe, quoted } from '../core/errors.ts';
import { isObject } from '../trust/canonical.ts';
import { ABSENT, withChange } from './pointer.ts';

/** An input and what must come of it. */
export interface GoldenVector {
  readonly file: string;
  readonly name: string;
  readonly input: unknown;
  /** Members that the result must have; `undefined` as text: no usable decision. */
  readonly expect: 'undefined' | Readonly<Record<string, unknown>>;
}

/**
 * Reads a file of vectors: `bases` by name, and `vectors` of `name`, `base`, `set` (values by RFC 6901 pointer), `remove`
 * and `expect`.
 * @throws ConfigError naming file and vector
 */
export function parseVectors(file: string, text: string): GoldenVector[] {
  const bad = (what: string): ConfigError => new ConfigError([`${file}: ${what}`]);
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (cause) {
    throw bad(`is not JSON: ${describe(cause)}  不是 JSON`);
  }
  if (!isObject(root) || !isObject(root['bases']) || !Array.isArray(root['vectors']))
    throw bad('no object of bases and vectors');
  const { bases } = root;
  return root['vectors'].map((raw: unknown, i) => {
    const { name, base, set = {}, remove = [], expect } = isObject(raw) ? raw : {};
    const at = `vectors[${i}] ${quoted(String(name))}`;
    if (typeof name !== 'string' || typeof base !== 'string' || !isObject(bases[base]))
      throw bad(`${at}: no name, or no base that is there`);
    if (!isObject(set) || !Array.isArray(remove) || !(expect === 'undefined' || isObject(expect)))
      throw bad(`${at}: set, remove or expect is malformed`);
    try {
      let input: unknown = bases[base];
      for (const [pointer, value] of Object.entries(set)) input = withChange(input, pointer, value);
      for (const pointer of remove) input = withChange(input, String(pointer), ABSENT);
      return { file, name, input, expect };
    } catch (cause) {
      throw bad(`${at}: ${describe(cause)}`);
    }
  });
}
