import { MalformedBytes } from '../core/errors.ts';

/**
 * RFC 8785 text of a JSON value: members sorted by UTF-16 code units, no white space. Stricter than the RFC: numbers are
 * integers of at most 2^53 - 1, so that JavaScript, the policy's arithmetic and a replay years later read the same.
 * @throws MalformedBytes for anything that is not such a value
 */
export const canonicalJson = (value: unknown): string => written(value, 0);

/** Levels of nesting. A policy input has six; what somebody else wrote must not be able to exhaust the stack. */
const MAX_DEPTH = 100;

function written(value: unknown, depth: number): string {
  if (value === null || value === true || value === false) return String(value);
  if (typeof value === 'string') {
    // JSON.stringify would write a lone surrogate as an escape; RFC 8785 §3.2.2.2 wants an error.
    if (!value.isWellFormed()) throw new MalformedBytes('a string is not well-formed Unicode');
    return JSON.stringify(value);
  }
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) throw new MalformedBytes(`number ${value}`);
    return String(value);
  }
  if (depth === MAX_DEPTH) throw new MalformedBytes(`nested deeper than ${MAX_DEPTH} levels`);
  const inner = depth + 1;
  if (Array.isArray(value)) return `[${value.map((item) => written(item, inner)).join(',')}]`;
  if (typeof value !== 'object') throw new MalformedBytes(`a ${typeof value} is not JSON`);
  const members = Object.entries(value);
  members.sort(([a], [b]) => (a < b ? -1 : 1)); // keys of one object differ
  return `{${members.map(([key, member]) => `${written(key, inner)}:${written(member, inner)}`).join(',')}}`;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text and its value, if the bytes are exactly what {@link canonicalJson} writes. @throws MalformedBytes */
export function parseCanonicalJson(bytes: Uint8Array): { readonly text: string; readonly value: unknown } {
  let text: string;
  let value: unknown;
  try {
    text = decoder.decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw new MalformedBytes('not JSON in UTF-8', { cause });
  }
  // A duplicate member, a float, a spare blank: each would be a second spelling of the same value.
  if (!(isInOrder(value, 0) && JSON.stringify(value) === text) && canonicalJson(value) !== text)
    throw new MalformedBytes('not canonical JSON');
  return { text, value };
}

/**
 * Would {@link canonicalJson} write what JSON.stringify does? No for numeric names too, which objects list by value, and
 * for what is nested too deeply.
 */
function isInOrder(value: unknown, depth: number): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value === 'number') return Number.isSafeInteger(value);
  if (typeof value !== 'object' || value === null) return true;
  if (depth === MAX_DEPTH) return false;
  if (Array.isArray(value)) return value.every((item) => isInOrder(item, depth + 1));
  if (!isObject(value)) return true;
  let last: string | undefined;
  for (const name in value) {
    if ((last !== undefined && name < last) || !name.isWellFormed() || !isInOrder(value[name], depth + 1))
      return false;
    last = name;
  }
  return true;
}

/** A JSON object, as opposed to an array or null. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Has the object these members and no others? */
export function hasExactly(value: Readonly<Record<string, unknown>>, members: readonly string[]): boolean {
  return Object.keys(value).length === members.length && members.every((name) => Object.hasOwn(value, name));
}
