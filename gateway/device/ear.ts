// The attestation result: an EAT attestation result (draft-ietf-rats-ear-04) as JWT. Drafts move: every name that could
// change stands in this file only.
import { type EpochMs, type EpochSeconds, toSeconds } from '../core/clock.ts';
import { formatCve, parseCve, type CveNumber } from '../core/cve.ts';
import { MalformedBytes } from '../core/errors.ts';
import { tierOf, type Tier, worstTier } from './tier.ts';

export const EAR_PROFILE = 'tag:ietf.org,2026:rats/ear#04';
export const VERIFIER_ID = { build: 'troad 0.1.0', developer: 'troad' } as const;

/** Values of draft-ietf-rats-ar4si-10 §3.2 that we issue. */
export const CLAIM = {
  /** Recognized instance or genuine hardware, nothing known against it. */
  recognized: 2,
  /** Executables: recognized at boot; nothing is said about later. */
  bootTimeOnly: 3,
  goodConfiguration: 2,
  knownWeakness: 32,
  /** Elements of the configuration are not visible to the verifier. */
  unavailable: 36,
  unacceptable: 96,
  unrecognizedExecutables: 96,
  /** Hardware with known weaknesses: a TPM made of software, or a clock that cannot be trusted now. */
  weakHardware: 32,
} as const;

/** The four things asked about a host besides its boot. */
export const HEALTH_ITEMS = ['os', 'antivirus', 'applications', 'configuration'] as const;
export type HealthItem = (typeof HEALTH_ITEMS)[number];

/** Items that are made of components, so that weaknesses can be known of them. */
export const COMPONENT_ITEMS = ['os', 'applications'] as const;
/** Known weaknesses of the components a host runs, as its scanner found them: at most {@link MAX_CVES} an item. */
export type Weaknesses = Readonly<Record<(typeof COMPONENT_ITEMS)[number], readonly CveNumber[]>>;
/** A host with more is no better known for it, and the result travels with every request. */
export const MAX_CVES = 64;

/** `node`: the host of a gateway; `endpoint`: the machine of a user or client system. */
export type DeviceClass = 'node' | 'endpoint';
/** Was a binding key in the TPM certified, so that a connection can be bound to it? */
export type BindingKey = { readonly x: string; readonly y: string };

/** Trustworthiness claims by category. */
export type TrustVector = Readonly<Partial<Record<(typeof TRUST_CATEGORIES)[number], number>>>;
export const TRUST_CATEGORIES = [
  'instance-identity',
  'configuration',
  'executables',
  'file-system',
  'hardware',
  'runtime-opaque',
  'storage-opaque',
  'sourced-data',
] as const;

/** One attestation result, in our words. */
export interface EarContent {
  readonly issuer: string;
  /** Name of the gateway that it is for. */
  readonly audience: string;
  readonly device: string;
  readonly issuedAt: EpochSeconds;
  /** Larger with every result of a device; milliseconds of the service's clock. Two of one second differ in it. */
  readonly sequence: EpochMs;
  readonly expiresAt: EpochSeconds;
  readonly id: string;
  /** Nonce of the evidence, base64url. */
  readonly nonce: string;
  /** SHA-256 of the TLS certificate that the device will use, base64url. */
  readonly certificate: string;
  /** P-256 key in the TPM that signs connections. */
  readonly bindingKey: BindingKey;
  readonly class: DeviceClass;
  /** Of nodes: the gateway that runs on this host. */
  readonly gateway: string | undefined;
  /** Grows whenever an administrator takes something back; results of an older epoch are worth nothing. */
  readonly epoch: number;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly policyId: string;
  readonly tpm: TrustVector;
  readonly health: Readonly<Record<HealthItem, number>>;
  /** undefined: the host does not say. */
  readonly cves: Weaknesses | undefined;
  /** The TPM is a program: a laboratory setting of the service let it in, and it protects nothing from its host. */
  readonly softwareTpm: boolean;
}

const vectorTier = (vector: TrustVector): Tier =>
  worstTier(Object.values(vector).map((value) => tierOf(value) ?? 'contraindicated'));

/** The health submodule is about configuration: its one value is that of the worst item. */
const worstValue = (health: EarContent['health']): number =>
  HEALTH_ITEMS.map((item) => health[item]).reduce((worst, value) => Math.max(worst, value));

