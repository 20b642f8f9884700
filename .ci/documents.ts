// The tables of docs/ that say what the code says: refusals, settings, metrics, events.
//   node .ci/documents.ts            writes them
//   node .ci/documents.ts --check    fails when a document differs
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configJsonSchema } from '../gateway/config/schema.ts';
import { REFUSALS, xroadType, type RefusalCode, type RefusalRow } from '../gateway/core/refusals.ts';
import { EVENT_LEVELS } from '../gateway/telemetry/events.ts';
import { processMetrics, workerMetrics } from '../gateway/telemetry/gateway-metrics.ts';
import { mergeSnapshots } from '../gateway/telemetry/merged-metrics.ts';
import { renderPage } from '../gateway/telemetry/metrics.ts';
import { POLICY_INPUT_ZH } from './policy-input-zh.ts';
import { SETTINGS_ZH } from './settings-zh.ts';

const root = join(import.meta.dirname, '..');
const begin = (name: string): string => `<!-- generated: ${name} -->`;
const END = '<!-- end -->';

type Row = readonly string[];

function table(head: Row, rows: readonly Row[]): string {
  const line = (cells: Row): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const code = (text: string): string => `\`${text}\``;

function refusals(): string {
  // Object.entries forgets the keys of a constant table.
  const rows = Object.entries(REFUSALS) as [RefusalCode, RefusalRow][];
  const head = ['code', 'status', 'fault', 'log', 'X-Road type (camel, snake)', 'English', '中文'];
  return table(
    head,
    rows.map(([name, { status, fault, mark, en, zh }]) => [
      code(name),
      String(status),
      fault,
      mark,
      `${code(xroadType(name, 'camel'))} ${code(xroadType(name, 'snake'))}`,
      en,
      zh,
    ]),
  );
}

/** As much of JSON Schema as zod writes for the configuration. */
interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
}

export interface Setting {
  readonly path: string;
  readonly value: string;
  readonly fallback: string;
  readonly description: string;
}

/** Every setting of the configuration file, in the order of the schema. A list's element has `[]` in its path. */
export function settings(schema: Schema = configJsonSchema(), path = '', required = true): Setting[] {
  const { items, properties } = schema;
  const inner = properties === undefined ? items : schema;
  if (inner?.properties !== undefined) {
    const prefix = items === undefined ? path : `${path}[]`;
    return Object.entries(inner.properties).flatMap(([key, child]) =>
      settings(child, prefix === '' ? key : `${prefix}.${key}`, inner.required?.includes(key) ?? false),
    );
  }
  const { default: given, description = '' } = schema;
  const fallback = given === undefined ? (required ? 'required' : 'none') : code(JSON.stringify(given));
  return [{ path, value: valueOf(schema), fallback, description }];
}

function valueOf({ type = 'value', items, anyOf, minimum, maximum, enum: choices }: Schema): string {
  if (choices !== undefined) return choices.map(code).join(', ');
  if (anyOf !== undefined) return 'size';
  if (type === 'array') return `list of ${items?.type ?? 'value'}`;
  return minimum === undefined || maximum === undefined ? type : `${type}, ${minimum} to ${maximum}`;
}

const english = (): string =>
  table(
    ['setting', 'value', 'default', 'meaning'],
    settings().map(({ path, value, fallback, description }) => [code(path), value, fallback, description]),
  );

const chinese = (): string =>
  table(
    ['設定', '預設值', '說明'],
    settings().map(({ path, fallback }) => {
      const given = fallback === 'required' ? '必填' : fallback === 'none' ? '無' : fallback;
      return [code(path), given, SETTINGS_ZH[path] ?? 'MISSING'];
    }),
  );

function metrics(): string {
  const thread = () => ({ heapBytes: 0, collectorSeconds: 0, loopDelaySeconds: 0 });
  const ofWorkers = workerMetrics({ thread, logSize: () => 0n }).page;
  const ofProcess = processMetrics({
    thread,
    process: () => ({ cpuSeconds: 0, residentBytes: 0, startedAtSeconds: 0 }),
    ready: () => true,
    workers: () => ({ open: 1, lost: 0 }),
    registry: () => ({ version: 1, expiresAtMs: 0 }),
    build: () => ({}),
    policy: () => ({}),
    feedSilence: () => 0,
    threatAge: () => 0,
  });
  const page = renderPage(mergeSnapshots([ofWorkers.snapshot(), ofProcess.snapshot()]));
  const types = new Map(
    [...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  );
  return table(
    ['metric', 'type', 'meaning'],
    [...page.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name = '', help = '']) => [
      code(name),
      types.get(name) ?? '',
      help,
    ]),
  );
}

