// What must not compile: proofs made by hand.
import type { Decision } from './decision.ts';
import type { PolicyEngine } from './engine.ts';
import { Grant } from './grant.ts';
import { PolicyInput, type ConsumerFacts } from './input.ts';

declare const decision: Decision;
declare const engine: PolicyEngine;
declare const facts: ConsumerFacts;

// @ts-expect-error only Grant.decide makes one
void new Grant(decision, 'TW-2026-0001');

const shaped = {
  ...decision,
  decision,
  allow: true,
  agreementId: 'x',
  inputDigest: decision.inputBytes,
} as const;
// @ts-expect-error an object of the same shape is not one
void (shaped satisfies Grant);

// @ts-expect-error an input is made from proofs, not from a document
void new PolicyInput({ decision_id: 'x' });

// @ts-expect-error nor decided on as text
void Grant.decide({ text: '{}', bytes: decision.inputBytes, decisionId: 'x', agreementId: 'x' }, engine);

// @ts-expect-error nor by something that looks like an engine
void Grant.decide(PolicyInput.forConsumer(facts), { evaluate: () => [], reasons: new Map() });

// @ts-expect-error a client system is proved, not described
void PolicyInput.forConsumer({ ...facts, client: { subsystem: facts.client.subsystem, method: 'mtls' } });

// @ts-expect-error a replayed decision is no grant
void (engine.replay(decision.inputBytes) satisfies Grant);
