// The door of @peculiar/x509. Writing only: what arrives from outside is read by certificate.ts.
import 'reflect-metadata'; // the library reads its decorators' metadata while it loads
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  CertificatePolicyExtension,
  ExtendedKeyUsageExtension,
  Extension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  X509CrlGenerator,
} from '@peculiar/x509';
import { createPublicKey, type KeyObject } from 'node:crypto';
import type { EpochMs } from '../core/clock.ts';
import { MalformedBytes } from '../core/errors.ts';

/** Subject alternative names to write, by type (RFC 5280 §4.2.1.6). */
export interface SubjectNames {
  readonly dns?: readonly string[];
  readonly uri?: readonly string[];
  readonly ip?: readonly string[];
  readonly email?: readonly string[];
}

/** Distinguished name, as far as we use it. */
export interface DistinguishedName {
  readonly organization?: string;
  readonly commonName?: string;
}

export type KeyUsage = 'digitalSignature' | 'keyCertSign' | 'cRLSign';

export interface CertificateContent {
  readonly subject: DistinguishedName;
  /** Positive, at most 20 bytes, hexadecimal (RFC 5280 §4.1.2.2). */
  readonly serial: string;
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;
  readonly publicKey: KeyObject;
  readonly names?: SubjectNames;
  readonly keyUsage: readonly KeyUsage[];
  /** Object identifiers. Left out of the certificate when empty. */
  readonly extendedKeyUsage: readonly string[];
  /** Object identifiers of certificate policies. */
  readonly policies?: readonly string[];
  /** Makes it a CA certificate; the number is how many CA certificates may follow below it. */
  readonly caPathLength?: number;
}

/** Who signs: a CA certificate and its private key, or only a key for a self-signed root. */
export interface Signer {
  readonly certificate?: Uint8Array;
  readonly privateKey: KeyObject;
}

/** Builds and signs a certificate. @returns DER */
export async function buildCertificate(content: CertificateContent, signer: Signer): Promise<Buffer> {
  const { key, algorithm } = signingKey(signer.privateKey);
  const publicKey = spkiOf(content.publicKey);
  const issuer = signer.certificate === undefined ? undefined : new X509Certificate(signer.certificate);
  const extensions: Extension[] = [
    content.caPathLength === undefined
      ? new BasicConstraintsExtension(false, undefined, true)
      : new BasicConstraintsExtension(true, content.caPathLength, true),
    new KeyUsagesExtension(keyUsageFlags(content.keyUsage), true),
    await SubjectKeyIdentifierExtension.create(publicKey),
    await AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? publicKey),
  ];
  if (content.extendedKeyUsage.length > 0) {
    extensions.push(new ExtendedKeyUsageExtension([...content.extendedKeyUsage]));
  }
  if (content.policies !== undefined) {
    extensions.push(new CertificatePolicyExtension([...content.policies]));
  }
  const names = generalNames(content.names);
  if (names.length > 0) extensions.push(new SubjectAlternativeNameExtension(names));
  const certificate = await X509CertificateGenerator.create({
    serialNumber: content.serial,
    subject: jsonName(content.subject),
    issuer: issuer?.subjectName ?? jsonName(content.subject),
    notBefore: new Date(content.notBefore),
    notAfter: new Date(content.notAfter),
    publicKey,
    signingKey: key,
    signingAlgorithm: algorithm,
    extensions,
  });
  return Buffer.from(certificate.rawData);
}

/** A certificate request as its author wrote it. The signature proves possession of the key and nothing else. */
export interface CertificateRequest {
  readonly publicKey: KeyObject;
  /** Names the applicant would like. The authority decides, never the request. */
  readonly names: { readonly dns: readonly string[]; readonly uri: readonly string[] };
}

/** Writes a PKCS#10 request (RFC 2986). @returns DER */
export async function buildRequest(
  subject: DistinguishedName,
  names: SubjectNames,
  keys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject },
): Promise<Buffer> {
  const { key, algorithm } = signingKey(keys.privateKey);
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: jsonName(subject),
    keys: {
      privateKey: key,
      publicKey: keys.publicKey.toCryptoKey(importAlgorithm(keys.publicKey), true, ['verify']),
    },
    signingAlgorithm: algorithm,
    extensions: [new SubjectAlternativeNameExtension(generalNames(names))],
  });
  return Buffer.from(request.rawData);
}

/**
 * Reads a PKCS#10 request and checks its signature.
 * @throws MalformedBytes when it is not one, or is not signed by the key it carries
 */
