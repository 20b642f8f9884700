import { base64url, sha256 } from '../core/bytes.ts';
import { Denied } from '../core/errors.ts';
import { Grant, PolicyDenied } from '../trust/grant.ts';
import type { Decision } from '../trust/decision.ts';
import type { AgreementTerms, PolicyInput } from '../trust/input.ts';
import { challengeFor, type ChallengeContext } from './challenge.ts';
import { deviceRefusalFor } from './device-refusal.ts';
import type { Dossier } from './dossier.ts';
import type { Gateway } from './gateway.ts';

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
  agreements: readonly AgreementTerms[],
  ask: (agreement: AgreementTerms | undefined) => PolicyInput,
  users: ChallengeContext,
): Grant {
  const engine = gateway.policy();
  let denied: PolicyDenied | undefined;
  let challenge: Denied | undefined;
  for (const agreement of agreements.length === 0 ? [undefined] : agreements) {
    try {
      const grant = Grant.decide(ask(agreement), engine);
      note(gateway, dossier, grant.decision, grant.inputDigest);
      return grant;
    } catch (thrown) {
      if (!(thrown instanceof PolicyDenied)) throw thrown;
      denied = thrown;
      challenge ??= challengeFor(thrown, agreement, gateway, users) ?? deviceRefusalFor(thrown, gateway.name);
    }
  }
  if (denied === undefined) throw new Error('the policy was not asked'); // the loop above runs at least once
  note(gateway, dossier, denied.decision, sha256(denied.decision.inputBytes));
  if (agreements.length === 0) throw new Denied('agreement.missing', denied.message, { cause: denied });
  throw challenge ?? denied;
}

function note(gateway: Gateway, dossier: Dossier, decision: Decision, inputDigest: Uint8Array): void {
  gateway.decided(dossier.id, decision);
  dossier.policyInput = decision.inputBytes;
  dossier.learn({
    pol: {
      b: decision.bundleDigest,
      e: decision.entrypoint,
      i: base64url(inputDigest),
      o: decision.resultDigest,
      allow: decision.allow,
      tier: decision.tier,
      score: decision.score,
      threshold: decision.threshold,
      ...(decision.agreementId === undefined ? {} : { agreement: decision.agreementId }),
      ...(decision.reasons.length === 0 ? {} : { reasons: decision.reasons }),
      ...(Object.keys(decision.obligations).length === 0 ? {} : { obligations: { ...decision.obligations } }),
    },
  });
}
