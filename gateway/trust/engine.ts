import { view } from '../core/bytes.ts';
import { MalformedBytes, Unavailable, describe } from '../core/errors.ts';
import type { Bundle, ReasonTexts } from './bundle.ts';
import { BundleFault, BundleRefused } from './bundle-refused.ts';
import { isObject, parseCanonicalJson } from './canonical.ts';
import { Answer, type Decision } from './decision.ts';
import { decisionOf, Grant } from './grant.ts';
import type { PolicyInput } from './input.ts';
import { PolicyInstance } from './policy-instance.ts';
import type { Question } from './question.ts';

/** A policy is asked with at most this many bytes; a path has 8,000 and an agreement names a few hundred paths. */
export const MAX_INPUT_BYTES = 256 << 10;

/**
 * One loaded policy. Synchronous and not re-entrant: one for each thread. It has no time limit of its own; the watchdog
 * of the worker has.
 */
export class PolicyEngine {
  declare protected readonly nominal: never;
  readonly #bundle: Bundle;
  /** Undefined after a failure: a broken-off evaluation may have left anything in the instance's memory. */
  #instance: PolicyInstance | undefined;
  /**
   * What it said before. A policy computes from its input alone (module-abi.ts: it can ask for neither time nor chance), and
   * the input names the second; so exchanges of one second that differ in nothing but their id get the same answer, with
   * their own id in it. A policy that makes more of the id than an echo is answered by a replay of the log: the digest of what
   * it would have said differs.
   */
  readonly #answers = new WeakMap<Question, Answer>();

  private constructor(bundle: Bundle) {
    this.#bundle = bundle;
    this.#instance = new PolicyInstance(bundle);
  }

  /** @throws BundleRefused when the module is not one this gateway runs */
  static load(bundle: Bundle): PolicyEngine {
    try {
      return new PolicyEngine(bundle);
    } catch (cause) {
      const code = cause instanceof BundleFault ? cause.code : 'bundle.module';
      throw new BundleRefused(code, [`policy bundle, policy.wasm: ${describe(cause)}`]);
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
    if (bytes.length > MAX_INPUT_BYTES) throw new MalformedBytes(`policy input of ${bytes.length} bytes`);
    const { text, value } = parseCanonicalJson(bytes);
    if (!isObject(value)) throw new MalformedBytes('policy input is not an object');
    const { decision_id: decisionId, agreement } = value;
    const agreementId = isObject(agreement) ? agreement['id'] : undefined;
    return decisionOf(
      this.#evaluate(() => text),
      {
        decisionId: typeof decisionId === 'string' ? decisionId : '',
        agreementId: typeof agreementId === 'string' ? agreementId : undefined,
        bytes: view(bytes),
      },
      this,
    );
  }

  /** What it said to a like question of the same second. */
  recall(asked: PolicyInput): Answer | undefined {
    return this.#answers.get(asked.question);
  }

  /**
   * The result set for an input, unread, or an {@link Answer}.
   * @param text JSON object
   * @param asked whose text it is: then a like question of the same second is not evaluated twice
   * @throws Unavailable `policy.failed`
   */
  evaluate(text: string, asked?: PolicyInput): unknown {
    const known = asked && this.recall(asked);
    if (known !== undefined) return known;
    return this.#evaluate(() => {
      // Of UTF-16 units; JSON text of ours is at least that long in bytes, and no input comes near.
      if (text.length > MAX_INPUT_BYTES) throw new Error(`input of ${text.length} characters`);
      // A policy given nothing, null, or malformed bytes is evaluated *without* input and says nothing.
      if (asked === undefined && !isObject(JSON.parse(text))) throw new Error('input is not an object');
      return text;
    }, asked);
  }

  /** @param read text of a JSON object */
  #evaluate(read: () => string, asked?: PolicyInput): unknown {
    try {
      const answer = (this.#instance ??= new PolicyInstance(this.#bundle)).evaluate(read());
      const results: unknown = JSON.parse(answer);
      return asked === undefined ? results : this.#remember(results, asked);
    } catch (thrown) {
      this.#instance = undefined;
      throw new Unavailable('policy.failed', describe(thrown), { cause: thrown });
    }
  }

  #remember(results: unknown, asked: PolicyInput): unknown {
    try {
      const answer = Answer.read(results, asked.decisionId, this.reasons);
      this.#answers.set(asked.question, answer);
      return answer;
    } catch (cause) {
      if (cause instanceof MalformedBytes) return results; // whoever reads it says what is wrong with it
      throw cause;
    }
  }
}
