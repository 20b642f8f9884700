// EK certificate, TCG EK Credential Profile §3.2. The attestation service decides on more of it than other certificates
// say, and some vendors write keys (RSAES-OAEP) that general readers refuse: so it is read here.
import { MalformedBytes } from '../core/errors.ts';
import type { PublicArea } from '../tpm/public.ts';
import { booleanOf, DerReader, oidText, TAG, timeOf } from '../x509/der.ts';
import { readSignatureHash, type SignatureHash } from '../x509/key.ts';

/** What matters about an EK certificate. Nothing is proved before the chain is. */
export interface EkCertificate {
  readonly notBefore: number;
  readonly notAfter: number;
  /** Hexadecimal, as in a revocation list. */
  readonly serial: string;
  /** Hash in the issuer's signature. */
  readonly signatureHash: SignatureHash;
  readonly isCa: boolean;
  readonly keyUsage: { readonly keyEncipherment: boolean; readonly keyAgreement: boolean } | undefined;
  readonly extendedKeyUsage: readonly string[];
  /** Vendor's attributes of the subject alternative name: manufacturer, model, version of the TPM. */
  readonly tpm:
    { readonly manufacturer: string; readonly model: string; readonly version: string } | undefined;
  readonly unknownCritical: readonly string[];
  /** Modulus, or the uncompressed point. */
  readonly key: Uint8Array;
}

const OID = {
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  certificatePolicies: '2.5.29.32',
  extendedKeyUsage: '2.5.29.37',
  ecPublicKey: '1.2.840.10045.2.1',
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsaesOaep: '1.2.840.113549.1.1.7',
  manufacturer: '2.23.133.2.1',
  model: '2.23.133.2.2',
  version: '2.23.133.2.3',
} as const;

const MAX_BYTES = 8192;

/** @throws MalformedBytes */
export function readEkCertificate(der: Uint8Array): EkCertificate {
  if (der.length > MAX_BYTES) throw new MalformedBytes(`EK certificate: ${der.length} bytes`);
  const outer = new DerReader(der, 'EK certificate');
  const certificate = outer.enter(TAG.sequence, 'EK certificate');
  outer.finish();
  const tbs = certificate.enter(TAG.sequence, 'tbsCertificate');
  const signatureHash = readSignatureHash(certificate.take(TAG.sequence));
  certificate.take(TAG.bitString);
  certificate.finish();
  tbs.take(0xa0); // version
  const serial = Buffer.from(tbs.take(TAG.integer).content).toString('hex');
  tbs.take(TAG.sequence); // signature algorithm
  tbs.take(TAG.sequence); // issuer
  const validity = tbs.enter(TAG.sequence, 'validity');
  const notBefore = timeOf(validity.any());
  const notAfter = timeOf(validity.any());
  validity.finish();
  tbs.take(TAG.sequence); // subject: empty or not, the TPM is named in subjectAltName
  const key = readKey(tbs.enter(TAG.sequence, 'subjectPublicKeyInfo'));
  tbs.takeIf(0x81);
  tbs.takeIf(0x82);
  const extensions = readExtensions(tbs.enter(0xa3, 'extensions'));
  tbs.finish();
  return { notBefore, notAfter, serial, key, signatureHash, ...extensions };
}

function readKey(spki: DerReader): Uint8Array {
  const algorithm = spki.enter(TAG.sequence, 'key algorithm');
  const oid = oidText(algorithm.take(TAG.oid).content);
  const { content } = spki.take(TAG.bitString);
  spki.finish();
  if (content[0] !== 0) throw new MalformedBytes('EK certificate: key is not a whole number of bytes');
  const bits = content.subarray(1);
  if (oid === OID.ecPublicKey) return bits;
  if (oid !== OID.rsaEncryption && oid !== OID.rsaesOaep)
    throw new MalformedBytes(`EK certificate: key ${oid}`);
  const key = new DerReader(bits, 'RSA key').enter(TAG.sequence, 'RSA key');
  const modulus = key.take(TAG.integer).content;
  key.take(TAG.integer);
  key.finish();
  return modulus[0] === 0 ? modulus.subarray(1) : modulus;
}

