/**
 * Policy modules written by hand for tests: the smallest WebAssembly that has the outside of an OPA policy and answers
 * whatever the test wants, so that what a compiler never emits can be loaded too.
 */
import { Bundle } from './bundle.ts';
import { sha256, utf8 } from '../core/bytes.ts';

/** Addresses inside the module's memory. */
const AT = { builtins: 1024, entrypoints: 2048, message: 3072, result: 4096, malloc: 1 << 16, heap: 1 << 17 };
/** A byte that starts as 0 and that a body may write. */
const FLAG = 512;

const I32 = 0x7f;
const TYPES = { makes: 0, takes: 1, maps: 2, pairs: 3, evals: 4, runs: 5 } as const;
type TypeName = keyof typeof TYPES;

export interface ModuleSpec {
  /** JSON text the evaluation answers with. */
  readonly answer?: string;
  /** Instructions of `opa_eval` in place of the constant answer; see {@link op}. */
  readonly body?: readonly number[];
  readonly builtins?: string;
  readonly entrypoints?: string;
  readonly abi?: readonly [major: number, minor: number];
  /** Further imports: module, name, function type; or a raw descriptor. */
  readonly imports?: readonly (readonly [module: string, name: string, descriptor: readonly number[]])[];
  /** Export name → renamed; null leaves it out. */
  readonly rename?: Readonly<Record<string, string | null>>;
  /** Whole sections to insert, by id. */
  readonly sections?: Readonly<Record<number, readonly number[]>>;
  /** Limits of the imported memory. */
  readonly memory?: readonly number[];
}

const u32 = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...u32(Math.floor(value / 0x80))];
/** Signed LEB128, for `i32.const`. */
const s32 = (value: number): number[] =>
  value >= -64 && value < 64 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...s32(value >> 7)];
const name = (text: string): number[] => [...u32(utf8(text).length), ...utf8(text)];
const vector = (items: readonly (readonly number[])[]): number[] => [...u32(items.length), ...items.flat()];
const section = (id: number, content: readonly number[]): number[] => [
  id,
  ...u32(content.length),
  ...content,
];
export const functionOf = (type: TypeName): readonly number[] => [0x00, TYPES[type]];

const constant = (value: number): number[] => [0x41, ...s32(value)];
/** Instructions for bodies. Function 0 is `opa_abort`, 1 is `opa_builtin0`. */
export const op = {
  answer: constant(AT.result),
  trap: [0x00],
  abort: [...constant(AT.message), 0x10, 0, 0x00],
  builtin: [...constant(0), ...constant(0), 0x10, 1],
  /** Asks for a page until there is none, then traps. */
  hoard: [0x03, 0x40, ...constant(1), 0x40, 0, ...constant(-1), 0x47, 0x0d, 0, 0x0b, 0x00],
  /** Sets the flag byte; traps if it was set already. */
  trapTheSecondTime: [
    ...constant(FLAG), 0x2d, 0, 0, 0x04, 0x40, 0x00, 0x0b, ...constant(FLAG), ...constant(1), 0x3a, 0, 0,
  ], // prettier-ignore
} as const;

const NUL = 0;

export function policyModule(spec: ModuleSpec = {}): Uint8Array {
  const { abi = [1, 3], rename = {}, sections = {}, memory = [0x00, 5], imports = [] } = spec;
  const types = [
    [0x60, 0, 1, I32],
    [0x60, 1, I32, 0],
    [0x60, 1, I32, 1, I32],
    [0x60, 2, I32, I32, 1, I32],
    [0x60, 7, I32, I32, I32, I32, I32, I32, I32, 1, I32],
    [0x60, 0, 0],
  ];
  const imported = [
    ['env', 'opa_abort', functionOf('takes')] as const,
    ['env', 'opa_builtin0', functionOf('pairs')] as const,
    ...imports,
    ['env', 'memory', [0x02, ...memory]] as const,
  ];
  const firstOwn = imported.filter(([, , [kind]]) => kind === 0).length;
  const functions: readonly (readonly [string, TypeName, readonly number[]])[] = [
    ['builtins', 'makes', constant(AT.builtins)],
    ['entrypoints', 'makes', constant(AT.entrypoints)],
    ['opa_json_dump', 'maps', [0x20, 0]],
    ['opa_json_parse', 'pairs', [0x20, 0]],
    ['opa_malloc', 'maps', constant(AT.malloc)],
    ['opa_heap_ptr_get', 'makes', constant(AT.heap)],
    ['opa_heap_ptr_set', 'takes', []],
    ['opa_eval', 'evals', spec.body ?? op.answer],
  ];
  const exported = [
    ...functions.map(([own], i) => [own, [0x00, ...u32(firstOwn + i)]] as const),
    ['opa_wasm_abi_version', [0x03, 0]] as const,
    ['opa_wasm_abi_minor_version', [0x03, 1]] as const,
  ].flatMap(([own, index]) => {
    const as = rename[own] === undefined ? own : rename[own];
    return as === null ? [] : [[...name(as), ...index]];
  });
  const text = (at: number, content: string): number[] => [
    0x00, ...constant(at), 0x0b, ...u32(utf8(content).length + 1), ...utf8(content), NUL,
  ]; // prettier-ignore
  const standard: Record<number, readonly number[]> = {
    1: vector(types),
    2: vector(imported.map(([from, own, descriptor]) => [...name(from), ...name(own), ...descriptor])),
    3: vector(functions.map(([, type]) => [TYPES[type]])),
    6: vector(abi.map((version) => [I32, 0x00, ...constant(version), 0x0b])),
    7: vector(exported),
    10: vector(functions.map(([, , body]) => [...u32(body.length + 2), 0, ...body, 0x0b])),
    11: vector([
      text(AT.builtins, spec.builtins ?? '{}'),
      text(AT.entrypoints, spec.entrypoints ?? '{"test/decision":0}'),
      text(AT.message, 'object insert conflict'),
      text(AT.result, spec.answer ?? '[]'),
    ]),
    ...sections,
  };
  const ids = Object.keys(standard).map(Number); // integer keys come in ascending order
  return Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...ids.flatMap((id) => section(id, standard[id] ?? [])),
  ]); // prettier-ignore
}

const REASONS = {
  'test.no': { en: 'No.', 'zh-TW': '不允許。' },
  'test.never': { en: 'Never.', 'zh-TW': '絕不允許。' },
};

/** The files of a bundle around a module; `changes` replaces members of the manifest. */
export function bundleFiles(wasm: Uint8Array, entrypoint = 'test/decision', changes: object = {}) {
  const data = utf8(JSON.stringify({ reasons: REASONS }));
  const hex = (bytes: Uint8Array): string => sha256(bytes).toString('hex');
  const manifest = {
    format: 'troad-policy-bundle-v1',
    entrypoint,
    opa: '1.22.2',
    files: { 'data.json': hex(data), 'policy.wasm': hex(wasm) },
    sources: { 'troad/test.rego': hex(wasm) },
    ...changes,
  };
  return { manifest: utf8(JSON.stringify(manifest)), wasm, data };
}

export const bundleOf = (spec: ModuleSpec): Bundle => Bundle.parse(bundleFiles(policyModule(spec)));
