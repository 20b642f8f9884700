import { ConfigError, quoted } from '../core/errors.ts';

/** A wrong file says everything that is wrong with it, up to here; a hostile one does not fill the log. */
const MAX_PROBLEMS = 100;

/** What the readers below give back in place of a value that is not one. The problem is on the list then. */
export const BAD: unique symbol = Symbol('bad');
export type Bad = typeof BAD;

/**
 * Strict reading of parsed JSON: each reader names the place (JSON pointer, RFC 6901) and what it expected there, and
 * goes on, so that all problems come at once.
 */
export class Problems {
  readonly #found: string[] = [];

  add(path: string, problem: string): Bad {
    if (this.#found.length < MAX_PROBLEMS) this.#found.push(`${path === '' ? '/' : path}: ${problem}`);
    return BAD;
  }

  get any(): boolean {
    return this.#found.length > 0;
  }

  /** @throws ConfigError with every problem, if there is one */
  throwIfAny(): void {
    if (this.any) throw new ConfigError(this.#found);
  }

  /** An object with these keys, no others. A missing one is reported by the reader of its value. */
  object<K extends string>(
    raw: unknown,
    path: string,
    keys: readonly K[],
  ): { readonly [P in K]?: unknown } | Bad {
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
      return this.add(path, 'expected an object');
    const known = new Set<string>(keys);
    // Object.entries reads own keys only: `__proto__` out of JSON.parse is one of them and is unknown like any other.
    const values = new Map<string, unknown>();
    for (const [key, value] of Object.entries(raw)) {
      if (known.has(key)) values.set(key, value);
      else this.add(`${path}/${quoted(key)}`, 'unknown key');
    }
    // fromEntries can say only Record<string, …>; the keys were checked one by one above.
    return Object.fromEntries(values) as { [P in K]?: unknown };
  }

  /** A list read item by item; bad items are left out (and on the list of problems). */
  list<T>(raw: unknown, path: string, max: number, read: (item: unknown, path: string) => T | Bad): T[] {
    if (!Array.isArray(raw)) {
      this.add(path, 'expected a list');
      return [];
    }
    if (raw.length > max) {
      this.add(path, `more than ${max} items`);
      return [];
    }
    const items: T[] = [];
    for (const [i, item] of raw.entries()) {
      const value = read(item, `${path}/${i}`);
      if (value !== BAD) items.push(value);
    }
    return items;
  }

  /** Text of which `parse` says what it is; undefined means it is not. */
  text<T extends string>(
    raw: unknown,
    path: string,
    expected: string,
    parse: (text: string) => T | undefined,
  ): T | Bad {
    const value = typeof raw === 'string' && raw.length <= 65_536 ? parse(raw) : undefined;
    return value ?? this.add(path, `expected ${expected}${shown(raw)}`);
  }

  oneOf<T extends string>(raw: unknown, path: string, words: readonly T[]): T | Bad {
    const word = words.find((w) => w === raw);
    return word ?? this.add(path, `expected ${words.map((w) => `"${w}"`).join(' or ')}${shown(raw)}`);
  }

  /** A whole number that a double holds exactly. */
  integer(raw: unknown, path: string, min: number): number | Bad {
    if (typeof raw === 'number' && Number.isSafeInteger(raw) && raw >= min) return raw;
    return this.add(path, `expected a whole number of at least ${min}${shown(raw)}`);
  }

  boolean(raw: unknown, path: string): boolean | Bad {
    return typeof raw === 'boolean' ? raw : this.add(path, `expected true or false${shown(raw)}`);
  }
}

function shown(raw: unknown): string {
  if (raw === undefined) return ', found nothing';
  if (typeof raw === 'string' || typeof raw === 'number') return `, found ${quoted(JSON.stringify(raw), 60)}`;
  return '';
}

/**
 * The row if every part of it was read. Parts that are bad are on the list of problems already, so the row is only
 * left out.
 */
export function whole<T extends object>(row: { [K in keyof T]: T[K] | Bad }): T | Bad {
  // Object.values forgets the types; if none of them is BAD, each is its T[K].
  return Object.values(row).includes(BAD) ? BAD : (Object.freeze(row) as T);
}
