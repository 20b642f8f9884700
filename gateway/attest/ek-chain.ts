import { X509Certificate } from 'node:crypto';
import type { EpochMs } from '../core/clock.ts';
import { base64url, sha256, view } from '../core/bytes.ts';
import { HASH } from '../tpm/algorithm.ts';
import type { PublicArea } from '../tpm/public.ts';
import { RESTRICTED_STORAGE } from '../tpm/templates.ts';
import { readCertificate } from '../x509/certificate.ts';
import { certifies, type EkCertificate, readEkCertificate } from './ek-certificate.ts';
import { Refused, refusing } from './refused.ts';

/** Whose TPMs are trusted. */
export interface EkTrust {
  /** Certificates of TPM vendors' roots, DER. */
  readonly roots: readonly Uint8Array[];
  /** Roots of TPMs that are programs. Used only with {@link EkTrust.softwareTpms}. */
  readonly testRoots: readonly Uint8Array[];
  /** Loud laboratory setting: a software TPM protects nothing from whoever runs its host. */
  readonly softwareTpms: boolean;
  /** CA certificates between roots and endorsement keys, DER. The device may bring more: they prove nothing by themselves. */
  readonly intermediates: readonly Uint8Array[];
  /** SHA-256 of EK public keys (SubjectPublicKeyInfo), base64url; empty: an administrator approves each device. */
  readonly allowed: ReadonlySet<string>;
  /** `id:49465800` and so on; empty: any manufacturer whose root is trusted. */
  readonly manufacturers: ReadonlySet<string>;
  /** Withdrawn EK certificates: `SHA-256 of the certificate` or `issuer's SHA-256/serial in hexadecimal`. */
  readonly revoked: ReadonlySet<string>;
}

/** OID tcg-kp-EKCertificate. */
const EK_USAGE = '2.23.133.8.1';
/** Vendors' chains have two or three CAs. */
const MAX_DEPTH = 4;
const MAX_BROUGHT = 6;

/** Proof that an endorsement key sits in a TPM that somebody we trust has made. */
export class TrustedEk {
  declare protected readonly nominal: never;
  readonly area: PublicArea;
  /** SHA-256 of the SubjectPublicKeyInfo, base64url. */
  readonly fingerprint: string;
  readonly manufacturer: string;
  /** The TPM is a program. */
  readonly isSoftware: boolean;
  private constructor(area: PublicArea, fingerprint: string, manufacturer: string, isSoftware: boolean) {
    this.area = area;
    this.fingerprint = fingerprint;
    this.manufacturer = manufacturer;
    this.isSoftware = isSoftware;
  }

  /**
   * @param leaf the EK certificate, DER
   * @param brought CA certificates that the device sent along
   * @throws Refused `ek.*`
   */
  static verify(
    leaf: Uint8Array,
    brought: readonly Uint8Array[],
    area: PublicArea,
    trust: EkTrust,
    now: EpochMs,
  ): TrustedEk {
    const malformed = ['MalformedBytes'];
    const certificate = refusing('ek.certificate', malformed, () => readEkCertificate(leaf));
    requireProfile(certificate, area);
    requireTemplate(area);
    if (certificate.signatureHash === 'sha1') throw new Refused('ek.chain', 'signed with SHA-1');
    if (now < certificate.notBefore || now > certificate.notAfter)
      throw new Refused('ek.not_in_time', 'leaf');
    const chain = buildChain(leaf, brought, trust, now);
    requireNotRevoked(leaf, certificate, chain, trust);
    const root = chain.at(-1);
    const isSoftware = root !== undefined && includes(trust.testRoots, root);
    if (isSoftware && !trust.softwareTpms)
      throw new Refused('ek.test_root', 'software TPMs are not accepted here');
    const manufacturer = certificate.tpm?.manufacturer ?? '';
    if (trust.manufacturers.size > 0 && !trust.manufacturers.has(manufacturer)) {
      throw new Refused('ek.vendor', `manufacturer ${JSON.stringify(manufacturer.slice(0, 40))}`);
    }
    const spki = area.publicKey.export({ type: 'spki', format: 'der' });
    return new TrustedEk(area, base64url(sha256(spki)), manufacturer, isSoftware);
  }
}

function requireProfile(certificate: EkCertificate, area: PublicArea): void {
  const { keyUsage, extendedKeyUsage, unknownCritical, tpm } = certificate;
  if (certificate.isCa) throw new Refused('ek.is_ca', 'a CA certificate is no endorsement key');
  if (unknownCritical.length > 0) throw new Refused('ek.critical', unknownCritical.join(', '));
  if (!extendedKeyUsage.includes(EK_USAGE)) throw new Refused('ek.usage', 'no tcg-kp-EKCertificate');
  const right = area.key.type === 'rsa' ? keyUsage?.keyEncipherment : keyUsage?.keyAgreement;
  if (right !== true) throw new Refused('ek.usage', 'keyUsage');
  if (tpm === undefined) throw new Refused('ek.vendor', 'does not name manufacturer, model and version');
  if (!certifies(certificate, area)) throw new Refused('ek.key_mismatch', 'certificate of another key');
}

