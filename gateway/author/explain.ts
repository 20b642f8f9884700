import { utf8 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { canonicalJson, parseCanonicalJson } from '../trust/canonical.ts';
import type { Bundle, ReasonTexts } from '../trust/bundle.ts';
import { PolicyEngine } from '../trust/engine.ts';
import { smallestChanges, type Change } from './changes.ts';
import { decideAgain, type Outcome } from './outcome.ts';
import type { ScoreShare } from './score-shares.ts';

/** Where rules fired and what they read, from the sources of the bundle. */
export interface FiredRule {
  /** `package.path.rule` */
  readonly rule: string;
  readonly file: string;
  readonly line: number;
  /** Parts of the input that the rule reads itself. */
  readonly inputs: readonly { readonly path: string; readonly value: unknown }[];
}

export interface ExplainReport {
  readonly policy: string;
  readonly input: unknown;
  readonly outcome: Outcome;
  readonly reasons: readonly { readonly code: string; readonly texts: ReasonTexts | undefined }[];
  /** Single changes of the input that turn an allow into a denial or the reverse, smallest first. */
  readonly flips: readonly Change[];
  /** Where no single change flips it: changes that take one reason away. */
  readonly lifts: readonly (Change & { readonly reason: string })[];
  /** undefined: neither sources nor compiler are here to tell. */
  readonly rules: readonly FiredRule[] | undefined;
  /** undefined in the same case, and where the policy keeps its score in another way. */
  readonly shares: readonly ScoreShare[] | undefined;
}

/** What the sources of the bundle tell of one decision. */
export interface ToldBySources {
  readonly rules: readonly FiredRule[];
  readonly shares: (score: number | undefined) => readonly ScoreShare[] | undefined;
}

const MAX_FLIPS = 20;

/**
 * Why a policy decided so, and what is the least that would have changed it: found by asking the very bundle again, so
 * nothing of its rules is guessed.
 * @param schema JSON schema of the input; undefined where it is not at hand
 * @throws MalformedBytes the input is none
 */
export function explain(
  bundle: Bundle,
  bytes: Uint8Array,
  schema: unknown,
  told?: ToldBySources,
): ExplainReport {
  const engine = PolicyEngine.load(bundle);
  const { value: input } = parseCanonicalJson(bytes);
  const outcome = decideAgain(engine, bytes);
  const allows = ({ word }: Outcome): boolean => word.startsWith('allow');
  const decide = (changed: unknown): Outcome | undefined => {
    try {
      return decideAgain(engine, utf8(canonicalJson(changed)));
    } catch (cause) {
      if (!(cause instanceof MalformedBytes)) throw cause;
      return undefined; // no input at all
    }
  };
  // A flip into "not even a proper input" explains nothing.
  const isAnswer = (other: Outcome | undefined): other is Outcome =>
    other?.digest !== undefined && !other.reasons.some((code) => code.endsWith('.input_malformed'));
  const flips = smallestChanges(input, schema, (changed) => {
    const other = decide(changed);
    return isAnswer(other) && allows(other) !== allows(outcome);
  });
  const lifts =
    flips.length > 0
      ? []
      : outcome.reasons.flatMap((reason) =>
          smallestChanges(input, schema, (changed) => {
            const other = decide(changed);
            // One that only puts another reason in its place takes nothing away.
            const fewer = other?.reasons.every((code) => code !== reason && outcome.reasons.includes(code));
            return isAnswer(other) && fewer === true;
          })
            .slice(0, 3)
            .map((change) => ({ ...change, reason })),
        );
  return {
    policy: bundle.digest,
    input,
    outcome,
    reasons: outcome.reasons.map((code) => ({ code, texts: bundle.reasons.get(code) })),
    flips: flips.slice(0, MAX_FLIPS),
    lifts,
    rules: told?.rules,
    shares: told?.shares(outcome.result?.score),
  };
}
