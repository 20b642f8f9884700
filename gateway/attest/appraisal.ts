import type { EpochMs } from '../core/clock.ts';
import { CLAIM, type HealthItem, type TrustVector, type Weaknesses } from '../device/ear.ts';
import type { ClockInfo } from '../tpm/attest.ts';
import type { DeviceRecord } from './devices.ts';
import { appraiseHealth, parseClaims, weaknessesOf } from './health.ts';
import { type AppraisalPolicy, type ProvedPcr, violation } from './policy.ts';
import { provedPcrs, type SignedEvidence } from './quote-check.ts';
import { Refused, refusing } from './refused.ts';

/** What was found, and why, for the operator. */
export interface Appraisal {
  readonly tpm: TrustVector;
  readonly health: Readonly<Record<HealthItem, number>>;
  /** As the host says. What is known of them by the day of a request is for the gateway to look up. */
  readonly cves: Weaknesses | undefined;
  /** One line for each thing that is not as the policy wants it. */
  readonly findings: readonly string[];
  readonly pcrs: ReadonlyMap<number, ProvedPcr>;
}

/**
 * Judges signed evidence by a policy. Cryptography and rollback refuse; a machine that is merely not as it should be
 * gets a result that says so.
 * @throws Refused `evidence.*`
 */
export function appraise(
  signed: SignedEvidence,
  record: DeviceRecord,
  policy: AppraisalPolicy,
  akHash: Parameters<typeof provedPcrs>[2],
  now: EpochMs,
): Appraisal {
  const pcrs = provedPcrs(signed, policy.selection, akHash);
  const unsafe = requireClock(signed.clockInfo, record, policy, now);
  const findings: string[] = [];
  let executables: number = CLAIM.bootTimeOnly;
  let configuration: number = CLAIM.goodConfiguration;
  for (const [pcr, rule] of policy.rules) {
    const what = violation(rule, pcrs.get(pcr) ?? { digests: [], value: new Uint8Array(), isLogged: false });
    if (what === undefined) continue;
    findings.push(`PCR ${pcr}: ${what}`);
    if (rule.claim === 'executables') executables = CLAIM.unrecognizedExecutables;
    else configuration = CLAIM.unacceptable;
  }
  let hardware: number = CLAIM.recognized;
  const weak = (why: string): void => {
    findings.push(why);
    hardware = CLAIM.weakHardware;
  };
  if (unsafe) weak('the clock is not safe yet');
  const firmware = signed.firmwareVersion.toString(16).padStart(16, '0');
  const isNew = policy.firmware.size === 0 && record.boot !== undefined && record.boot.firmware !== firmware;
  const isUnapproved = policy.firmware.size > 0 && !policy.firmware.has(firmware);
  if (isNew || isUnapproved) weak(`firmware ${firmware} of the TPM is not approved`);
  const { claims, cves } = refusing('evidence.claims', ['MalformedBytes'], () => {
    const read = parseClaims(signed.evidence.claims);
    return { claims: read, cves: weaknessesOf(read) };
  });
  const health = appraiseHealth(claims.health, policy.health);
  const tpm = { 'instance-identity': CLAIM.recognized, hardware, executables, configuration };
  return { tpm, health, cves, findings, pcrs };
}

/**
 * Time inside the TPM goes forward: resets count up, and within one boot so does the clock. Where it does not, there
 * are two TPMs of one identity, or one that was put back to an earlier state.
 * @returns true while the clock is marked unsafe, within bounds
 */
export function requireClock(
  clock: ClockInfo,
  { boot, unsafeSince }: Pick<DeviceRecord, 'boot' | 'unsafeSince'>,
  { unsafeClockMinutes }: Pick<AppraisalPolicy, 'unsafeClockMinutes'>,
  now: EpochMs,
): boolean {
  const { resetCount, restartCount } = clock;
  if (boot !== undefined) {
    if (resetCount < boot.resetCount) {
      throw new Refused('evidence.reset_rollback', `${boot.resetCount} → ${resetCount}`);
    }
    if (resetCount === boot.resetCount && restartCount < boot.restartCount) {
      throw new Refused('evidence.restart_rollback', `${boot.restartCount} → ${restartCount}`);
    }
    const sameBoot = resetCount === boot.resetCount && restartCount === boot.restartCount;
    if (sameBoot && clock.clock < BigInt(boot.clock)) {
      throw new Refused('evidence.clock_rollback', `${boot.clock} → ${clock.clock}`);
    }
  }
  if (clock.safe) return false;
  const sameBoot = boot?.resetCount === resetCount && boot.restartCount === restartCount;
  const since = sameBoot ? (unsafeSince ?? now) : now;
  if (now - since > unsafeClockMinutes * 60_000) throw new Refused('evidence.clock_unsafe', 'for too long');
  return true;
}
