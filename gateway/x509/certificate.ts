import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { MalformedBytes } from '../core/errors.ts';
import { booleanOf, DerReader, type DerValue, oidText, TAG, timeOf } from './der.ts';
import { type KeyFacts, readKeyFacts, readSignatureHash, type SignatureHash } from './key.ts';

/** Subject alternative names by type, in order, each exactly as its bytes say (latin1: a NUL stays a NUL). */
export interface SubjectAltNames {
  readonly dns: readonly string[];
  readonly uri: readonly string[];
  readonly email: readonly string[];
  /** Dotted for IPv4; eight groups of hexadecimal digits, nothing left out, for IPv6. */
  readonly ip: readonly string[];
  /** How many names there are of types we do not read (otherName, directoryName …). */
  readonly others: number;
}

/** What one certificate says. Nothing here is proved: TLS checks the chain, `identity/` checks the rest. */
export interface CertificateFacts {
  /** SHA-256 of the whole certificate, base64url. */
  readonly sha256: string;
  /** SHA-256 of SubjectPublicKeyInfo, base64url: what the registry pins. */
  readonly spkiSha256: string;
  readonly subjectAltNames: SubjectAltNames;
  /** Object identifiers; undefined when the extension is missing, which in RFC 5280 means "any use". */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** Undefined when the extension is missing, which means "any use". */
  readonly keyUsage: { readonly digitalSignature: boolean; readonly keyCertSign: boolean } | undefined;
  readonly isCa: boolean;
  /** How many authorities may follow below this one; undefined: any number (RFC 5280 §4.2.1.9). */
  readonly pathLength: number | undefined;
  /** Critical extensions we do not know: whoever decides on the certificate must refuse it (RFC 5280 §4.2). */
  readonly unknownCritical: readonly string[];
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;
  readonly key: KeyFacts;
  readonly signatureHash: SignatureHash;
}

const MAX_CERTIFICATE_BYTES = 32_768;
const MAX_EXTENSIONS = 32;
const MAX_NAMES = 16;

const OID = {
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  certificatePolicies: '2.5.29.32',
  extendedKeyUsage: '2.5.29.37',
} as const;

/**
 * Reads one X.509 version 3 certificate (RFC 5280 §4.1) with a strict DER reader: one certificate has one reading.
 * Keys below our floor, explicit curve parameters and more than 16 names are refused here, before anything is decided.
 * @throws MalformedBytes
 */
export function readCertificate(der: Uint8Array): CertificateFacts {
  if (der.length > MAX_CERTIFICATE_BYTES) throw new MalformedBytes(`certificate: ${der.length} bytes`);
  const outer = new DerReader(der, 'certificate');
  const certificate = outer.enter(TAG.sequence, 'certificate');
  outer.finish();
  const tbs = certificate.enter(TAG.sequence, 'tbsCertificate');
  const algorithm = certificate.take(TAG.sequence);
  certificate.take(TAG.bitString);
  certificate.finish();

  readVersion(tbs.enter(0xa0, 'version'));
  tbs.take(TAG.integer); // serial number
  // The signed copy and the outer copy must agree (RFC 5280 §4.1.1.2), or the hash we report is not the one used.
  if (!Buffer.from(tbs.take(TAG.sequence).raw).equals(algorithm.raw)) {
    throw new MalformedBytes('certificate: two different signature algorithms');
  }
  tbs.take(TAG.sequence); // issuer
  const validity = tbs.enter(TAG.sequence, 'validity');
  const notBefore = timeOf(validity.any());
  const notAfter = timeOf(validity.any());
  validity.finish();
  tbs.take(TAG.sequence); // subject
  const spki = tbs.take(TAG.sequence);
  tbs.takeIf(0x81); // issuerUniqueID
  tbs.takeIf(0x82); // subjectUniqueID
  const extensions = tbs.atEnd ? NO_EXTENSIONS : readExtensions(tbs.enter(0xa3, 'extensions'));
  tbs.finish();

  return {
    sha256: base64url(sha256(der)),
    spkiSha256: base64url(sha256(spki.raw)),
    notBefore,
    notAfter,
    key: readKeyFacts(spki),
    signatureHash: readSignatureHash(algorithm),
    ...extensions,
  };
}

function readVersion(reader: DerReader): void {
  const { content } = reader.take(TAG.integer);
  reader.finish();
  if (content.length !== 1 || content[0] !== 2) throw new MalformedBytes('certificate: not version 3');
}

type ExtensionFacts = Pick<
  CertificateFacts,
  'subjectAltNames' | 'extendedKeyUsage' | 'keyUsage' | 'isCa' | 'pathLength' | 'unknownCritical'
>;

const NO_NAMES: SubjectAltNames = Object.freeze({ dns: [], uri: [], email: [], ip: [], others: 0 });

const NO_EXTENSIONS: ExtensionFacts = Object.freeze({
  subjectAltNames: NO_NAMES,
  extendedKeyUsage: undefined,
  keyUsage: undefined,
  isCa: false,
  pathLength: undefined,
  unknownCritical: [],
});