export async function readRequest(der: Uint8Array): Promise<CertificateRequest> {
  let request: Pkcs10CertificateRequest;
  let publicKey: KeyObject;
  try {
    request = new Pkcs10CertificateRequest(der);
    publicKey = createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new MalformedBytes('certificate request: not PKCS#10', { cause });
  }
  const proved = await request.verify().catch(() => false);
  if (!proved) throw new MalformedBytes('certificate request: not signed by its own key');
  const extension = request.getExtension('2.5.29.17');
  const san = extension instanceof SubjectAlternativeNameExtension ? extension.names.items : [];
  const ofType = (type: string): string[] =>
    san.filter((name) => name.type === type).map((name) => name.value);
  return { publicKey, names: { dns: ofType('dns'), uri: ofType('url') } };
}

/** Reason codes of RFC 5280 §5.3.1 that an operator of an instance has a use for. */
export const REVOCATION_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
} as const;

export interface RevokedCertificate {
  /** Hexadecimal. */
  readonly serial: string;
  readonly at: EpochMs;
  readonly reason: keyof typeof REVOCATION_REASONS;
}

export interface RevocationListContent {
  readonly thisUpdate: EpochMs;
  readonly nextUpdate: EpochMs;
  /** Grows with each list of an issuer (RFC 5280 §5.2.3), so that an older list can be told. */
  readonly number: bigint;
  readonly revoked: readonly RevokedCertificate[];
}

/** Builds and signs a version 2 CRL. @returns DER */
export async function buildRevocationList(
  content: RevocationListContent,
  issuer: { readonly certificate: Uint8Array; readonly privateKey: KeyObject },
): Promise<Buffer> {
  const { key, algorithm } = signingKey(issuer.privateKey);
  const certificate = new X509Certificate(issuer.certificate);
  const list = await X509CrlGenerator.create({
    issuer: certificate.subjectName,
    thisUpdate: new Date(content.thisUpdate),
    nextUpdate: new Date(content.nextUpdate),
    signingKey: key,
    signingAlgorithm: algorithm,
    extensions: [
      await AuthorityKeyIdentifierExtension.create(certificate.publicKey),
      new Extension('2.5.29.20', false, derInteger(content.number)),
    ],
    entries: content.revoked.map((entry) => ({
      serialNumber: entry.serial,
      revocationDate: new Date(entry.at),
      // The library's enum has the numbers of RFC 5280; ours is the subset above. `unspecified` is said by silence.
      ...(entry.reason === 'unspecified' ? {} : { reason: REVOCATION_REASONS[entry.reason] }),
    })),
  });
  return Buffer.from(list.rawData);
}

/** Key and algorithm for signing certificates: ECDSA P-256/P-384, Ed25519, RSA PKCS#1 v1.5 with SHA-256. */
function signingKey(privateKey: KeyObject): { key: CryptoKey; algorithm: { name: string; hash?: string } } {
  const { name, ...rest } = importAlgorithm(privateKey);
  const key = privateKey.toCryptoKey({ name, ...rest }, false, ['sign']);
  if (name === 'Ed25519') return { key, algorithm: { name } };
  return { key, algorithm: { name, hash: rest.namedCurve === 'P-384' ? 'SHA-384' : 'SHA-256' } };
}

function importAlgorithm(key: KeyObject): { name: string; namedCurve?: string; hash?: string } {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType === 'ed25519') return { name: 'Ed25519' };
  if (key.asymmetricKeyType === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  if (curve === 'prime256v1') return { name: 'ECDSA', namedCurve: 'P-256' };
  if (curve === 'secp384r1') return { name: 'ECDSA', namedCurve: 'P-384' };
  throw new TypeError(`cannot sign certificates with a key of type ${key.asymmetricKeyType ?? key.type}`);
}

const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

function keyUsageFlags(usages: readonly KeyUsage[]): KeyUsageFlags {
  let flags = 0;
  for (const usage of usages) flags |= KeyUsageFlags[usage];
  return flags;
}

function jsonName(name: DistinguishedName): Record<string, string[]>[] {
  const parts: Record<string, string[]>[] = [];
  if (name.organization !== undefined) parts.push({ O: [name.organization] });
  if (name.commonName !== undefined) parts.push({ CN: [name.commonName] });
  return parts;
}

function generalNames(names: SubjectNames = {}): JsonGeneralNames {
  return [
    ...(names.dns ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(names.ip ?? []).map((value) => ({ type: 'ip' as const, value })),
    ...(names.uri ?? []).map((value) => ({ type: 'url' as const, value })),
    ...(names.email ?? []).map((value) => ({ type: 'email' as const, value })),
  ];
}

/** DER INTEGER of a number that is not negative. */
function derInteger(value: bigint): Buffer {
  let hex = value.toString(16);
  if (hex.length % 2 === 1) hex = `0${hex}`;
  if (Number.parseInt(hex.slice(0, 2), 16) >= 0x80) hex = `00${hex}`; // a leading one bit would make it negative
  const bytes = Buffer.from(hex, 'hex');
  return Buffer.concat([Buffer.of(0x02, bytes.length), bytes]);
}
