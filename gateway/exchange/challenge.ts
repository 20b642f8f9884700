import { Denied } from '../core/errors.ts';
import type { MemberId } from '../core/ids.ts';
import { challengeFields } from '../identity/challenge.ts';
import type { AssertionDemand } from '../identity/levels.ts';
import type { PolicyDenied } from '../trust/grant.ts';
import type { AgreementTerms } from '../trust/agreement.ts';
import type { StepUp } from '../trust/obligations.ts';
import type { Gateway } from './gateway.ts';

/** Whose users are asked to come back with more. */
export interface ChallengeContext {
  readonly member: MemberId;
  /** Where we give nonces: a client that has to make a proof then needs no further round trip. */
  readonly nonce?: () => string;
}

/** What authenticating again, or more strongly, would mend (RFC 9470). */
const STEP_UP = new Set([
  'admission.identity_too_weak',
  'admission.authentication_too_weak',
  'admission.authentication_too_old',
]);
/** What sending the assertion in another way would. */
const PROTECTION = new Set(['admission.federation_too_weak', 'admission.possession_unproved']);

/**
 * The refusal for a denial whose only reasons lie in the user's assertion, or that the policy itself says a step-up
 * would change: 401 with what is asked for. Undefined when anything else stands in the way: then no assertion would
 * help, and asking for one would be a false trail.
 */
export function challengeFor(
  denied: PolicyDenied,
  agreement: AgreementTerms | undefined,
  gateway: Pick<Gateway, 'registry'>,
  context: ChallengeContext,
): Denied | undefined {
  const agreed = agreement?.assertion === 'none' ? undefined : agreement?.assertion;
  const { reasons, obligations } = denied.decision;
  const stepUp = obligations.step_up;
  const demand = stepUp === undefined ? agreed : raised(agreed, stepUp);
  if (demand === undefined) return undefined;
  const absent = reasons.length === 1 && reasons[0] === 'admission.assertion_required';
  const mendable = reasons.every((reason) => STEP_UP.has(reason) || PROTECTION.has(reason));
  if (!absent && !mendable && stepUp === undefined) return undefined;
  const steps = stepUp !== undefined || reasons.some((reason) => STEP_UP.has(reason));
  const acrValues = acrValuesFor(demand, gateway, context.member);
  // No sign-in of this member's providers reaches it: who followed the challenge would be sent round in circles.
  if (steps && acrValues.length === 0) return undefined;
  const bound = demand.proof === 'required';
  const answerFields = challengeFields({
    // RFC 6750 §3.1: a request without any credentials gets no error code.
    ...(absent ? {} : { error: steps ? 'insufficient_user_authentication' : 'invalid_token' }),
    acrValues,
    maxAgeSeconds: demand.maxAgeSeconds,
    bound,
    ...(bound && context.nonce !== undefined ? { nonce: context.nonce() } : {}),
  });
  const code = absent ? 'assertion.required' : steps ? 'assertion.insufficient' : 'assertion.unprotected';
  return new Denied(code, reasons.join(' '), { cause: denied, answerFields });
}

/** What the agreement asks for, and at least what the policy asks for on top of it. */
function raised(agreed: AssertionDemand | undefined, { aal, max_age_seconds }: StepUp): AssertionDemand {
  if (agreed === undefined) return { ial: 0, aal, fal: 1, maxAgeSeconds: max_age_seconds, proof: 'optional' };
  const maxAgeSeconds = Math.min(agreed.maxAgeSeconds, max_age_seconds);
  return { ...agreed, aal: agreed.aal > aal ? agreed.aal : aal, maxAgeSeconds };
}

/** Every agreed `acr` that reaches the demand, in the registry's order. */
function acrValuesFor(
  demand: AssertionDemand,
  gateway: Pick<Gateway, 'registry'>,
  member: MemberId,
): string[] {
  const values = new Set<string>();
  for (const { acr } of gateway.registry().identityProvidersOf(member)) {
    for (const [value, { ial, aal }] of acr) if (ial >= demand.ial && aal >= demand.aal) values.add(value);
  }
  return [...values];
}
