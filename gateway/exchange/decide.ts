import type { EpochMs } from '../core/clock.ts';
import { Denied } from '../core/errors.ts';
import type { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import { Grant, PolicyDenied, type Evaluator } from '../trust/grant.ts';
import type { AgreementTerms } from '../trust/agreement.ts';
import type { PolicyInput } from '../trust/input.ts';
import type { SignalFacts } from '../trust/signals.ts';
import { challengeFor, type ChallengeContext } from './challenge.ts';
import { deviceRefusalFor } from './device-refusal.ts';
import type { Dossier } from './dossier.ts';
import type { Gateway } from './gateway.ts';

/** What may have changed when the same question is asked again. */
export interface Moment {
  readonly now: EpochMs;
  /** The newest results of the machines that take part. */
  readonly endpoint: EndpointDevice | undefined;
  readonly node: NodeDevice | undefined;
  readonly signals: SignalFacts;
}

/** What one exchange is about: asked when it begins, and again while it runs. */
export interface Question {
  /** How many changes decisions rest on there had been ({@link Gateway.grants}) when it was asked first. */
  readonly asOf: number;
  /** Between the two, in the registry's order, as the registry has them now. @throws Unavailable `registry.expired` */
  readonly agreements: () => readonly AgreementTerms[];
  readonly input: (agreement: AgreementTerms | undefined, moment: Moment) => PolicyInput;
}

/**
 * Asks the policy (SP 800-207 PDP) under each agreement between the two, in the registry's order, until one allows.
 * The decision, good or bad, goes into the dossier with the very bytes that were evaluated.
 * @throws Denied `agreement.missing`, `policy.denied`, and with a challenge where a better assertion would do:
 * `assertion.required`, `assertion.insufficient`, `assertion.unprotected`, or `device.*` where a machine is all that is
 * missing; Unavailable `policy.*`
 */
export function decide(
  gateway: Gateway,
  dossier: Dossier,
  question: Question,
  moment: Moment,
  users: ChallengeContext,
): Grant {
  const agreements = question.agreements();
  let challenge: Denied | undefined;
  try {
    const grant = firstGrant(gateway.policy(), agreements, question, moment, (denied, agreement) => {
      challenge ??= challengeFor(denied, agreement, gateway, users) ?? deviceRefusalFor(denied, gateway.name);
    });
    dossier.decided(grant.decision, grant.inputDigest);
    return grant;
  } catch (thrown) {
    if (!(thrown instanceof PolicyDenied)) throw thrown;
    dossier.decided(thrown.decision);
    if (agreements.length === 0) throw new Denied('agreement.missing', thrown.message, { cause: thrown });
    throw challenge ?? thrown;
  }
}

/**
 * Asks once more, about an exchange that runs: the policy, the agreements and the proofs are those of this moment.
 * @throws Denied `agreement.missing`, `policy.withdrawn`, with the {@link PolicyDenied} as cause; Unavailable `policy.*`,
 * `registry.expired`
 */
export function decideAgain({ policy }: Pick<Gateway, 'policy'>, question: Question, moment: Moment): Grant {
  const agreements = question.agreements();
  try {
    return firstGrant(policy(), agreements, question, moment);
  } catch (cause) {
    if (!(cause instanceof PolicyDenied)) throw cause;
    const code = agreements.length === 0 ? 'agreement.missing' : 'policy.withdrawn';
    throw new Denied(code, cause.decision.reasons.join(' '), { cause });
  }
}

/** @throws PolicyDenied the last one, when none allows */
function firstGrant(
  engine: Evaluator,
  agreements: readonly AgreementTerms[],
  question: Question,
  moment: Moment,
  onDenied?: (denied: PolicyDenied, agreement: AgreementTerms | undefined) => void,
): Grant {
  let last: PolicyDenied | undefined;
  for (const agreement of agreements.length === 0 ? [undefined] : agreements) {
    try {
      return Grant.decide(question.input(agreement, moment), engine);
    } catch (thrown) {
      if (!(thrown instanceof PolicyDenied)) throw thrown;
      last = thrown;
      onDenied?.(thrown, agreement);
    }
  }
  throw last ?? new Error('the policy was not asked'); // the loop runs at least once
}
