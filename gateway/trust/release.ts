import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { base64, base64url, fromBase64, fromBase64url, sha256, utf8 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import { parsePublicKey } from '../x509/key-file.ts';
import { Bundle, type BundleFiles } from './bundle.ts';
import { BundleRefused, type BundleRefusalCode } from './bundle-refused.ts';
import { hasExactly, isObject } from './canonical.ts';

/** The statement that several people sign: this content, under this version, for this time. */
export interface Statement {
  /** Digest of the bundle: of its manifest, which names every other byte. */
  readonly bundle: string;
  /** From 1; never goes back in a gateway. */
  readonly version: number;
  readonly notBefore: EpochMs;
  readonly expiresAt: EpochMs;
}

export interface ReleaseSignature {
  /** SHA-256 of the signer's SPKI in DER, base64url. */
  readonly key: string;
  /** Ed25519 over {@link signedBytes}, base64. */
  readonly sig: string;
}

/** `release.json`: apart from what it is about, so that the same content can be released again and keeps its digest. */
export interface Release extends Statement {
  readonly signatures: readonly ReleaseSignature[];
}

/** Who may release a policy for a gateway. */
export interface Signers {
  /** By key id. Empty: bundles need no release. */
  readonly keys: ReadonlyMap<string, KeyObject>;
  /** How many of them have to sign. */
  readonly threshold: number;
}

const FORMAT = 'troad-policy-release-v1';
const ABI = '1.3';
const MEMBERS = ['abi', 'bundle', 'expiresAt', 'format', 'notBefore', 'signatures', 'version'];
const MAX_SIGNATURES = 64;

/** The name of a signer's key. */
export const keyIdOf = (key: KeyObject): string =>
  base64url(sha256(key.export({ type: 'spki', format: 'der' })));

/** @param pems public keys. @throws Error saying what is wrong */
export function signersOf(pems: readonly string[], threshold: number): Signers {
  const keys = pems.map((pem) => parsePublicKey(Buffer.from(pem)));
  if (keys.some((key) => key.asymmetricKeyType !== 'ed25519')) throw new Error('a signer is no Ed25519 key');
  const byId = new Map(keys.map((key) => [keyIdOf(key), key]));
  // The same key twice would let one person sign for two.
  if (byId.size < keys.length) throw new Error('a signer is named twice');
  if (keys.length > 0 && (threshold < 1 || threshold > keys.length))
    throw new Error(`threshold ${threshold} of ${keys.length} signers`);
  return { keys: byId, threshold };
}

/** What is signed: the format's name, then one value a line, so that no two statements have the same bytes. */
const signedBytes = ({ bundle, version, notBefore, expiresAt }: Statement): Buffer =>
  utf8([FORMAT, ABI, bundle, String(version), timeText(notBefore), timeText(expiresAt), ''].join('\n'));

/** Would a signature of the one be one of the other? */
export const isSameStatement = (a: Statement, b: Statement): boolean => signedBytes(a).equals(signedBytes(b));

/** Adds one signature, or replaces that of the same key. @param privateKey Ed25519 */
export function signRelease(statement: Statement, privateKey: KeyObject, before?: Release): Release {
  if (before !== undefined && !isSameStatement(before, statement))
    throw new Error('the release that is there says something else; remove it first');
  const key = keyIdOf(createPublicKey(privateKey));
  const mine = { key, sig: base64(sign(null, signedBytes(statement), privateKey)) };
  const others = (before?.signatures ?? []).filter((each) => each.key !== key);
  return { ...statement, signatures: [...others, mine] };
}

export function formatRelease({ bundle, version, notBefore, expiresAt, signatures }: Release): string {
  const release = {
    format: FORMAT,
    abi: ABI,
    bundle,
    version,
    notBefore: timeText(notBefore),
    expiresAt: timeText(expiresAt),
    signatures,
  };
  return `${JSON.stringify(release, null, 2)}\n`;
}

/** @throws BundleRefused `bundle.release_malformed`, `bundle.abi` */
export function parseRelease(bytes: Uint8Array): Release {
  const bad = (what: string): never => refuse('bundle.release_malformed', what);
  let raw: unknown;
  try {
    raw = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    return bad(describe(cause));
  }
  if (!isObject(raw) || !hasExactly(raw, MEMBERS)) return bad(`members are not ${MEMBERS.join(', ')}`);
  const { format, abi, bundle, version, notBefore, expiresAt, signatures } = raw;
  if (format !== FORMAT) return bad(`format is not ${FORMAT}`);
  if (abi !== ABI) return refuse('bundle.abi', `released for ABI ${describe(abi)}, this gateway runs ${ABI}`);
  if (typeof bundle !== 'string' || fromBase64url(bundle)?.length !== 32) return bad('bundle is no digest');
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 1)
    return bad('version is no whole number from 1');
  const from = timeOf(notBefore) ?? bad('notBefore is not written 2026-01-31T00:00:00Z');
  const until = timeOf(expiresAt) ?? bad('expiresAt is not written 2026-01-31T00:00:00Z');
  if (from >= until) return bad('expires before it begins');
  if (!Array.isArray(signatures) || signatures.length > MAX_SIGNATURES) return bad('signatures are no list');
  const parsed = signatures.map(
    (each: unknown) => signatureOf(each) ?? bad('a signature is not { key, sig }'),
  );
  // One signer must not count twice.
  if (new Set(parsed.map(({ key }) => key)).size < parsed.length) return bad('a signer occurs twice');
  return { bundle, version, notBefore: from, expiresAt: until, signatures: parsed };
}