const events = (): string =>
  table(
    ['event', 'level'],
    Object.entries(EVENT_LEVELS).map(([name, level]) => [code(name), level]),
  );

interface InputSchema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly InputSchema[];
  readonly items?: InputSchema;
  readonly properties?: Readonly<Record<string, InputSchema>>;
}

/** The words of a language that a table of the policy's input is made of. */
interface InputWords {
  readonly head: Row;
  readonly range: (least: number, most: number) => string;
  readonly listOf: (type: string) => string;
  readonly or: string;
  readonly sentence: (text: string) => string;
  /** Between two sentences. */
  readonly gap: string;
}

const INPUT_ENGLISH: InputWords = {
  head: ['member', 'value', 'meaning'],
  range: (least, most) => ` ${least} to ${most}`,
  listOf: (type) => `list of ${type}`,
  or: ' or ',
  sentence: (text) => text,
  gap: ' ',
};

const INPUT_CHINESE: InputWords = {
  head: ['成員', '值', '說明'],
  range: (least, most) => `，${least} 至 ${most}`,
  listOf: (type) => `${type} 的清單`,
  or: ' 或 ',
  sentence: (text) => POLICY_INPUT_ZH[text] ?? 'MISSING',
  gap: '',
};

/** Every member of the policy's input, each before what is inside it. */
function inputRows(schema: InputSchema, words: InputWords, path = ''): Row[] {
  const choices = schema.anyOf ?? [schema];
  const values = choices.map(({ type = '', enum: constants, items, minimum, maximum }) => {
    if (constants !== undefined) return constants.map(code).join(', ');
    if (type === 'array') return words.listOf(items?.type ?? 'value');
    return maximum === undefined ? type : type + words.range(minimum ?? 0, maximum);
  });
  const said = new Set([schema, ...choices].flatMap(({ description }) => description ?? []));
  const meaning = (): string => [...said].map(words.sentence).join(words.gap);
  const own = path === '' ? [] : [[code(path), values.join(words.or), meaning()]];
  const inner = choices.flatMap(({ properties = {} }) => Object.entries(properties));
  const sorted = inner.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return [
    ...own,
    ...sorted.flatMap(([name, child]) => inputRows(child, words, path === '' ? name : `${path}.${name}`)),
  ];
}

function policyInput(words: InputWords): string {
  const text = readFileSync(join(root, 'policies/schemas/input.json'), 'utf8');
  return table(words.head, inputRows(JSON.parse(text) as InputSchema, words)); // the repository's own
}

/** Every sentence that {@link POLICY_INPUT_ZH} has to have. */
export function inputSentences(): string[] {
  const sentences = new Set<string>();
  policyInput({
    ...INPUT_ENGLISH,
    sentence: (text) => {
      sentences.add(text);
      return text;
    },
  });
  return [...sentences];
}

/** Document, and what stands generated in it. */
const DOCUMENTS: Readonly<Record<string, Readonly<Record<string, () => string>>>> = {
  'docs/refusals.md': { refusals },
  'docs/operating.md': { settings: english, metrics, events },
  'docs/operating.zh-TW.md': { settings: chinese },
  'docs/policy-input.md': { input: () => policyInput(INPUT_ENGLISH) },
  'docs/policy-input.zh-TW.md': { input: () => policyInput(INPUT_CHINESE) },
};

/** A document with its generated parts made anew. @throws Error when a part's marks are missing */
function regenerated(text: string, parts: Readonly<Record<string, () => string>>): string {
  return Object.entries(parts).reduce((before, [name, make]) => {
    const from = before.indexOf(begin(name));
    const to = before.indexOf(END, from);
    if (from < 0 || to < 0) throw new Error(`no place for ${name}`);
    return `${before.slice(0, from)}${begin(name)}\n\n${make()}\n\n${before.slice(to)}`;
  }, text);
}

/** @returns the documents that do not say what the code says */
export function staleDocuments(write = false): string[] {
  return Object.entries(DOCUMENTS).flatMap(([file, parts]) => {
    const path = join(root, file);
    const text = readFileSync(path, 'utf8');
    const wanted = regenerated(text, parts);
    if (wanted === text) return [];
    if (write) writeFileSync(path, wanted);
    return [file];
  });
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  for (const file of staleDocuments(!check)) {
    console.log(check ? `${file} is stale: run node .ci/documents.ts` : `wrote ${file}`);
    if (check) process.exitCode = 1;
  }
}
