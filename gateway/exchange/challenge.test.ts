import t from 'tap';
import type { MemberId } from '../core/ids.ts';
import type { AgreementTerms } from '../trust/agreement.ts';
import { PolicyDenied } from '../trust/grant.ts';
import type { StepUp } from '../trust/obligations.ts';
import { AGREEMENT } from '../trust/proofs-fixture.ts';
import { challengeFor } from './challenge.ts';
import { provider, registryOf } from './users-fixture.ts';

const MEMBER = 'TW/GOV/A11' as MemberId; // the tests' own constants
const gateway = {
  registry: () =>
    registryOf([provider(MEMBER, 'https://idp.a11.example'), provider('TW/GOV/B07', 'https://x.example')]),
};
const DEMAND = { ial: 2, aal: 3, fal: 2, maxAgeSeconds: 900, proof: 'required' } as const;

function challenge(
  reasons: readonly string[],
  assertion: AgreementTerms['assertion'] = DEMAND,
  nonce?: () => string,
  stepUp?: StepUp,
) {
  const denied = new PolicyDenied({
    allow: false,
    reasons: reasons.map((reason) => (reason.includes('.') ? reason : `admission.${reason}`)),
    obligations: stepUp === undefined ? {} : { step_up: stepUp },
    tier: 'none',
    score: 0,
    threshold: 0,
    resultDigest: '',
    decisionId: 'x',
    agreementId: AGREEMENT.id,
    bundleDigest: '',
    entrypoint: '',
    inputBytes: Buffer.alloc(0),
  });
  const made = challengeFor(denied, { ...AGREEMENT, assertion }, gateway, {
    member: MEMBER,
    ...(nonce === undefined ? {} : { nonce }),
  });
  return made === undefined ? undefined : { code: made.code, fields: Object.fromEntries(made.answerFields) };
}
const ALGS = 'algs="ES256 EdDSA Ed25519 PS256 ML-DSA-65"';

void t.test('RFC 9470: what the agreement asks for, in the words of the instance', async (t) => {
  t.same(challenge(['authentication_too_weak']), {
    code: 'assertion.insufficient',
    fields: {
      'www-authenticate': `DPoP error="insufficient_user_authentication", acr_values="aal3", max_age=900, ${ALGS}`,
    },
  });
  const optional = { ...DEMAND, aal: 2, proof: 'optional' } as const;
  t.same(challenge(['authentication_too_old'], optional)?.fields, {
    'www-authenticate':
      'Bearer error="insufficient_user_authentication", acr_values="aal2 aal3", max_age=900',
  });
});

void t.test(
  'nobody reaches the level: no challenge, which would send the user round in circles',
  async (t) => {
    const tooHigh = { ...DEMAND, ial: 3, aal: 2, proof: 'optional' } as const;
    t.equal(challenge(['identity_too_weak'], tooHigh), undefined);
    t.equal(challenge(['score.too_low'], tooHigh, undefined, { aal: 3, max_age_seconds: 60 }), undefined);
  },
);

void t.test('no assertion: no error code (RFC 6750 §3.1), and a nonce for the first proof', async (t) => {
  t.same(
    challenge(['assertion_required'], DEMAND, () => 'n'),
    {
      code: 'assertion.required',
      fields: { 'www-authenticate': `DPoP acr_values="aal3", max_age=900, ${ALGS}`, 'dpop-nonce': 'n' },
    },
  );
});

void t.test('sent in too weak a way: that is another code, and not a step-up', async (t) => {
  for (const reasons of [
    ['federation_too_weak'],
    ['possession_unproved'],
    ['federation_too_weak', 'possession_unproved'],
  ]) {
    const made = challenge(reasons);
    t.equal(made?.code, 'assertion.unprotected');
    t.match(made?.fields['www-authenticate'], /^DPoP error="invalid_token"/);
  }
  t.equal(challenge(['federation_too_weak', 'authentication_too_weak'])?.code, 'assertion.insufficient');
});

void t.test('where an assertion would not help, none is asked for', async (t) => {
  for (const reasons of [
    ['method_not_agreed'],
    ['assertion_required', 'no_longer_in_force'],
    ['authentication_too_weak', 'path_not_agreed'],
    ['assertion_foreign'],
  ]) {
    t.equal(challenge(reasons), undefined, reasons.join(' '));
  }
  t.equal(challenge(['assertion_required'], 'none'), undefined);
});

void t.test('a step-up that the policy asks for goes beyond the agreement, never below', async (t) => {
  const asked = (stepUp: StepUp, demand: AgreementTerms['assertion']) =>
    challenge(['score.too_low'], demand, undefined, stepUp);
  const optional = { ...DEMAND, aal: 2, proof: 'optional' } as const;
  t.same(asked({ aal: 3, max_age_seconds: 300 }, optional), {
    code: 'assertion.insufficient',
    fields: {
      'www-authenticate': 'Bearer error="insufficient_user_authentication", acr_values="aal3", max_age=300',
    },
  });
  t.match(
    asked({ aal: 1, max_age_seconds: 9000 }, DEMAND)?.fields['www-authenticate'],
    /acr_values="aal3", max_age=900/,
    'the agreement is the stricter one',
  );
  t.match(
    asked({ aal: 2, max_age_seconds: 60 }, 'none')?.fields['www-authenticate'],
    /acr_values="aal2 aal3", max_age=60/,
    'the agreement asks for nobody',
  );
  t.equal(challenge(['score.too_low'], optional), undefined, 'without it, none');
});
