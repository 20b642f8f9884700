import { sha256 } from '../core/bytes.ts';
import { Denied, MalformedBytes, Unavailable } from '../core/errors.ts';
import type { ReasonTexts } from './bundle.ts';
import { Answer, type Decision, type Tier } from './decision.ts';
import type { PolicyInput } from './input.ts';
import type { Obligations } from './obligations.ts';

/** A policy that can be asked: {@link PolicyEngine} is the one. */
export interface Evaluator {
  readonly bundleDigest: string;
  readonly entrypoint: string;
  readonly reasons: ReadonlyMap<string, ReasonTexts>;
  /**
   * @param asked whose text it is, when a like question may have been answered before
   * @returns the result set, as the module gave it, or what was read in it. @throws Unavailable `policy.failed`
   */
  evaluate(text: string, asked?: PolicyInput): unknown;
}

/** The policy said no. Carries the decision, because a denial is evidence too. */
export class PolicyDenied extends Denied {
  readonly decision: Decision;
  constructor(decision: Decision) {
    super('policy.denied', decision.reasons.join(' '));
    this.decision = decision;
  }
}

/** Proof that the policy in force allowed one exchange. Only {@link Grant.decide} makes one. */
export class Grant {
  declare protected readonly nominal: never;
  readonly decision: Decision;
  readonly allow = true;
  /** Agreement the decision rests on. */
  readonly agreementId: string;
  /** SHA-256 of the input's bytes. */
  readonly inputDigest: Buffer;

  private constructor(decision: Decision, agreementId: string) {
    this.decision = decision;
    this.agreementId = agreementId;
    this.inputDigest = sha256(decision.inputBytes);
  }

  get decisionId(): string {
    return this.decision.decisionId;
  }

  get inputBytes(): Buffer {
    return this.decision.inputBytes;
  }

  get resultDigest(): string {
    return this.decision.resultDigest;
  }

  get bundleDigest(): string {
    return this.decision.bundleDigest;
  }

  get entrypoint(): string {
    return this.decision.entrypoint;
  }

  get reasons(): readonly string[] {
    return this.decision.reasons;
  }

  get obligations(): Obligations {
    return this.decision.obligations;
  }

  get tier(): Tier {
    return this.decision.tier;
  }

  get score(): number {
    return this.decision.score;
  }

  get threshold(): number {
    return this.decision.threshold;
  }

  /**
   * @throws PolicyDenied `policy.denied`
   * @throws Unavailable `policy.failed` when the module broke off, `policy.undefined` when its answer is none
   */
  static decide(input: PolicyInput, engine: Evaluator): Grant {
    const results = engine.evaluate(input.text, input);
    const decision = decisionOf(results, input, engine);
    if (!decision.allow) throw new PolicyDenied(decision);
    // Every exchange rests on an agreement; a policy that allows one without is not the policy we know.
    if (input.agreementId === undefined)
      throw new Unavailable('policy.undefined', 'allowed without an agreement');
    return new Grant(decision, input.agreementId);
  }
}

type Asked = Pick<PolicyInput, 'decisionId' | 'agreementId' | 'bytes'> | Recorded;

/** The same question, read back from a log. */
export interface Recorded {
  readonly decisionId: string;
  readonly agreementId: string | undefined;
  readonly bytes: Buffer;
}

/** @throws Unavailable `policy.undefined` */
export function decisionOf(results: unknown, asked: Asked, engine: Evaluator): Decision {
  try {
    const answer =
      results instanceof Answer ? results : Answer.read(results, asked.decisionId, engine.reasons);
    const { allow, reasons, obligations, tier, score, threshold } = answer.verdict;
    return {
      allow,
      reasons,
      obligations,
      tier,
      score,
      threshold,
      resultDigest: answer.digestFor(asked.decisionId),
      decisionId: asked.decisionId,
      agreementId: asked.agreementId,
      bundleDigest: engine.bundleDigest,
      entrypoint: engine.entrypoint,
      inputBytes: asked.bytes,
    };
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
    throw new Unavailable('policy.undefined', cause.message, { cause });
  }
}
