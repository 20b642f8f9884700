import { base64url, sha256 } from '../core/bytes.ts';
import { HASH, type HashAlgorithm } from '../tpm/algorithm.ts';
import type { ReplayedPcr } from '../tpm/event-log.ts';
import type { PcrSelection } from '../tpm/pcr.ts';
import { parseObject, Shape } from './shape.ts';

/** One step of a sequence: from `min` to `max` events, each with one of these digests (hexadecimal). */
export interface Step {
  readonly any: ReadonlySet<string>;
  readonly min: number;
  readonly max: number;
}

/** What a PCR must look like, and which claim is bad when it does not. */
export type PcrRule = { readonly claim: 'executables' | 'configuration' } & (
  | { readonly sequence: readonly Step[] }
  /** For PCRs that no event log tells of: the value itself (hexadecimal). */
  | { readonly value: ReadonlySet<string> }
);

interface Limits {
  readonly warnAbove: number;
  readonly denyAbove: number;
}

/** When the four health items are good, weak or bad. What the host does not know is never good. */
export interface HealthRules {
  /** Security updates that wait; and hours since it was last looked. */
  readonly os: { readonly pending: Limits; readonly checkedHours: Limits };
  /** Hours since the definitions were made. */
  readonly antivirus: { readonly ageHours: Limits };
  readonly applications: { readonly pending: Limits; readonly checkedHours: Limits };
  /** Names of controls that must pass, and that should. */
  readonly configuration: { readonly require: readonly string[]; readonly advise: readonly string[] };
}

/** Reference values and rules for one kind of machine. A file, reviewed and versioned. */
export interface AppraisalPolicy {
  /** Name, version and content: results carry it, gateways can demand it. */
  readonly id: string;
  /** Gateways that results are issued for. */
  readonly audiences: ReadonlySet<string>;
  readonly resultSeconds: number;
  readonly selection: PcrSelection;
  readonly rules: ReadonlyMap<number, PcrRule>;
  /** Approved TPM firmware versions, hexadecimal; empty: any, and a change is a warning until the device is re-enrolled. */
  readonly firmware: ReadonlySet<string>;
  /** How long after a boot the TPM's clock may be marked unsafe; the specification's worst case is 70 minutes. */
  readonly unsafeClockMinutes: number;
  readonly health: HealthRules;
}

const DIGEST = /^[0-9a-f]{40,128}$/;
/** A gateway's name; or an instance, for the hosts of its gateways. */
const HOST = /^[A-Za-z0-9.-]{1,253}$/;

/**
 * Reads an appraisal policy. Every PCR that is quoted needs a rule, and every rule reference values: a policy that
 * accepts everything cannot be written.
 * @param bytes JSON
 * @throws MalformedBytes, ConfigError
 */
export function parsePolicy(bytes: Uint8Array): AppraisalPolicy {
  return Shape.read(parseObject(bytes, 'appraisal policy'), (file) => {
    const name = file.text('id', /^[a-z0-9-]{1,64}$/);
    const version = file.integer('version', 1, 1_000_000_000);
    const digest = base64url(sha256(bytes));
    const pcrs = file.object('pcrs', readPcrs);
    const audiences = new Set(file.texts('audiences', HOST));
    if (audiences.size === 0) file.report('audiences', 'needs at least one gateway');
    return {
      id: `urn:troad:appraisal:${name}:${version}@sha256:${digest}`,
      audiences,
      resultSeconds: file.integer('resultSeconds', 5, 300),
      ...pcrs,
      firmware: new Set(file.texts('firmware', /^[0-9a-f]{16}$/)),
      unsafeClockMinutes: file.integer('unsafeClockMinutes', 0, 75),
      health: file.object('health', readHealth),
    };
  });
}

function readPcrs(shape: Shape): Pick<AppraisalPolicy, 'selection' | 'rules'> {
  const bank: HashAlgorithm = HASH[shape.oneOf('bank', ['sha256', 'sha384', 'sha512'])];
  const select = shape.integers('select', 0, 23);
  const rules = shape.entries('rules', /^(?:0|[1-9]|1\d|2[0-3])$/, (rule) => readRule(rule, bank));
  if (select.length === 0) shape.report('select', 'needs at least one PCR');
  if (select.some((pcr, i) => i > 0 && pcr <= (select[i - 1] ?? 0))) shape.report('select', 'must ascend');
  // 16 and 23 can be reset by whoever runs the machine: their values say nothing.
  if (select.includes(16) || select.includes(23))
    shape.report('select', 'PCR 16 and 23 can be reset at any time');
  for (const pcr of select) if (!rules.has(String(pcr))) shape.report('rules', `no rule for PCR ${pcr}`);
  if (rules.size > select.length) shape.report('rules', 'a rule for a PCR that is not selected');
  return {
    selection: { hash: bank, pcrs: select },
    rules: new Map([...rules].map(([pcr, rule]) => [Number(pcr), rule])),
  };
}