/** Is the certificate's key the one of the public area? Compared as numbers, whatever the certificate calls the algorithm. */
export function certifies({ key: certified }: EkCertificate, { key }: PublicArea): boolean {
  const expected = key.type === 'rsa' ? key.modulus : Buffer.concat([Uint8Array.of(0x04), key.x, key.y]);
  return Buffer.from(certified).equals(expected);
}

type Extensions = Omit<EkCertificate, 'notBefore' | 'notAfter' | 'serial' | 'key' | 'signatureHash'>;

function readExtensions(wrapper: DerReader): Extensions {
  const list = wrapper.enter(TAG.sequence, 'extensions');
  wrapper.finish();
  const found = new Map<string, Uint8Array>();
  const unknownCritical: string[] = [];
  while (!list.atEnd) {
    const extension = list.enter(TAG.sequence, 'extension');
    const oid = oidText(extension.take(TAG.oid).content);
    const flag = extension.takeIf(TAG.boolean);
    const value = extension.take(TAG.octetString).content;
    extension.finish();
    if (found.has(oid)) throw new MalformedBytes(`EK certificate: extension ${oid} twice`);
    found.set(oid, value);
    if (flag !== undefined && booleanOf(flag.content) && !KNOWN.has(oid)) unknownCritical.push(oid);
  }
  const usage = found.get(OID.keyUsage);
  const extendedKeyUsage = found.get(OID.extendedKeyUsage);
  const constraints = found.get(OID.basicConstraints);
  const names = found.get(OID.subjectAltName);
  return {
    unknownCritical,
    keyUsage: usage && readKeyUsage(usage),
    extendedKeyUsage: extendedKeyUsage === undefined ? [] : readUsages(extendedKeyUsage),
    isCa: constraints !== undefined && readIsCa(constraints),
    tpm: names && readTpm(names),
  };
}

const KNOWN: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.certificatePolicies,
  OID.extendedKeyUsage,
]);

function sequenceIn(value: Uint8Array, what: string): DerReader {
  const reader = new DerReader(value, what);
  const sequence = reader.enter(TAG.sequence, what);
  reader.finish();
  return sequence;
}

/** Bits 2 and 4 of the first byte, RFC 5280 §4.2.1.3. */
function readKeyUsage(value: Uint8Array): EkCertificate['keyUsage'] {
  const reader = new DerReader(value, 'keyUsage');
  const [, first = 0] = reader.take(TAG.bitString).content;
  reader.finish();
  return { keyEncipherment: (first & 0x20) !== 0, keyAgreement: (first & 0x08) !== 0 };
}

function readUsages(value: Uint8Array): string[] {
  const list = sequenceIn(value, 'extendedKeyUsage');
  const usages: string[] = [];
  while (!list.atEnd) usages.push(oidText(list.take(TAG.oid).content));
  return usages;
}

function readIsCa(value: Uint8Array): boolean {
  const flag = sequenceIn(value, 'basicConstraints').takeIf(TAG.boolean);
  return flag !== undefined && booleanOf(flag.content);
}

/** directoryName [4] with the TPM's three attributes, each once, in one or several RDNs. */
function readTpm(value: Uint8Array): EkCertificate['tpm'] {
  const names = sequenceIn(value, 'subjectAltName');
  const attributes = new Map<string, string>();
  while (!names.atEnd) {
    const { tag, content } = names.any();
    if (tag !== 0xa4) continue;
    const rdns = sequenceIn(content, 'directoryName');
    while (!rdns.atEnd) {
      const rdn = rdns.enter(0x31, 'relativeDistinguishedName');
      while (!rdn.atEnd) {
        const attribute = rdn.enter(TAG.sequence, 'attribute');
        const oid = oidText(attribute.take(TAG.oid).content);
        const text = Buffer.from(attribute.any().content).toString('latin1');
        attribute.finish();
        if (attributes.has(oid)) throw new MalformedBytes(`subjectAltName: ${oid} twice`);
        attributes.set(oid, text);
      }
    }
  }
  const [manufacturer, model, version] = [OID.manufacturer, OID.model, OID.version].map((oid) =>
    attributes.get(oid),
  );
  if (manufacturer === undefined || model === undefined || version === undefined) return undefined;
  return { manufacturer, model, version };
}