function readExtensions(wrapper: DerReader): ExtensionFacts {
  const list = wrapper.enter(TAG.sequence, 'extensions');
  wrapper.finish();
  const facts: { -readonly [K in keyof ExtensionFacts]: ExtensionFacts[K] } = { ...NO_EXTENSIONS };
  const unknownCritical: string[] = [];
  const seen = new Set<string>();
  while (!list.atEnd) {
    const extension = list.enter(TAG.sequence, 'extension');
    const oid = oidText(extension.take(TAG.oid).content);
    const flag = extension.takeIf(TAG.boolean);
    const critical = flag !== undefined && booleanOf(flag.content);
    const value = extension.take(TAG.octetString).content;
    extension.finish();
    // Two copies are two readings: first wins here, last wins elsewhere (RFC 5280 §4.2 forbids them).
    if (seen.has(oid)) throw new MalformedBytes(`certificate: extension ${oid} twice`);
    seen.add(oid);
    if (seen.size > MAX_EXTENSIONS) throw new MalformedBytes('certificate: too many extensions');
    switch (oid) {
      case OID.subjectAltName:
        facts.subjectAltNames = readNames(value);
        break;
      case OID.extendedKeyUsage:
        facts.extendedKeyUsage = readUsages(value);
        break;
      case OID.keyUsage:
        facts.keyUsage = readKeyUsage(value);
        break;
      case OID.basicConstraints:
        Object.assign(facts, readConstraints(value));
        break;
      case OID.certificatePolicies:
        break; // says under which rules it was issued; the registry's pin decides, not this
      default:
        if (critical) unknownCritical.push(oid);
    }
  }
  facts.unknownCritical = unknownCritical;
  return facts;
}

/** The one SEQUENCE that an extension's value consists of. */
function sequenceIn(value: Uint8Array, what: string): DerReader {
  const reader = new DerReader(value, what);
  const sequence = reader.enter(TAG.sequence, what);
  reader.finish();
  return sequence;
}

function readNames(value: Uint8Array): SubjectAltNames {
  const names = {
    dns: [] as string[],
    uri: [] as string[],
    email: [] as string[],
    ip: [] as string[],
    others: 0,
  };
  const list = sequenceIn(value, 'subjectAltName');
  for (let count = 1; !list.atEnd; count += 1) {
    if (count > MAX_NAMES) throw new MalformedBytes(`subjectAltName: more than ${MAX_NAMES} names`);
    const { tag, content } = list.any();
    // GeneralName, RFC 5280 §4.2.1.6: [1] rfc822Name [2] dNSName [6] URI [7] iPAddress, all primitive.
    if (tag === 0x82) names.dns.push(latin1(content));
    else if (tag === 0x86) names.uri.push(latin1(content));
    else if (tag === 0x81) names.email.push(latin1(content));
    else if (tag === 0x87) names.ip.push(ipText(content));
    else names.others += 1;
  }
  return names;
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return [...bytes].join('.');
  if (bytes.length !== 16) throw new MalformedBytes('subjectAltName: address of neither 4 nor 16 bytes');
  return (Buffer.from(bytes).toString('hex').match(/.{4}/g) ?? []).join(':');
}

function readUsages(value: Uint8Array): string[] {
  const list = sequenceIn(value, 'extendedKeyUsage');
  const usages: string[] = [];
  while (!list.atEnd) usages.push(oidText(list.take(TAG.oid).content));
  if (usages.length === 0 || usages.length > 16)
    throw new MalformedBytes(`extendedKeyUsage: ${usages.length} usages`);
  return usages;
}

/** Bit 0 is the highest of the first byte: digitalSignature; bit 5 is keyCertSign (RFC 5280 §4.2.1.3). */
function readKeyUsage(value: Uint8Array): { digitalSignature: boolean; keyCertSign: boolean } {
  const reader = new DerReader(value, 'keyUsage');
  const { content } = reader.take(TAG.bitString);
  reader.finish();
  const [unused = 8, first] = content;
  if (first === undefined || content.length > 3 || unused > 7)
    throw new MalformedBytes('keyUsage: not 1 or 2 bytes of bits');
  return { digitalSignature: (first & 0x80) !== 0, keyCertSign: (first & 0x04) !== 0 };
}

function readConstraints(value: Uint8Array): Pick<CertificateFacts, 'isCa' | 'pathLength'> {
  const sequence = sequenceIn(value, 'basicConstraints');
  // DER leaves a default out, but many authorities spell `cA FALSE`: the meaning is the same, so it is let pass.
  const flag: DerValue | undefined = sequence.takeIf(TAG.boolean);
  const limit = sequence.takeIf(TAG.integer)?.content;
  sequence.finish();
  if (limit !== undefined && (limit.length !== 1 || (limit[0] ?? 0x80) > 0x7f))
    throw new MalformedBytes('basicConstraints: path length is not from 0 to 127');
  return { isCa: flag !== undefined && booleanOf(flag.content), pathLength: limit?.[0] };
}