export function formatEar(content: EarContent): object {
  const { tpm, health, cves } = content;
  const policies = [content.policyId];
  const healthVector: TrustVector = { configuration: worstValue(health) };
  return {
    eat_profile: EAR_PROFILE,
    iss: content.issuer,
    aud: content.audience,
    sub: content.device,
    iat: content.issuedAt,
    exp: content.expiresAt,
    jti: content.id,
    eat_nonce: content.nonce,
    cnf: { jwk: { crv: 'P-256', kty: 'EC', ...content.bindingKey }, 'x5t#S256': content.certificate },
    ear_verifier_id: VERIFIER_ID,
    troad: {
      class: content.class,
      gateway: content.gateway ?? null,
      sequence: content.sequence,
      epoch: content.epoch,
      reset_count: content.resetCount,
      restart_count: content.restartCount,
      health,
      ...(content.softwareTpm ? { software_tpm: true } : {}),
      ...(cves === undefined
        ? {}
        : { cves: { os: cves.os.map(formatCve), applications: cves.applications.map(formatCve) } }),
    },
    submods: {
      tpm: {
        ear_status: vectorTier(tpm),
        ear_trustworthiness_vector: tpm,
        ear_appraisal_policy_ids: policies,
      },
      health: {
        ear_status: vectorTier(healthVector),
        ear_trustworthiness_vector: healthVector,
        ear_appraisal_policy_ids: policies,
      },
    },
  };
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads the payload of a result whose signature is good. A status above what its vector says, a claim no TPM can
 * support and a missing submodule are refused: a verifier that writes these is not one to believe.
 * @throws MalformedBytes
 */
export function parseEar(payload: Json): EarContent {
  if (payload['eat_profile'] !== EAR_PROFILE) throw malformed('eat_profile');
  const verifier = object(payload, 'ear_verifier_id');
  text(verifier, 'developer');
  text(verifier, 'build');
  const cnf = object(payload, 'cnf');
  const jwk = object(cnf, 'jwk');
  if (jwk['kty'] !== 'EC' || jwk['crv'] !== 'P-256') throw malformed('cnf.jwk');
  const troad = object(payload, 'troad');
  const submods = object(payload, 'submods');
  const tpm = readSubmodule(object(submods, 'tpm'));
  const health = readSubmodule(object(submods, 'health'));
  const items = object(troad, 'health');
  const content: EarContent = {
    issuer: text(payload, 'iss'),
    audience: text(payload, 'aud'),
    device: text(payload, 'sub'),
    issuedAt: integer(payload, 'iat'),
    sequence: integer(troad, 'sequence'),
    expiresAt: integer(payload, 'exp'),
    id: text(payload, 'jti'),
    nonce: text(payload, 'eat_nonce'),
    certificate: text(cnf, 'x5t#S256'),
    bindingKey: { x: text(jwk, 'x'), y: text(jwk, 'y') },
    class: oneOf(troad, 'class', ['node', 'endpoint']),
    gateway: troad['gateway'] === null ? undefined : text(troad, 'gateway'),
    epoch: integer(troad, 'epoch'),
    resetCount: integer(troad, 'reset_count'),
    restartCount: integer(troad, 'restart_count'),
    policyId: tpm.policyId,
    tpm: tpm.vector,
    health: {
      os: claim(items, 'os'),
      antivirus: claim(items, 'antivirus'),
      applications: claim(items, 'applications'),
      configuration: claim(items, 'configuration'),
    },
    softwareTpm: troad['software_tpm'] !== undefined,
    cves: troad['cves'] === undefined ? undefined : readWeaknesses(object(troad, 'cves')),
  };
  if (content.softwareTpm && troad['software_tpm'] !== true) throw malformed('software_tpm');
  if (toSeconds(content.sequence) !== content.issuedAt) throw malformed('two times of issue');
  if (health.policyId !== tpm.policyId) throw malformed('two policies');
  if (health.vector.configuration !== worstValue(content.health))
    throw malformed('health is not its worst item');
  if ((content.class === 'node') !== (content.gateway !== undefined))
    throw malformed('a node without a gateway');
  return content;
}

function readWeaknesses(raw: Json): Weaknesses {
  if (Object.keys(raw).length !== COMPONENT_ITEMS.length) throw malformed('cves');
  return { os: cveList(raw['os']), applications: cveList(raw['applications']) };
}

function cveList(raw: unknown): readonly CveNumber[] {
  if (!Array.isArray(raw) || raw.length > MAX_CVES) throw malformed('cves');
  return raw.map((id: unknown) => {
    const cve = typeof id === 'string' ? parseCve(id) : undefined;
    if (cve === undefined) throw malformed('cves');
    return cve;
  });
}

function readSubmodule(submodule: Json): { readonly vector: TrustVector; readonly policyId: string } {
  const raw = object(submodule, 'ear_trustworthiness_vector');
  const vector: Partial<Record<keyof TrustVector, number>> = {};
  for (const category of TRUST_CATEGORIES)
    if (raw[category] !== undefined) vector[category] = claim(raw, category);
  if (Object.keys(raw).length !== Object.keys(vector).length) throw malformed('an unknown category');
  // Opaque to what runs beside it: a TPM cannot say that of its host (AR4SI §2.3.3).
  if (vector['runtime-opaque'] !== undefined && tierOf(vector['runtime-opaque']) === 'affirming') {
    throw malformed('runtime-opaque of a host with nothing but a TPM');
  }
  if (submodule['ear_status'] !== vectorTier(vector)) throw malformed('ear_status is not the worst claim');
  const policies = submodule['ear_appraisal_policy_ids'];
  const [policyId, ...more] = Array.isArray(policies) ? (policies as readonly unknown[]) : [];
  if (typeof policyId !== 'string' || more.length > 0) throw malformed('ear_appraisal_policy_ids');
  return { vector, policyId };
}

const malformed = (what: string): MalformedBytes => new MalformedBytes(`attestation result: ${what}`);

function object(from: Json, name: string): Json {
  const value = from[name];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(name);
  return value as Json; // just checked
}

function text(from: Json, name: string): string {
  const value = from[name];
  if (typeof value !== 'string' || value === '' || value.length > 256) throw malformed(name);
  return value;
}

function integer(from: Json, name: string): number {
  const value = from[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw malformed(name);
  return value;
}

function claim(from: Json, name: string): number {
  const value = from[name];
  if (typeof value !== 'number' || tierOf(value) === undefined) throw malformed(name);
  return value;
}

function oneOf<const T extends string>(from: Json, name: string, allowed: readonly T[]): T {
  const found = allowed.find((value) => value === from[name]);
  if (found === undefined) throw malformed(name);
  return found;
}

/** Tier of the boot: what the TPM vouches for. */
export const tpmTier = ({ tpm }: EarContent): Tier => vectorTier(tpm);

/** Tier of the four health items, which the host says of itself. */
export const healthTier = ({ health }: EarContent): Tier => vectorTier({ configuration: worstValue(health) });
