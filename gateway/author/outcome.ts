import { Unavailable } from '../core/errors.ts';
import { isObject } from '../trust/canonical.ts';
import type { Verdict } from '../trust/decision.ts';
import type { PolicyEngine } from '../trust/engine.ts';

/** What a decision comes to, in the four words of the design, or why there was none. */
export type OutcomeWord =
  'allow' | 'allow with obligations' | 'step-up' | 'deny' | 'policy.undefined' | 'policy.failed';

/** A decision made for comparing; leave to do anything never comes of it. */
export interface Outcome {
  /** Exchange the input is about; undefined where there was no decision. */
  readonly decisionId: string | undefined;
  readonly word: OutcomeWord;
  readonly reasons: readonly string[];
  /** SHA-256 of the result in RFC 8785 form, base64url; undefined where there was none. */
  readonly digest: string | undefined;
  readonly result: Pick<Verdict, 'obligations' | 'score' | 'threshold' | 'tier'> | undefined;
  /** What went wrong, where there was none. */
  readonly trouble: string | undefined;
}

export const OUTCOME_ZH: Readonly<Record<OutcomeWord, string>> = {
  allow: '允許',
  'allow with obligations': '附義務允許',
  'step-up': '要求加強驗證',
  deny: '拒絕',
  'policy.undefined': '政策無有效決定',
  'policy.failed': '政策執行失敗',
};

export function wordOf(allow: boolean, obligations: unknown): OutcomeWord {
  const duties = isObject(obligations) ? Object.keys(obligations) : [];
  if (allow) return duties.length === 0 ? 'allow' : 'allow with obligations';
  return duties.includes('step_up') ? 'step-up' : 'deny';
}

/** Decides a recorded or written input. A policy that breaks off is an outcome too. @throws MalformedBytes not an input */
export function decideAgain(engine: PolicyEngine, input: Uint8Array): Outcome {
  try {
    const { allow, obligations, reasons, resultDigest, decisionId, score, threshold, tier } =
      engine.replay(input);
    return {
      decisionId,
      word: wordOf(allow, obligations),
      reasons,
      digest: resultDigest,
      result: { obligations, score, threshold, tier },
      trouble: undefined,
    };
  } catch (thrown) {
    if (!(thrown instanceof Unavailable)) throw thrown;
    const word = thrown.code === 'policy.undefined' ? 'policy.undefined' : 'policy.failed';
    return {
      decisionId: undefined,
      word,
      reasons: [],
      digest: undefined,
      result: undefined,
      trouble: thrown.message,
    };
  }
}
