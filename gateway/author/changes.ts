// What an input could have been with one field changed: values out of its schema, out of the input itself, and for
// numbers the nearest one that makes the difference.
import { isObject } from '../trust/canonical.ts';
import { places, withChange } from './pointer.ts';

/** One change of one field that has the wanted effect. */
export interface Change {
  /** RFC 6901. */
  readonly pointer: string;
  readonly from: unknown;
  readonly to: unknown;
}

type Schema = Readonly<Record<string, unknown>>;

/** Ids: they name the question and change nothing about it. */
const NAMES = new Set(['/decision_id']);

/**
 * The smallest change of each single field that has an effect, smallest first: a word or a yes for a no before a
 * number, the nearest number before further ones, a whole object last.
 * @param schema JSON schema of the input; undefined: only values of the input itself are tried
 * @param hasEffect of the changed input
 */
export function smallestChanges(
  input: unknown,
  schema: unknown,
  hasEffect: (changed: unknown) => boolean,
): Change[] {
  const known = [...places(input)];
  const changes: (Change & { readonly size: number })[] = [];
  for (const [pointer, from] of known) {
    if (NAMES.has(pointer)) continue;
    const works = (to: unknown): boolean => !same(from, to) && hasEffect(withChange(input, pointer, to));
    const to = candidates(from, schemasAt(schema, pointer), known).find(works);
    if (to === undefined) continue;
    const nearest = typeof from === 'number' && typeof to === 'number' ? between(from, to, works) : to;
    changes.push({ pointer, from, to: nearest, size: sizeOf(from, nearest) });
  }
  return changes.toSorted((a, b) => a.size - b.size).map(({ pointer, from, to }) => ({ pointer, from, to }));
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function sizeOf(from: unknown, to: unknown): number {
  if (typeof from === 'number' && typeof to === 'number') return 2 + Math.log10(1 + Math.abs(to - from)) / 20;
  const leaf = (value: unknown): boolean => typeof value !== 'object' || value === null;
  if (Array.isArray(from) && Array.isArray(to)) return 4;
  return leaf(from) && leaf(to) ? 1 : 5;
}

/** The number nearest to `from` that still works, if the effect has one boundary between the two. */
function between(from: number, to: number, works: (value: number) => boolean): number {
  let [far, near] = [to, from];
  while (Math.abs(far - near) > 1) {
    const middle = Math.trunc((far + near) / 2);
    if (works(middle)) far = middle;
    else near = middle;
  }
  return far;
}

/** Values to try in a place, likely ones first. */
function candidates(
  from: unknown,
  schemas: readonly Schema[],
  known: readonly (readonly [string, unknown])[],
) {
  const tried: unknown[] = typeof from === 'boolean' ? [!from] : [];
  for (const schema of schemas) tried.push(...allowed(schema));
  for (const [, value] of known) {
    if (typeof value === typeof from && typeof value !== 'object') tried.push(value);
    if (typeof value === 'number' && typeof from === 'number') tried.push(value - 1, value + 1);
    // Something that is on no list may be what is missing on it.
    if (Array.isArray(from) && typeof value === 'string' && !from.includes(value))
      tried.push([...from, value]);
  }
  if (typeof from === 'number') tried.push(0, from * 2, Math.trunc(from / 2));
  return tried.filter((value) => typeof value !== 'number' || (Number.isSafeInteger(value) && value >= 0));
}

/** Values that the schema names, as the only ones or as examples. */
function allowed(schema: Schema): unknown[] {
  const { enum: words, examples: likely, const: only, minimum, maximum, type } = schema;
  const values: unknown[] = [words, likely].flatMap((list: unknown) => (Array.isArray(list) ? list : []));
  if (only !== undefined) values.push(only);
  if (typeof maximum === 'number') values.push(maximum);
  if (typeof minimum === 'number') values.push(minimum);
  if (type === 'null') values.push(null);
  if (type === 'boolean') values.push(true, false);
  if (type === 'object') values.push(...examples(schema));
  return values;
}

/** A whole object as the schema wants it: of the first words and least numbers, and of the last and greatest. */
function examples(schema: Schema): object[] {
  const { properties } = schema;
  if (!isObject(properties)) return [];
  return [0, -1].map((which) =>
    Object.fromEntries(
      Object.entries(properties).map(([name, raw]) => {
        const values = isObject(raw) ? alternatives(raw).flatMap(allowed) : [];
        return [name, values.at(which) ?? ''];
      }),
    ),
  );
}

/** The schemas that apply to a place, alternatives one by one. */
function schemasAt(schema: unknown, pointer: string): Schema[] {
  let at = isObject(schema) ? alternatives(schema) : [];
  for (const name of pointer.split('/').slice(1)) {
    at = at.flatMap((each) => {
      const { properties, items } = each;
      const inner = /^\d+$/.test(name) ? items : isObject(properties) ? properties[name] : undefined;
      return isObject(inner) ? alternatives(inner) : [];
    });
  }
  return at;
}

function alternatives(schema: Schema): Schema[] {
  const { anyOf } = schema;
  if (!Array.isArray(anyOf)) return [schema];
  return anyOf.flatMap((each: unknown) => (isObject(each) ? alternatives(each) : []));
}
