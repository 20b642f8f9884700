import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { isRefusalCode, type RefusalCode } from '../../gateway/core/refusals.ts';

/**
 * Where a case is sent. `consumer`: the listener for client systems, in plain HTTP and again in HTTPS with a registered
 * client certificate. `link`: the provider's door for other gateways, by an attacker who holds agency A's keys.
 */
export type CaseTarget = 'consumer' | 'link';

/** One item of what a client does; text is Latin-1 with `{{variables}}`. */
export type SendItem =
  | string
  | { readonly hex: string }
  | { readonly repeat: string; readonly times: number }
  | { readonly drip: string; readonly everyMs: number }
  | { readonly pauseMs: number }
  /** Waits for so many answers, 1xx included. */
  | { readonly awaitAnswers: number }
  /** Waits until the gateway has read what was sent so far, and has begun the exchange if the log is to say that it was cut. */
  | { readonly await: 'seen' }
  | { readonly end: 'fin' | 'rst' };

/** What has to come of it. What is not said is not asserted, but for the next request: that one always has to work. */
export interface Expectation {
  /** Of the last final answer; `none`: no complete answer may come. A list: any of these. */
  readonly status?: number | 'none' | readonly (number | 'none')[];
  /** Refusal code, where the answer and the gateway's counters can show it. A list: any of these. */
  readonly code?: RefusalCode | readonly RefusalCode[];
  /** The gateway ends the connection by itself. */
  readonly closed?: boolean;
  /** How many final answers come on the connection. */
  readonly answers?: number;
  /**
   * `event`: counted, and nothing in the signed log. `record`: a signed record of the refusal. `abort`: a signed
   * record that an exchange which had begun was cut. `cut`: one of these two, where it depends on the machine whether it
   * had begun. `none`: neither counted nor recorded.
   */
  readonly log?: 'event' | 'record' | 'abort' | 'cut' | 'none';
  /** `nothing`: the service saw no request. `request`: it did. */
  readonly service?: 'nothing' | 'request';
  /** Texts that the answer's content has, or must not have: the echo service says what it received. */
  readonly has?: readonly string[];
  readonly hasNot?: readonly string[];
}

export interface GeneratorCall {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

export interface Variant {
  readonly name: string;
  readonly action: { readonly send: readonly SendItem[] } | { readonly generator: GeneratorCall };
  readonly expect: Expectation;
}

export interface ConformanceCase {
  /** Path below `cases/`, without the extension: area and rule. */
  readonly file: string;
  /** Row of the attack catalogue. */
  readonly id: string;
  readonly requirement: string;
  readonly source: string;
  readonly target: CaseTarget;
  /** Slow by nature: these run side by side, without the questions that need a quiet gateway. */
  readonly slow: boolean;
  readonly variants: readonly Variant[];
}

/** All cases below a folder, in order of their names. @throws Error that names the file and what is wrong in it */
export async function readCases(dir: string): Promise<readonly ConformanceCase[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.json'));
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).toSorted();
  return Promise.all(
    paths.map(async (path) => {
      const file = relative(dir, path).replace(/\.json$/, '');
      try {
        return parseCase(file, JSON.parse(await readFile(path, 'utf8')));
      } catch (cause) {
        throw new Error(`${file}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
      }
    }),
  );
}

type Json = Readonly<Record<string, unknown>>;

function parseCase(file: string, json: unknown): ConformanceCase {
  const row = fields(json, 'case', [
    'id',
    'requirement',
    'source',
    'target',
    'slow',
    'expect',
    'variants',
    'send',
    'generator',
    'values',
  ]);
  const target = text(row, 'target');
  if (target !== 'consumer' && target !== 'link') throw new Error(`target ${target}`);
  const expect = parseExpectation(row['expect'] ?? {});
  return {
    file,
    id: text(row, 'id'),
    requirement: text(row, 'requirement'),
    source: text(row, 'source'),
    target,
    slow: row['slow'] === true,
    variants: [...parseVariants(row, expect)],
  };
}

/** `variants`: name → what is sent (and what else is expected). `values`: one `send` for each, as `{{value}}`. */
function* parseVariants(row: Json, expect: Expectation): globalThis.Generator<Variant> {
  if (row['variants'] !== undefined) {
    for (const [name, body] of Object.entries(fields(row['variants'], 'variants'))) {
      if (Array.isArray(body)) {
        yield { name, action: { send: body.map(parseItem) }, expect };
        continue;
      }
      const own = fields(body, name, ['send', 'generator', 'expect']);
      yield {
        name,
        action: parseAction(own),
        expect: { ...expect, ...parseExpectation(own['expect'] ?? {}) },
      };
    }
    return;
  }
  const values = row['values'] ?? [''];
  if (!Array.isArray(values)) throw new Error('values is not a list');
  for (const value of values.map(String)) {
    const shown = JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    yield {
      name: value === '' && values.length === 1 ? 'as it is' : shown,
      action: parseAction(row, value),
      expect,
    };
  }
}

function parseAction(row: Json, value = ''): Variant['action'] {
  if (row['generator'] !== undefined) {
    const { name, args = {} } = fields(row['generator'], 'generator', ['name', 'args']);
    if (typeof name !== 'string') throw new Error('generator has no name');
    return { generator: { name, args: fields(args, 'args') } };
  }
  if (!Array.isArray(row['send'])) throw new Error('neither send nor generator');
  const send = row['send'].map(parseItem);
  return {
    send: send.map((item) => (typeof item === 'string' ? item.replaceAll('{{value}}', () => value) : item)),
  };
}

const ITEM_KEYS = ['hex', 'repeat', 'drip', 'pauseMs', 'awaitAnswers', 'await', 'end'];

function parseItem(item: unknown): SendItem {
  if (typeof item === 'string') return item;
  const kind = ITEM_KEYS.filter((key) => typeof item === 'object' && item !== null && key in item);
  if (kind.length !== 1) throw new Error(`cannot send ${JSON.stringify(item)}`);
  return item as SendItem; // checked by its one key; a wrong value fails where it is sent
}

const EXPECTATIONS = ['status', 'code', 'closed', 'answers', 'log', 'service', 'has', 'hasNot'];

function parseExpectation(json: unknown): Expectation {
  const row = fields(json, 'expect', EXPECTATIONS);
  for (const code of [row['code'] ?? []].flat()) {
    if (typeof code !== 'string' || !isRefusalCode(code))
      throw new Error(`no such refusal: ${JSON.stringify(code)}`);
  }
  for (const [key, allowed] of [
    ['log', ['event', 'record', 'abort', 'cut', 'none']],
    ['service', ['nothing', 'request']],
  ] as const) {
    const value = row[key];
    if (value !== undefined && !allowed.some((one) => one === value))
      throw new Error(`${key}: ${JSON.stringify(value)}`);
  }
  return row; // every key is known, and those that select a question have a known value
}

function fields(json: unknown, what: string, allowed?: readonly string[]): Json {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new Error(`${what} is not an object`);
  const unknown = allowed === undefined ? [] : Object.keys(json).filter((key) => !allowed.includes(key));
  if (unknown.length > 0) throw new Error(`${what}: unknown ${unknown.join(', ')}`);
  return json as Json; // an object that is no array
}

function text(row: Json, key: string): string {
  const value = row[key];
  if (typeof value !== 'string' || value === '') throw new Error(`${key} is missing`);
  return value;
}
