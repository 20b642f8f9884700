import { base64url, sha256 } from '../core/bytes.ts';
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

/**
 * Reads a policy's result set. The schema is closed: anything but one complete, consistent answer to this very question
 * is no answer. `"true"`, `1`, two results, none, a forgotten or an additional member all end here.
 * @param decisionId what was asked; an echo of another proves that the input never reached the policy
 * @param known every reason code the bundle has texts for
 * @throws MalformedBytes
 */
export function parseVerdict(
  results: unknown,
  decisionId: string,
  known: ReadonlyMap<string, unknown>,
): Verdict {
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
  if (echo !== decisionId || decisionId === '') throw new MalformedBytes('decision_id is not the one asked');
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
  // The members in alphabetical order: RFC 8785 without sorting.
  const canonical = JSON.stringify({
    allow,
    decision_id: decisionId,
    obligations,
    reasons,
    score,
    threshold,
    tier,
  });
  return { allow, reasons, obligations, tier, score, threshold, resultDigest: base64url(sha256(canonical)) };
}

function isListOf(value: unknown, known: ReadonlyMap<string, unknown>): value is readonly string[] {
  return (
    Array.isArray(value) &&
    value.every((code: unknown) => typeof code === 'string' && known.has(code)) &&
    new Set(value).size === value.length
  );
}
