import { base64url } from '../core/bytes.ts';
import type { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import type { DeviceFacts, PolicyFacts, UserFacts } from '../evidence/record.ts';
import type { Mode } from '../message/exchange-field.ts';
import type { SignatureEvidence } from '../message/signer.ts';
import type { Decision } from '../trust/decision.ts';
import type { PresentedUser } from './users.ts';

// How what was proved, decided and signed stands in a record.

/** One message as its record tells it. */
export interface MessageFacts {
  readonly mode: Mode;
  readonly signature: SignatureEvidence;
  /** Whole content, its digest in base64; absent in an `open` record, where it is not known yet. */
  readonly content?: { readonly length: number; readonly sha256: string };
  readonly status?: number;
}

/** How the user was shown to be who it is. */
export function factsOfUser({ assertion }: PresentedUser): UserFacts {
  const { issuer, level, acr, amr, authTime, boundBy, used } = assertion;
  return { iss: issuer, ...level, acr, amr, at: authTime, by: boundBy, once: Object.values(used) };
}

/** What the result says of a machine: the same object as long as the machine is the same. */
export function factsOfMachine(machine: EndpointDevice | NodeDevice): DeviceFacts {
  let facts = machines.get(machine);
  if (facts === undefined) {
    facts = {
      r: machine.resultSha256,
      iss: machine.issuer,
      id: machine.device,
      tpm: machine.tpmTier,
      health: machine.healthTier,
      by: machine.residency,
    };
    machines.set(machine, facts);
  }
  return facts;
}

const machines = new WeakMap<EndpointDevice | NodeDevice, DeviceFacts>();

/** A decision, by the digests of what it was made of. */
export function factsOfDecision(decision: Decision, inputDigest: Uint8Array): PolicyFacts {
  const { agreementId, reasons, obligations } = decision;
  return {
    b: decision.bundleDigest,
    e: decision.entrypoint,
    i: base64url(inputDigest),
    o: decision.resultDigest,
    allow: decision.allow,
    tier: decision.tier,
    score: decision.score,
    threshold: decision.threshold,
    agreement: agreementId,
    reasons: reasons.length === 0 ? undefined : reasons,
    obligations: Object.keys(obligations).length === 0 ? undefined : { ...obligations },
  };
}

/** Attestation results as they were presented: of the machine of the user or client system, of the peer's host. */
export interface Results {
  readonly endpoint?: string;
  readonly node?: string;
}

let latest: { readonly results: Results; readonly text: string } = { results: {}, text: '{}' };

/** How they are sealed. Results of two kilobytes come with every exchange, and mostly the same as the last time. */
export function textOfResults(results: Results): string {
  const { endpoint, node } = latest.results;
  if (results.endpoint !== endpoint || results.node !== node)
    latest = { results, text: JSON.stringify(results) };
  return latest.text;
}
