// Single places of a JSON document, named by RFC 6901 pointers.
import { isObject } from '../trust/canonical.ts';

export const ABSENT = Symbol('absent');

/** Names and positions on the way, unescaped. */
const steps = (pointer: string): string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));

const joined = (pointer: string, name: string): string =>
  `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;

/** A copy of the document with one place changed, or taken away ({@link ABSENT}). @throws Error there is no such place */
export function withChange(document: unknown, pointer: string, value: unknown): unknown {
  const copy: unknown = structuredClone(document);
  const way = steps(pointer);
  const last = way.pop();
  const owner = way.reduce<unknown>(
    (at, step) => (typeof at === 'object' && at !== null ? Reflect.get(at, step) : undefined),
    copy,
  );
  if (last === undefined || typeof owner !== 'object' || owner === null) throw new Error(`no ${pointer}`);
  if (value === ABSENT) Reflect.deleteProperty(owner, last);
  else Reflect.set(owner, last, value);
  return copy;
}

/** Every place with its value, the document itself left out. */
export function* places(value: unknown, pointer = ''): Generator<readonly [string, unknown]> {
  if (pointer !== '') yield [pointer, value];
  const members = Array.isArray(value) ? [...value.entries()] : isObject(value) ? Object.entries(value) : [];
  for (const [name, member] of members) yield* places(member, joined(pointer, String(name)));
}
