import { ConfigError, MalformedBytes, quoted } from '../core/errors.ts';

type Json = Readonly<Record<string, unknown>>;

/** JSON in UTF-8, an object. @throws MalformedBytes */
export function parseObject(bytes: Uint8Array, what: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new MalformedBytes(`${what}: not JSON in UTF-8`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new MalformedBytes(`${what}: not a JSON object`);
  }
  return value as Json; // just checked
}

/**
 * Reads the members of one JSON object, each exactly once; what nobody asked for is a mistake. Problems are collected,
 * with the path to each.
 */
export class Shape {
  readonly #value: Json;
  readonly #path: string;
  readonly #problems: string[];
  readonly #asked = new Set<string>();

  private constructor(value: Json, path: string, problems: string[]) {
    this.#value = value;
    this.#path = path;
    this.#problems = problems;
  }

  /**
   * @param read takes everything it wants of the object
   * @throws ConfigError every problem
   */
  static read<T>(value: Json, read: (shape: Shape) => T): T {
    const problems: string[] = [];
    const shape = new Shape(value, '', problems);
    const result = read(shape);
    shape.finish();
    if (problems.length > 0) throw new ConfigError(problems);
    return result;
  }

  /** As {@link Shape.read}, for what came over the network. @throws MalformedBytes the first problem */
  static receive<T>(value: Json, what: string, read: (shape: Shape) => T): T {
    try {
      return Shape.read(value, read);
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown;
      throw new MalformedBytes(`${what}: ${thrown.problems[0] ?? ''}`, { cause: thrown });
    }
  }

  has(name: string): boolean {
    return this.#value[name] !== undefined;
  }

  text(name: string, pattern = /^[\x20-\x7e]{1,200}$/): string {
    const value = this.#take(name);
    if (typeof value === 'string' && pattern.test(value)) return value;
    return this.#problem(name, `not text like ${pattern.source}`, '');
  }

  integer(name: string, min: number, max: number): number {
    const value = this.#take(name);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max)
      return value;
    return this.#problem(name, `not an integer from ${min} to ${max}`, min);
  }

  /** A count that the sender may not know. */
  countOrUnknown(name: string): number | undefined {
    return this.#value[name] === null ? void this.#take(name) : this.integer(name, 0, 1_000_000);
  }

  oneOf<const T extends string>(name: string, allowed: readonly [T, ...T[]]): T {
    const value = this.#take(name);
    return (
      allowed.find((known) => known === value) ??
      this.#problem(name, `not ${allowed.join(' | ')}`, allowed[0])
    );
  }

  texts(name: string, pattern = /^[\x20-\x7e]{1,200}$/, max = 10_000): readonly string[] {
    const value = this.#take(name);
    const good =
      Array.isArray(value) &&
      value.length <= max &&
      value.every((item) => typeof item === 'string' && pattern.test(item));
    return good
      ? (value as readonly string[]) /* just checked */
      : this.#problem(name, `not texts like ${pattern.source}`, []);
  }

  integers(name: string, min: number, max: number): readonly number[] {
    const value = this.#take(name);
    const good =
      Array.isArray(value) && value.every((item) => Number.isInteger(item) && item >= min && item <= max);
    return good
      ? (value as readonly number[]) /* just checked */
      : this.#problem(name, `not integers from ${min} to ${max}`, []);
  }

  /** Canonical base64url of at most `max` bytes. */
  bytes(name: string, max: number): Buffer {
    return this.#decoded(name, this.#take(name), max);
  }

  bytesList(name: string, max: number, maxItems: number): readonly Buffer[] {
    const value = this.#take(name);
    if (!Array.isArray(value) || value.length > maxItems)
      return this.#problem(name, 'not a list of base64url', []);
    return value.map((item: unknown) => this.#decoded(name, item, max));
  }

  #decoded(name: string, value: unknown, max: number): Buffer {
    if (typeof value === 'string' && value.length <= Math.ceil((max * 4) / 3)) {
      const bytes = Buffer.from(value, 'base64url');
      if (bytes.toString('base64url') === value) return bytes;
    }
    return this.#problem(name, `not base64url of at most ${max} bytes`, Buffer.alloc(0));
  }

  object<T>(name: string, read: (shape: Shape) => T): T {
    const inner = new Shape(this.#record(name, this.#take(name)), `${this.#path}/${name}`, this.#problems);
    const result = read(inner);
    inner.finish();
    return result;
  }

  /** An object, or null. */
  optional<T>(name: string, read: (shape: Shape) => T): T | undefined {
    return this.#value[name] === null ? void this.#take(name) : this.object(name, read);
  }

  objects<T>(name: string, read: (shape: Shape) => T): readonly T[] {
    const value = this.#take(name);
    if (!Array.isArray(value)) return this.#problem(name, 'not a list', []);
    return value.map((item: unknown, i) => {
      const inner = new Shape(this.#record(name, item), `${this.#path}/${name}/${i}`, this.#problems);
      const result = read(inner);
      inner.finish();
      return result;
    });
  }

  /** A map: its keys are data. */
  entries<T>(name: string, key: RegExp, read: (shape: Shape, key: string) => T): ReadonlyMap<string, T> {
    return this.object(name, (map) => {
      const all = new Map<string, T>();
      for (const member of Object.keys(map.#value)) {
        if (key.test(member))
          all.set(
            member,
            map.object(member, (inner) => read(inner, member)),
          );
        else map.#problem(member, `not like ${key.source}`, undefined);
      }
      return all;
    });
  }

  report(name: string, problem: string): void {
    this.#problem(name, problem, undefined);
  }

  finish(): void {
    for (const name of Object.keys(this.#value)) {
      if (!this.#asked.has(name)) this.#problem(name, 'unknown', undefined);
    }
  }

  #take(name: string): unknown {
    this.#asked.add(name);
    return Object.hasOwn(this.#value, name) ? this.#value[name] : undefined;
  }

  #record(name: string, value: unknown): Json {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json; // just checked
    return this.#problem(name, 'not an object', {});
  }

  #problem<T>(name: string, what: string, instead: T): T {
    this.#asked.add(name);
    this.#problems.push(`${this.#path}/${quoted(name)}: ${what}`);
    return instead;
  }
}
