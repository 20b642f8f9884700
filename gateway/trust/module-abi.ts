/**
 * What a policy module may be: WebAssembly Core 1.0 binary format (§5), OPA's Wasm ABI 1.3. Everything is decided on the
 * bytes and on the compiled module, before any instruction of it runs. (The compiler gives every module a start function
 * that fills its function table; it runs on loading, with the imports and the memory an evaluation has.)
 */
import { MalformedBytes } from '../core/errors.ts';
import { BundleFault } from './bundle-refused.ts';

export const MAX_MODULE_BYTES = 8 << 20;
/** Memory a policy may ever have, in pages of 64 KiB: memory of an instance never shrinks. */
export const MAX_MEMORY_PAGES = 256;
/** Entries of the function table; OPA's own runtime needs a few hundred. */
const MAX_TABLE = 10_000;

// Not opa_println: it would write to the gateway's standard output.
const IMPORTS = new Map([
  ['memory', 'memory'],
  ['opa_abort', 'function'],
  ...[0, 1, 2, 3, 4].map((arity) => [`opa_builtin${arity}`, 'function'] as const),
]);

const FUNCTIONS = [
  'builtins', 'entrypoints', 'eval', 'opa_eval', 'opa_eval_ctx_get_result', 'opa_eval_ctx_new',
  'opa_eval_ctx_set_data', 'opa_eval_ctx_set_entrypoint', 'opa_eval_ctx_set_input', 'opa_free',
  'opa_heap_blocks_restore', 'opa_heap_blocks_stash', 'opa_heap_ptr_get', 'opa_heap_ptr_set', 'opa_heap_stash_clear',
  'opa_json_dump', 'opa_json_parse', 'opa_malloc', 'opa_value_add_path', 'opa_value_dump', 'opa_value_free',
  'opa_value_parse', 'opa_value_remove_path',
]; // prettier-ignore
const GLOBALS = ['opa_wasm_abi_minor_version', 'opa_wasm_abi_version'];
const EXPORTS = new Map([
  ['memory', 'memory'],
  ...FUNCTIONS.map((name) => [name, 'function'] as const),
  ...GLOBALS.map((name) => [name, 'global'] as const),
]);
/** What the SDK calls. */
const REQUIRED = [...GLOBALS, 'builtins', 'entrypoints', 'opa_eval', 'opa_heap_ptr_get', 'opa_json_dump',
  'opa_json_parse', 'opa_malloc']; // prettier-ignore

/** A compiled module that has the outside of an OPA policy and no more. */
export interface CheckedModule {
  readonly module: WebAssembly.Module;
  /** Pages of 64 KiB the module asks to begin with. */
  readonly initialPages: number;
}

/** @throws MalformedBytes */
export function checkModule(bytes: Uint8Array): CheckedModule {
  if (bytes.length > MAX_MODULE_BYTES) throw new MalformedBytes(`module of ${bytes.length} bytes`);
  const initialPages = checkSections(bytes);
  let module: WebAssembly.Module;
  try {
    module = new WebAssembly.Module(bytes);
  } catch (cause) {
    throw new MalformedBytes('the module does not compile', { cause });
  }
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (from !== 'env' || IMPORTS.get(name) !== kind)
      throw new BundleFault('bundle.import', `imports ${kind} ${from}.${name}`);
  }
  const exported = new Set<string>();
  for (const { name, kind } of WebAssembly.Module.exports(module)) {
    if (EXPORTS.get(name) !== kind) throw new MalformedBytes(`exports ${kind} ${name}`);
    exported.add(name);
  }
  const missing = REQUIRED.filter((name) => !exported.has(name));
  if (missing.length > 0) throw new MalformedBytes(`does not export ${missing.join(', ')}`);
  return { module, initialPages };
}

/** Section ids (§5.5.2) that say something the compiled module does not show. */
const SECTION = { import: 2, table: 4, memory: 5 } as const;

/** @returns pages of the imported memory */
function checkSections(bytes: Uint8Array): number {
  const reader = new Reader(bytes);
  if (reader.take(8).join() !== '0,97,115,109,1,0,0,0')
    throw new MalformedBytes('not a WebAssembly 1.0 module');
  let pages: number | undefined;
  while (!reader.atEnd()) {
    const [id = 0] = reader.take(1);
    const section = new Reader(reader.take(reader.u32()));
    // The memory is ours to give, with a maximum.
    if (id === SECTION.memory) throw new MalformedBytes('has a memory of its own');
    if (id === SECTION.table) checkTables(section);
    if (id === SECTION.import) pages = importedMemory(section);
  }
  if (pages === undefined) throw new MalformedBytes('does not import a memory');
  if (pages > MAX_MEMORY_PAGES) throw new MalformedBytes(`wants ${pages} pages of memory`);
  return pages;
}

function checkTables(section: Reader): void {
  const tables = section.u32();
  for (let i = 0; i < tables; i++) {
    section.take(1); // element type
    const size = section.limits();
    if (size > MAX_TABLE) throw new MalformedBytes(`wants a table of ${size} entries`);
  }
}

function importedMemory(section: Reader): number | undefined {
  let pages: number | undefined;
  const count = section.u32();
  for (let i = 0; i < count; i++) {
    section.take(section.u32()); // module
    section.take(section.u32()); // name
    const [kind] = section.take(1);
    if (kind === 0) section.u32();
    else if (kind === 2) pages = section.limits();
    else throw new BundleFault('bundle.import', `imports something of kind ${kind}`); // a table or a global: not in the ABI
  }
  return pages;
}

/** Cursor over untrusted bytes. It never returns short. */
class Reader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  take(length: number): Uint8Array {
    const end = this.#offset + length;
    if (end > this.#bytes.length) throw new MalformedBytes(`needs ${length} bytes at ${this.#offset}`);
    const slice = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return slice;
  }

  /** Unsigned LEB128 of at most 32 bits (§5.2.2). */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const [byte = 0] = this.take(1);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) {
        if (value > 0xffff_ffff) break;
        return value;
      }
    }
    throw new MalformedBytes('a number is longer than 32 bits');
  }

  /** Limits (§5.3.7). @returns the minimum */
  limits(): number {
    const [flag = 0] = this.take(1);
    if (flag > 1) throw new MalformedBytes(`limits of kind ${flag}`); // shared or 64-bit memory
    const minimum = this.u32();
    if (flag === 1) this.u32();
    return minimum;
  }
}
