// The four health items: how a host reports them, and what a policy makes of it.
import { MalformedBytes } from '../core/errors.ts';
import { parseCve } from '../core/cve.ts';
import { CLAIM, type HealthItem, MAX_CVES, type Weaknesses } from '../device/ear.ts';
import { parseCanonicalJson } from '../trust/canonical.ts';
import type { HealthRules } from './policy.ts';
import { parseObject, Shape } from './shape.ts';

/** A host that cannot tell says `null`: unknown is neither good nor bad, but never good. */
export interface UpdateReport {
  readonly pending: number | null;
  readonly checked_hours: number | null;
}

export interface HealthReports {
  /** Security updates of the operating system. */
  readonly os: UpdateReport;
  readonly antivirus: { readonly age_hours: number | null };
  /** All other updates. */
  readonly applications: UpdateReport;
  /** Controls by name. */
  readonly configuration: Readonly<Record<string, 'pass' | 'fail' | 'unknown'>>;
}

/** What the agent says of its host, signed by being hashed into the quote. No more to be believed than the agent is. */
export interface HostClaims {
  readonly agent: string;
  /** Kernel's identifier of this boot. */
  readonly boot_id: string;
  readonly health: HealthReports;
  /** Known weaknesses of components, as a scanner of the host found them; absent when there is none. */
  readonly cves?: Readonly<Record<keyof Weaknesses, readonly string[]>>;
}

export const MAX_CLAIMS = 16_384;

/** @throws MalformedBytes also for two spellings of one document, such as a member that stands there twice */
export function parseClaims(bytes: Uint8Array): HostClaims {
  if (bytes.length > MAX_CLAIMS) throw new MalformedBytes(`claims of ${bytes.length} bytes`);
  parseCanonicalJson(bytes);
  const known = (value: number | undefined): number | null => value ?? null;
  const updates = (of: Shape): UpdateReport => ({
    pending: known(of.countOrUnknown('pending')),
    checked_hours: known(of.countOrUnknown('checked_hours')),
  });
  return Shape.receive(parseObject(bytes, 'claims'), 'claims', (claims) => ({
    agent: claims.text('agent'),
    boot_id: claims.text('boot_id'),
    health: claims.object('health', (health) => ({
      os: health.object('os', updates),
      antivirus: health.object('antivirus', (of) => ({ age_hours: known(of.countOrUnknown('age_hours')) })),
      applications: health.object('applications', updates),
      configuration: Object.fromEntries(
        health.entries('configuration', /^[a-z0-9_]{1,64}$/, (of) =>
          of.oneOf('state', ['pass', 'fail', 'unknown']),
        ),
      ),
    })),
    ...(claims.has('cves') ? { cves: claims.object('cves', readCves) } : {}),
  }));
}

/** Ids by health item. More than a result can carry are as good as not said, so they are refused. */
export function readCves(of: Shape): NonNullable<HostClaims['cves']> {
  const ids = (name: keyof Weaknesses): readonly string[] => of.texts(name, /^CVE-\d{4}-\d{4,8}$/, MAX_CVES);
  return { os: ids('os'), applications: ids('applications') };
}

/** @throws MalformedBytes for an id that has another spelling */
export function weaknessesOf({ cves }: HostClaims): Weaknesses | undefined {
  if (cves === undefined) return undefined;
  const number = (id: string): number => {
    const cve = parseCve(id);
    if (cve === undefined) throw new MalformedBytes(`claims: ${id} is not the id of a CVE`);
    return cve;
  };
  return { os: cves.os.map(number), applications: cves.applications.map(number) };
}

/** The claims as they are hashed and sent: members in order, no white space (RFC 8785). */
export function claimsDocument({ agent, boot_id, health, cves }: HostClaims): object {
  const states = Object.entries(health.configuration).map(([name, state]) => [name, { state }] as const);
  return {
    agent,
    boot_id,
    health: { ...health, configuration: Object.fromEntries(states) },
    ...(cves === undefined ? {} : { cves }),
  };
}

type Limits = HealthRules['antivirus']['ageHours'];

function judged(value: number | null, { warnAbove, denyAbove }: Limits): number {
  if (value === null) return CLAIM.unavailable;
  if (value > denyAbove) return CLAIM.unacceptable;
  return value > warnAbove ? CLAIM.knownWeakness : CLAIM.goodConfiguration;
}

/** Values of the four items (AR4SI §3.2, category configuration). */
export function appraiseHealth(
  { os, antivirus, applications, configuration }: HealthReports,
  rules: HealthRules,
): Readonly<Record<HealthItem, number>> {
  const updates = (report: UpdateReport, { pending, checkedHours }: HealthRules['os']): number =>
    Math.max(judged(report.pending, pending), judged(report.checked_hours, checkedHours));
  const control = (name: string, bad: number): number => {
    const state = Object.hasOwn(configuration, name) ? configuration[name] : 'unknown';
    if (state === 'pass') return CLAIM.goodConfiguration;
    return state === 'fail' ? bad : CLAIM.unavailable;
  };
  return {
    os: updates(os, rules.os),
    antivirus: judged(antivirus.age_hours, rules.antivirus.ageHours),
    applications: updates(applications, rules.applications),
    configuration: Math.max(
      CLAIM.goodConfiguration,
      ...rules.configuration.require.map((name) => control(name, CLAIM.unacceptable)),
      ...rules.configuration.advise.map((name) => control(name, CLAIM.knownWeakness)),
    ),
  };
}
