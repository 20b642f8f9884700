import type { EpochMs } from '../core/clock.ts';
import type { ServiceId, SubsystemId } from '../core/ids.ts';
import type { DeviceDemand, DeviceMinimum } from '../device/demand.ts';
import type { AssertionDemand } from '../identity/levels.ts';

/** The terms of one agreement, as the registry has them. */
export interface AgreementTerms {
  readonly id: string;
  /** How much is at stake, in a word of the policy's data, which has a threshold for each. Absent: `general`. */
  readonly class?: string;
  readonly consumer: SubsystemId;
  readonly service: ServiceId;
  /** HTTP methods; `*` is any. */
  readonly methods: readonly string[];
  /** Path patterns (policies/troad/path.rego). */
  readonly paths: readonly string[];
  readonly fromMs: EpochMs;
  readonly untilMs: EpochMs;
  readonly enabledByProvider: boolean;
  readonly enabledByConsumer: boolean;
  /** What is demanded of the user assertion, and of the machines; `none` if nothing. */
  readonly assertion: 'none' | AssertionDemand;
  readonly device: 'none' | DeviceDemand;
}

/** By agreement: the registry makes new ones when it changes, and nobody changes one. */
const termsTexts = new WeakMap<AgreementTerms, string>();

/** As a policy sees them, JSON in RFC 8785 form: members stand in alphabetical order. */
export function termsText(agreement: AgreementTerms): string {
  let written = termsTexts.get(agreement);
  if (written === undefined) termsTexts.set(agreement, (written = JSON.stringify(terms(agreement))));
  return written;
}

function terms(agreement: AgreementTerms) {
  return {
    assertion: demanded(agreement.assertion),
    class: agreement.class ?? 'general',
    consumer: agreement.consumer,
    device: demandedOfDevices(agreement.device),
    enabled_by_consumer: agreement.enabledByConsumer,
    enabled_by_provider: agreement.enabledByProvider,
    from_ms: agreement.fromMs,
    id: agreement.id,
    methods: agreement.methods,
    paths: agreement.paths,
    service: agreement.service,
    until_ms: agreement.untilMs,
  };
}

function demanded(assertion: 'none' | AssertionDemand) {
  if (assertion === 'none') return assertion;
  const { aal, fal, ial, maxAgeSeconds, proof } = assertion;
  return { aal, fal, ial, max_age_seconds: maxAgeSeconds, proof };
}

function demandedOfDevices(device: 'none' | DeviceDemand) {
  if (device === 'none') return device;
  const { endpoint, node } = device;
  return { endpoint: minimum(endpoint), node: minimum(node) };
}

function minimum(least: DeviceMinimum | undefined) {
  if (least === undefined) return null;
  const { health, residency, tpm } = least;
  return { health, residency, tpm };
}