function readRule(shape: Shape, bank: HashAlgorithm): PcrRule {
  const claim = shape.oneOf('claim', ['executables', 'configuration']);
  const digests = (from: Shape, name: string): ReadonlySet<string> => {
    const texts = from.texts(name, DIGEST);
    if (texts.length === 0) from.report(name, 'needs at least one reference value');
    if (texts.some((text) => text.length !== bank.bytes * 2)) from.report(name, `not ${bank.name}`);
    return new Set(texts);
  };
  if (shape.has('value')) return { claim, value: digests(shape, 'value') };
  const sequence = shape.objects('sequence', (step) => ({
    any: digests(step, 'any'),
    min: step.has('min') ? step.integer('min', 0, 1000) : 1,
    max: step.has('max') ? step.integer('max', 1, 1000) : 1,
  }));
  sequence.forEach((step, i) => {
    if (step.min > step.max) shape.report('sequence', `step ${i}: min above max`);
    // Which step a digest belongs to must never be a choice: the walk does not go back.
    if (step.min === step.max) return;
    for (const later of sequence.slice(i + 1)) {
      if ([...later.any].some((digest) => step.any.has(digest))) {
        shape.report('sequence', `step ${i}: has a varying length and shares a digest with a later one`);
      }
      if (later.min > 0) break;
    }
  });
  return { claim, sequence };
}

function readHealth(shape: Shape): HealthRules {
  const limits = (of: Shape, name: string): Limits =>
    of.object(name, (pair) => {
      const warnAbove = pair.integer('warnAbove', 0, 1_000_000);
      const denyAbove = pair.integer('denyAbove', 0, 1_000_000);
      if (denyAbove < warnAbove) pair.report('denyAbove', 'below warnAbove');
      return { warnAbove, denyAbove };
    });
  const updates = (of: Shape): HealthRules['os'] => ({
    pending: limits(of, 'pending'),
    checkedHours: limits(of, 'checkedHours'),
  });
  return {
    os: shape.object('os', updates),
    antivirus: shape.object('antivirus', (of) => ({ ageHours: limits(of, 'ageHours') })),
    applications: shape.object('applications', updates),
    configuration: shape.object('configuration', (of) => ({
      require: of.texts('require', CONTROL),
      advise: of.texts('advise', CONTROL),
    })),
  };
}

const CONTROL = /^[a-z0-9_]{1,64}$/;

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A PCR whose value the quote holds. */
export interface ProvedPcr extends ReplayedPcr {
  /** Its digests lead to the value. Otherwise they were left out, or the firmware writes none for it. */
  readonly isLogged: boolean;
}

/**
 * Compares a PCR with its rule. Only digests in their order count: types and data of events can be rewritten by
 * whoever has the machine.
 * @returns undefined when it fits, else what does not, for the operator's log
 */
export function violation(rule: PcrRule, pcr: ProvedPcr): string | undefined {
  if ('value' in rule) {
    return rule.value.has(hexOf(pcr.value)) ? undefined : `value ${hexOf(pcr.value)}`;
  }
  // A sequence that may be empty would be met by leaving every event out and sending the value they led to.
  if (!pcr.isLogged) return `value ${hexOf(pcr.value)} by events that are not in the log`;
  let step = 0;
  let taken = 0;
  for (const [i, digest] of pcr.digests.entries()) {
    const text = hexOf(digest);
    for (;;) {
      const current = rule.sequence[step];
      if (current === undefined) return `event ${i} is one too many: ${text}`;
      if (taken < current.max && current.any.has(text)) break;
      if (taken < current.min) return `event ${i} is not expected: ${text}`;
      step += 1;
      taken = 0;
    }
    taken += 1;
  }
  const missing = rule.sequence.slice(step).some(({ min }, i) => min > (i === 0 ? taken : 0));
  return missing ? `ends after ${pcr.digests.length} events` : undefined;
}

/** A policy that expects exactly what one machine showed: for an administrator to review. */
export function draftPolicy(
  name: string,
  audiences: readonly string[],
  selection: PcrSelection,
  pcrs: ReadonlyMap<number, ReplayedPcr>,
): object {
  const rules = selection.pcrs.map((pcr) => {
    const replayed = pcrs.get(pcr);
    const claim = CONFIGURATION.has(pcr) ? 'configuration' : 'executables';
    const rule =
      replayed === undefined || replayed.digests.length === 0
        ? { claim, value: [hexOf(replayed?.value ?? Buffer.alloc(selection.hash.bytes))] }
        : { claim, sequence: replayed.digests.map((digest) => ({ any: [hexOf(digest)] })) };
    return [String(pcr), rule] as const;
  });
  const none = { warnAbove: 0, denyAbove: 20 };
  const hours = { warnAbove: 48, denyAbove: 336 };
  return {
    id: name,
    version: 1,
    audiences,
    resultSeconds: 180,
    pcrs: { bank: selection.hash.name, select: selection.pcrs, rules: Object.fromEntries(rules) },
    firmware: [],
    unsafeClockMinutes: 75,
    health: {
      os: { pending: none, checkedHours: hours },
      antivirus: { ageHours: hours },
      applications: { pending: { warnAbove: 20, denyAbove: 500 }, checkedHours: hours },
      configuration: { require: [], advise: ['disk_encryption', 'address_randomization'] },
    },
  };
}

/** PCRs that measure settings rather than programs (PC Client PFP §3.3.4): firmware and boot configuration, Secure Boot. */
const CONFIGURATION: ReadonlySet<number> = new Set([1, 3, 5, 7, 14]);
