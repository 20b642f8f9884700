// Machines as a policy sees them: what was attested of them, and what is known by now of what they run.
import type { EpochMs } from '../core/clock.ts';
import type { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import { CLAIM, type Weaknesses } from '../device/ear.ts';
import type { ThreatFacts, ThreatIntel } from './threat.ts';

/** What an attestation service said of a machine, and how the connection hangs on it. */
export function attested(machine: EndpointDevice | NodeDevice | undefined, threat: ThreatIntel) {
  if (machine === undefined) return null;
  const { antivirus, configuration } = machine.health;
  // The service judged by what was known when it attested; a component that is attacked by now falls here.
  const fallen = (item: keyof Weaknesses): boolean =>
    machine.cves?.[item].some((cve) => threat.isExploited(cve)) ?? false;
  const [osFell, applicationsFell] = [fallen('os'), fallen('applications')];
  const os = osFell ? CLAIM.unacceptable : machine.health.os;
  const applications = applicationsFell ? CLAIM.unacceptable : machine.health.applications;
  return {
    binding: machine.residency,
    device: machine.device,
    expires_at_ms: machine.expiresAtMs,
    health: { antivirus, applications, configuration, os },
    health_tier: osFell || applicationsFell ? 'contraindicated' : machine.healthTier,
    issued_at_ms: machine.issuedAtMs,
    issuer: machine.issuer,
    policy: machine.policyId,
    tpm_tier: machine.tpmTier,
  };
}

/** What is known of the weaknesses that the machines of a request report. */
export function known(
  threat: ThreatIntel,
  machines: readonly (EndpointDevice | NodeDevice | undefined)[],
  now: EpochMs,
): ThreatFacts | null {
  const present = machines.filter((machine) => machine !== undefined);
  const cves = present.flatMap((machine) => [
    ...(machine.cves?.os ?? []),
    ...(machine.cves?.applications ?? []),
  ]);
  const silent = present.length === 0 || present.some((machine) => machine.cves === undefined);
  return threat.facts(cves, silent, now);
}