/** A bundle and the leave to use it here. Only {@link ReleasedBundle.verify} makes one. */
export class ReleasedBundle {
  declare protected readonly nominal: never;
  readonly bundle: Bundle;
  /** Undefined where no signers are configured, and none signed. */
  readonly release: Release | undefined;

  private constructor(bundle: Bundle, release: Release | undefined) {
    this.bundle = bundle;
    this.release = release;
  }

  /**
   * Signatures before content: nothing is compiled that nobody known has signed. The time is not looked at: a bundle in
   * force is verified again at each start, and one that has expired since is still the one in force.
   * @throws BundleRefused
   */
  static verify(files: BundleFiles, signers: Signers): ReleasedBundle {
    const release = files.release === undefined ? undefined : parseRelease(files.release);
    if (release === undefined && signers.keys.size > 0)
      refuse('bundle.unsigned', `release.json is missing; ${signers.threshold} signatures are needed`);
    if (release !== undefined) {
      if (release.bundle !== base64url(sha256(files.manifest)))
        refuse('bundle.digest_mismatch', 'release.json is for another manifest.json');
      requireSignatures(release, signers);
    }
    return new ReleasedBundle(Bundle.parse(files), release);
  }

  get digest(): string {
    return this.bundle.digest;
  }

  /** 0 without a release. */
  get version(): number {
    return this.release?.version ?? 0;
  }

  /** Infinity without a release. */
  get expiresAt(): number {
    return this.release?.expiresAt ?? Infinity;
  }

  /** @throws BundleRefused `bundle.not_yet_valid`, `bundle.expired` */
  requireCurrent(now: EpochMs): void {
    const { release } = this;
    if (release === undefined) return;
    if (now < release.notBefore)
      refuse('bundle.not_yet_valid', `version ${release.version} begins ${timeText(release.notBefore)}`);
    if (now >= release.expiresAt)
      refuse('bundle.expired', `version ${release.version} expired ${timeText(release.expiresAt)}`);
  }
}

/** @throws BundleRefused `bundle.signature_bad`, `bundle.signer_unknown`, `bundle.signatures_few` */
export function requireSignatures(release: Release, { keys, threshold }: Signers): void {
  const unknown: string[] = [];
  let known = 0;
  for (const { key, sig } of release.signatures) {
    const signer = keys.get(key);
    if (signer === undefined) {
      unknown.push(key);
      continue;
    }
    if (!verify(null, signedBytes(release), signer, Buffer.from(sig, 'base64')))
      refuse('bundle.signature_bad', `signer ${key}`);
    known += 1;
  }
  // Where nobody is configured to sign, a release is no more than a version and an expiry.
  if (keys.size === 0 || known >= threshold) return;
  const count = `${known} of the ${threshold} signatures needed`;
  if (unknown.length > 0) refuse('bundle.signer_unknown', `${count}; not known: ${unknown.join(', ')}`);
  refuse('bundle.signatures_few', count);
}

function signatureOf(raw: unknown): ReleaseSignature | undefined {
  if (!isObject(raw) || !hasExactly(raw, ['key', 'sig'])) return undefined;
  const { key, sig } = raw;
  if (typeof key !== 'string' || fromBase64url(key)?.length !== 32) return undefined;
  if (typeof sig !== 'string' || fromBase64(sig)?.length !== 64) return undefined;
  return { key, sig };
}

export const timeText = (ms: EpochMs): string => new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');

/** One spelling, whole seconds, UTC. */
export function timeOf(text: unknown): EpochMs | undefined {
  if (typeof text !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text)) return undefined;
  const ms = Date.parse(text);
  // 31 February is read as 3 March, 24:00 as the next day: a time that is signed is the one that stands there.
  return Number.isNaN(ms) || timeText(ms) !== text ? undefined : ms;
}

function refuse(code: BundleRefusalCode, detail: string): never {
  throw new BundleRefused(code, [`policy bundle: ${detail} (${code})`]);
}
