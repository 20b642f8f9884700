import { sha256Text } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { hasExactly, isObject } from './canonical.ts';
import { parseObligations, percent, type Obligations } from './obligations.ts';

/**
 * How much a caller is trusted, worst first: bands of the score, which the policy's data draws. `none`: not admitted,
 * whatever the score.
 */
export const TIERS = ['none', 'low', 'medium', 'high'] as const;
export type Tier = (typeof TIERS)[number];

/** What a policy answered, in full. */
export interface Verdict {
  readonly allow: boolean;
  /** Codes; empty exactly when allowed. */
  readonly reasons: readonly string[];
  readonly obligations: Obligations;
  readonly tier: Tier;
  /** 0 to 100; an allow has at least the threshold. */
  readonly score: number;
  readonly threshold: number;
  /** SHA-256 of the result in RFC 8785 form, base64url. */
  readonly resultDigest: string;
}

/** A decision, good or bad, with what it rests on: all that a log needs to have it made again. */
export interface Decision extends Verdict {
  readonly decisionId: string;
  /** Agreement of the input; undefined when it had none. */
  readonly agreementId: string | undefined;
  /** SHA-256 of the bundle's manifest, base64url. */
  readonly bundleDigest: string;
  readonly entrypoint: string;
  readonly inputBytes: Buffer;
}

const MEMBERS = ['allow', 'decision_id', 'obligations', 'reasons', 'score', 'threshold', 'tier'];

/** What a policy answered to a question, whoever asks: a {@link Verdict}, but for what the id of the exchange makes. */
export class Answer {
  declare protected readonly nominal: never;
  readonly verdict: Omit<Verdict, 'resultDigest'>;
  /** The result in RFC 8785 form, around the id. */
  readonly #around: readonly [before: string, behind: string];

  private constructor(verdict: Omit<Verdict, 'resultDigest'>) {
    const { allow, obligations, reasons, score, threshold, tier } = verdict;
    this.verdict = verdict;
    // The members in alphabetical order: RFC 8785 without sorting.
    const behind = JSON.stringify({ obligations, reasons, score, threshold, tier });
    this.#around = [`{"allow":${String(allow)},"decision_id":`, `,${behind.slice(1)}`];
  }

  /** {@link Verdict.resultDigest} where that one asks. */
  digestFor(decisionId: string): string {
    const [before, behind] = this.#around;
    return sha256Text(before + JSON.stringify(decisionId) + behind);
  }

  /**
   * Reads a policy's result set. The schema is closed: anything but one complete, consistent answer to this very question
   * is no answer. `"true"`, `1`, two results, none, a forgotten or an additional member all end here.
   * @param decisionId what was asked; an echo of another proves that the input never reached the policy
   * @param known every reason code the bundle has texts for
   * @throws MalformedBytes
   */
  static read(results: unknown, decisionId: string, known: ReadonlyMap<string, unknown>): Answer {
    if (!Array.isArray(results)) throw new MalformedBytes('no result set');
    const [only, ...others]: readonly unknown[] = results;
    if (results.length !== 1)
      throw new MalformedBytes(`${others.length + (only === undefined ? 0 : 1)} results`);
    if (!isObject(only) || !hasExactly(only, ['result'])) throw new MalformedBytes('not a result');
    const result = only['result'];
    if (!isObject(result) || !hasExactly(result, MEMBERS)) {
      throw new MalformedBytes(`result is not an object of ${MEMBERS.join(', ')}`);
    }
    const { decision_id: echo, allow, reasons } = result;
    if (echo !== decisionId || decisionId === '')
      throw new MalformedBytes('decision_id is not the one asked');
    if (typeof allow !== 'boolean') throw new MalformedBytes('allow is not a boolean');
    if (!isListOf(reasons, known)) throw new MalformedBytes('reasons are not a list of known codes');
    // An allow with objections, or a denial nobody can explain, is a policy that contradicts itself.
    if (allow !== (reasons.length === 0))
      throw new MalformedBytes(`allow is ${allow}, ${reasons.length} reasons`);
    const obligations = parseObligations(result['obligations'], allow);
    const score = percent(result['score'], 'score');
    const threshold = percent(result['threshold'], 'threshold');
    const tier = TIERS.find((word) => word === result['tier']);
    if (tier === undefined) throw new MalformedBytes(`tier is not one of ${TIERS.join(', ')}`);
    // The same, in numbers.
    if (allow && (score < threshold || tier === 'none'))
      throw new MalformedBytes(`allow with score ${score} of ${threshold}, tier ${tier}`);
    return new Answer({ allow, reasons, obligations, tier, score, threshold });
  }
}

/** {@link Answer.read} and the verdict on this very question. @throws MalformedBytes */
export function parseVerdict(
  results: unknown,
  decisionId: string,
  known: ReadonlyMap<string, unknown>,
): Verdict {
  const answer = Answer.read(results, decisionId, known);
  return { ...answer.verdict, resultDigest: answer.digestFor(decisionId) };
}

function isListOf(value: unknown, known: ReadonlyMap<string, unknown>): value is readonly string[] {
  return (
    Array.isArray(value) &&
    value.every((code: unknown) => typeof code === 'string' && known.has(code)) &&
    new Set(value).size === value.length
  );
}