/** Restricted decryption, made and kept in the TPM: a key that decrypts what it is given could be activated by anybody. */
function requireTemplate(area: PublicArea): void {
  if (
    !RESTRICTED_STORAGE.includes(area.attributes) ||
    area.nameAlg === HASH.sha1 ||
    area.symmetric === undefined ||
    area.scheme !== undefined
  ) {
    throw new Refused('ek.template', `attributes ${area.attributes.toString(16)}, ${area.nameAlg.name}`);
  }
}

/** From the leaf's issuer up to a trusted root. The leaf itself is not in it. */
function buildChain(
  leaf: Uint8Array,
  brought: readonly Uint8Array[],
  trust: EkTrust,
  now: EpochMs,
): readonly X509Certificate[] {
  if (brought.length > MAX_BROUGHT) throw new Refused('ek.chain', `${brought.length} certificates`);
  const anchors = [...trust.roots, ...trust.testRoots].map(parse);
  const others = [...trust.intermediates, ...brought].map(parse);
  const chain: X509Certificate[] = [];
  let current = parse(leaf);
  while (chain.length < MAX_DEPTH) {
    // A self-signed certificate that the device brought is nobody's anchor: anchors are ours, compared by their bytes.
    const known = anchors.filter((root) => isIssuer(root, current));
    const issuers = known.length > 0 ? known : others.filter((ca) => isIssuer(ca, current));
    const issuer = firstGood(issuers, (ca) => requireCa(ca, known.length > 0, chain, now));
    chain.push(issuer);
    if (known.length > 0) return chain;
    current = issuer;
  }
  throw new Refused('ek.chain', `more than ${MAX_DEPTH} authorities`);
}

/** Vendors renew certificates of their authorities and keep the key: an old one beside the new one does no harm. */
function firstGood(
  issuers: readonly X509Certificate[],
  check: (ca: X509Certificate) => void,
): X509Certificate {
  let refused = new Refused('ek.chain', 'no path to a trusted root');
  for (const issuer of issuers) {
    try {
      check(issuer);
      return issuer;
    } catch (thrown) {
      if (!(thrown instanceof Refused)) throw thrown;
      refused = thrown;
    }
  }
  throw refused;
}

function isIssuer(ca: X509Certificate, of: X509Certificate): boolean {
  return of.checkIssued(ca) && of.verify(ca.publicKey);
}

/** @param below authorities between this one and the endorsement key */
function requireCa(
  ca: X509Certificate,
  isAnchor: boolean,
  below: readonly X509Certificate[],
  now: EpochMs,
): void {
  const facts = refusing('ek.chain', ['MalformedBytes'], () => readCertificate(ca.raw));
  if (!facts.isCa || facts.keyUsage?.keyCertSign === false) throw new Refused('ek.chain', 'issuer is no CA');
  const between = below.filter(({ subject, issuer }) => subject !== issuer).length;
  if (facts.pathLength !== undefined && between > facts.pathLength)
    throw new Refused(
      'ek.chain',
      `an authority over ${between} others, which may be over ${facts.pathLength}`,
    );
  // Of an anchor the signature proves nothing: we hold its very bytes.
  if (!isAnchor && facts.signatureHash === 'sha1')
    throw new Refused('ek.chain', 'an authority signed with SHA-1');
  if (facts.unknownCritical.length > 0) throw new Refused('ek.critical', facts.unknownCritical.join(', '));
  if (now < facts.notBefore || now > facts.notAfter) throw new Refused('ek.not_in_time', 'authority');
}

function requireNotRevoked(
  leaf: Uint8Array,
  { serial }: EkCertificate,
  chain: readonly X509Certificate[],
  { revoked }: EkTrust,
): void {
  const [issuer] = chain;
  const names = [
    ...[leaf, ...chain.map(({ raw }) => raw)].map((der) => base64url(sha256(der))),
    ...(issuer === undefined ? [] : [`${base64url(sha256(issuer.raw))}/${serial}`]),
  ];
  const found = names.find((name) => revoked.has(name));
  if (found !== undefined) throw new Refused('ek.revoked', found);
}

function parse(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(view(der));
  } catch (cause) {
    throw new Refused('ek.certificate', 'not an X.509 certificate', { cause });
  }
}

const includes = (list: readonly Uint8Array[], certificate: X509Certificate): boolean =>
  list.some((der) => certificate.raw.equals(der));
