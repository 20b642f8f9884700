// OPA's Wasm ABI 1.3 (openpolicyagent.org/docs/wasm, "opa_eval"), driven without an SDK: the text that is logged is the
// text that the module reads, written once into its memory.
import { MAX_MEMORY_PAGES } from './module-abi.ts';
import { BundleFault } from './bundle-refused.ts';
import type { Bundle } from './bundle.ts';
import { isObject } from './canonical.ts';

const ABI = { major: 1, minor: 3 } as const;
const PAGE_BYTES = 1 << 16;
/** `opa_eval` gives the result set as JSON text. */
const AS_JSON = 0;

const encoder = new TextEncoder();

/**
 * A module with memory and imports of our own. Hosts give a policy some hundred builtins, among them randomness and
 * backtracking regular expressions, to pick from by a list it writes itself. Ours gives it none: what a policy needs is
 * compiled into it, so that a decision depends on its input alone.
 */
export class PolicyInstance {
  readonly #memory: WebAssembly.Memory;
  readonly #exports: WebAssembly.Instance['exports'];
  readonly #eval: (...args: number[]) => unknown;
  readonly #entrypoint: number;
  readonly #data: number;
  /** Where what belongs to one evaluation begins: nothing before it is ever written again. */
  readonly #heap: number;

  /** @throws Error when the module is not one this gateway runs */
  constructor(bundle: Bundle) {
    const { module, initialPages } = bundle.module;
    this.#memory = new WebAssembly.Memory({
      initial: Math.max(initialPages, 5),
      maximum: MAX_MEMORY_PAGES,
    });
    const builtin = (id: unknown): never => {
      throw new Error(`called builtin ${String(id)}`);
    };
    const { exports } = new WebAssembly.Instance(module, {
      env: {
        memory: this.#memory,
        opa_abort: (address: unknown): never => {
          throw new Error(`aborted: ${this.#textAt(address)}`);
        },
        opa_builtin0: builtin,
        opa_builtin1: builtin,
        opa_builtin2: builtin,
        opa_builtin3: builtin,
        opa_builtin4: builtin,
      },
    });
    this.#exports = exports;
    if (
      this.#version('opa_wasm_abi_version') !== ABI.major ||
      this.#version('opa_wasm_abi_minor_version') !== ABI.minor
    )
      throw new BundleFault('bundle.abi', `ABI is not ${ABI.major}.${ABI.minor}`);
    // A policy that would call them must not wait for the first request to fail.
    const wanted = Object.keys(this.#described('builtins'));
    if (wanted.length > 0)
      throw new BundleFault('bundle.import', `wants builtins of the host: ${wanted.join(', ')}`);
    const entrypoint: unknown = Reflect.get(this.#described('entrypoints'), bundle.entrypoint);
    if (typeof entrypoint !== 'number') throw new Error(`has no entrypoint ${bundle.entrypoint}`);
    this.#entrypoint = entrypoint;
    this.#eval = this.#function('opa_eval');
    const text = encoder.encode(bundle.data);
    const at = this.#call('opa_malloc', text.length);
    new Uint8Array(this.#memory.buffer).set(text, at);
    this.#data = this.#call('opa_json_parse', at, text.length);
    if (this.#data === 0) throw new Error('the data is not read');
    this.#heap = this.#call('opa_heap_ptr_get');
  }

  /**
   * @param text a JSON object: of anything else the module makes no input at all
   * @returns the result set, JSON
   * @throws Error, WebAssembly.RuntimeError: then the instance is of no use any more
   */
  evaluate(text: string): string {
    const missing = this.#heap + 3 * text.length - this.#memory.buffer.byteLength; // UTF-8: three bytes a unit at most
    if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE_BYTES));
    const { written } = encoder.encodeInto(text, new Uint8Array(this.#memory.buffer, this.#heap));
    const behind = this.#heap + written;
    return this.#textAt(this.#eval(0, this.#entrypoint, this.#data, this.#heap, written, behind, AS_JSON));
  }

  #version(name: string): unknown {
    const value = this.#exports[name];
    return value instanceof WebAssembly.Global ? value.value : undefined;
  }

  #function(name: string): (...args: number[]) => unknown {
    const value = this.#exports[name];
    if (typeof value !== 'function') throw new Error(`${name} is not a function`);
    return (...args) => Reflect.apply(value, undefined, args);
  }

  /** @throws Error when what comes back is no address */
  #call(name: string, ...args: number[]): number {
    const value = this.#function(name)(...args);
    if (typeof value !== 'number') throw new Error(`${name} gives no address`);
    return value >>> 0;
  }

  /** The object that an argument-less export gives the address of. */
  #described(name: string): object {
    const value: unknown = JSON.parse(this.#textAt(this.#call('opa_json_dump', this.#call(name))));
    if (!isObject(value)) throw new Error(`${name} is not an object`);
    return value;
  }

  /** Text in the module's memory, up to its NUL. The address is the module's word, no more. */
  #textAt(address: unknown): string {
    const bytes = Buffer.from(this.#memory.buffer);
    const start = typeof address === 'number' ? address >>> 0 : bytes.length;
    const end = start < bytes.length ? bytes.indexOf(0, start) : -1;
    if (end < 0) throw new Error('an address lies outside the memory');
    return bytes.toString('utf8', start, end);
  }
}
