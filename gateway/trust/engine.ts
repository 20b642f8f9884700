import * as sdk from '@open-policy-agent/opa-wasm';
import { view } from '../core/bytes.ts';
import { ConfigError, MalformedBytes, Unavailable, describe } from '../core/errors.ts';
import type { Bundle, ReasonTexts } from './bundle.ts';
import { isObject, parseCanonicalJson } from './canonical.ts';
import type { Decision } from './decision.ts';
import { decisionOf, Grant } from './grant.ts';
import type { PolicyInput } from './input.ts';
import { MAX_MEMORY_PAGES } from './module-abi.ts';

// The package's types describe its CommonJS side; as an ES module it has the same names on its default export only.
const { LoadedPolicy } = (sdk as unknown as { readonly default: typeof sdk }).default;

/** A policy is asked with at most this many bytes; a path has 8,000 and an agreement names a few hundred paths. */
export const MAX_INPUT_BYTES = 256 << 10;
const ABI = { major: 1, minor: 3 } as const;

/** The SDK's instance, with its `any` results taken for what they are. */
interface Instance {
  evaluate(input: unknown, entrypoint: string): unknown;
}

/**
 * One loaded policy. Synchronous and not re-entrant: one for each thread. It has no time limit of its own; the watchdog
 * of the worker has.
 */
export class PolicyEngine {
  declare protected readonly nominal: never;
  readonly #bundle: Bundle;
  /** Undefined after a failure: a broken-off evaluation may have left anything in the instance's memory. */
  #instance: Instance | undefined;

  private constructor(bundle: Bundle) {
    this.#bundle = bundle;
    this.#instance = instantiate(bundle);
  }

  /** @throws ConfigError when the module is not one this gateway runs */
  static load(bundle: Bundle): PolicyEngine {
    try {
      return new PolicyEngine(bundle);
    } catch (cause) {
      throw new ConfigError([`policy bundle, policy.wasm: ${describeThrown(cause)}`]);
    }
  }

  get bundleDigest(): string {
    return this.#bundle.digest;
  }

  get entrypoint(): string {
    return this.#bundle.entrypoint;
  }

  /** Reason codes of this policy, with their texts. */
  get reasons(): ReadonlyMap<string, ReasonTexts> {
    return this.#bundle.reasons;
  }

  /** @throws PolicyDenied `policy.denied`; Unavailable `policy.undefined`, `policy.failed` */
  decide(input: PolicyInput): Grant {
    return Grant.decide(input, this);
  }

  /**
   * Decides again from logged bytes. Gives the decision, never leave to do anything.
   * @throws MalformedBytes when the bytes are not a policy input as this gateway writes one
   * @throws Unavailable `policy.undefined`, `policy.failed`
   */
  replay(bytes: Uint8Array): Decision {
    const { text, value } = parseCanonicalJson(bytes);
    if (!isObject(value)) throw new MalformedBytes('policy input is not an object');
    const { decision_id: decisionId, agreement } = value;
    const agreementId = isObject(agreement) ? agreement['id'] : undefined;
    return decisionOf(
      this.evaluate(text),
      {
        decisionId: typeof decisionId === 'string' ? decisionId : '',
        agreementId: typeof agreementId === 'string' ? agreementId : undefined,
        bytes: view(bytes),
      },
      this,
    );
  }

  /**
   * The result set for an input, unread.
   * @param text JSON object
   * @throws Unavailable `policy.failed`
   */
  evaluate(text: string): unknown {
    try {
      // Of UTF-16 units; JSON text of ours is at least that long in bytes, and no input comes near.
      if (text.length > MAX_INPUT_BYTES) throw new Error(`input of ${text.length} characters`);
      // A plain object, fresh each time. Given nothing, null, or malformed bytes the SDK evaluates *without* input and
      // says nothing; given a Buffer it evaluates an object of numbers.
      const input: unknown = JSON.parse(text);
      if (!isObject(input)) throw new Error('input is not an object');
      this.#instance ??= instantiate(this.#bundle);
      return this.#instance.evaluate(input, this.entrypoint);
    } catch (thrown) {
      this.#instance = undefined;
      throw new Unavailable('policy.failed', describeThrown(thrown), { cause: thrown });
    }
  }
}

/**
 * A module with memory and imports of our own instead of the SDK's. Those would give it 97 builtins, among them
 * randomness and backtracking regular expressions, to pick from by a list it writes itself. Ours give it none: what a
 * policy needs is compiled into it, so that a decision depends on its input alone.
 */
function instantiate(bundle: Bundle): Instance {
  const { module, initialPages } = bundle.module;
  const memory = new WebAssembly.Memory({ initial: Math.max(initialPages, 5), maximum: MAX_MEMORY_PAGES });
  const builtin = (id: unknown): never => {
    throw new Error(`called builtin ${String(id)}`);
  };
  const { exports } = new WebAssembly.Instance(module, {
    env: {
      memory,
      opa_abort: (address: unknown): never => {
        throw new Error(`aborted: ${textAt(memory, address)}`);
      },
      opa_builtin0: builtin,
      opa_builtin1: builtin,
      opa_builtin2: builtin,
      opa_builtin3: builtin,
      opa_builtin4: builtin,
    },
  });
  if (
    version(exports, 'opa_wasm_abi_version') !== ABI.major ||
    version(exports, 'opa_wasm_abi_minor_version') !== ABI.minor
  )
    throw new Error(`ABI is not ${ABI.major}.${ABI.minor}`);
  // A policy that would call them must not wait for the first request to fail.
  const wanted = Object.keys(described(exports, memory, 'builtins'));
  if (wanted.length > 0) throw new Error(`wants builtins of the host: ${wanted.join(', ')}`);
  const entrypoints = Object.keys(described(exports, memory, 'entrypoints'));
  if (!entrypoints.includes(bundle.entrypoint)) throw new Error(`has no entrypoint ${bundle.entrypoint}`);
  const policy = new LoadedPolicy({ exports }, memory, ABI.minor);
  policy.setData(JSON.parse(bundle.data));
  return policy;
}

function version(exports: WebAssembly.Instance['exports'], name: string): unknown {
  const value = exports[name];
  return value instanceof WebAssembly.Global ? value.value : undefined;
}

/** The object that an argument-less export gives the address of. */
function described(
  exports: WebAssembly.Instance['exports'],
  memory: WebAssembly.Memory,
  name: string,
): object {
  const { [name]: describes, opa_json_dump: dump } = exports;
  if (typeof describes !== 'function' || typeof dump !== 'function')
    throw new Error(`${name} is not a function`);
  const value: unknown = JSON.parse(textAt(memory, dump(describes())));
  if (!isObject(value)) throw new Error(`${name} is not an object`);
  return value;
}

/** Text in the module's memory, up to its NUL. The address is the module's word, no more. */
function textAt(memory: WebAssembly.Memory, address: unknown): string {
  const bytes = Buffer.from(memory.buffer);
  const start = typeof address === 'number' ? address >>> 0 : bytes.length;
  const end = start < bytes.length ? bytes.indexOf(0, start) : -1;
  if (end < 0) throw new Error('an address lies outside the memory');
  return bytes.toString('utf8', start, end);
}

/** The SDK throws strings and bare objects as well as errors. */
function describeThrown(thrown: unknown): string {
  if (isObject(thrown) && typeof thrown['message'] === 'string') return describe(thrown['message']);
  return describe(thrown);
}
