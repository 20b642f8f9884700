import type { EpochMs } from '../core/clock.ts';
import { Denied, MalformedBytes, quoted } from '../core/errors.ts';
import type { MemberId } from '../core/ids.ts';
import { type CertificateFacts, readCertificate } from '../x509/certificate.ts';

/** What the registry says about a gateway, as far as the link's certificate is concerned. */
export interface KnownGateway {
  readonly name: string;
  readonly member: MemberId;
  /** SHA-256 of each SubjectPublicKeyInfo the gateway may use on the link, base64url. More than one while rotating. */
  readonly linkSpki: readonly string[];
  /** It has shown two different logs. */
  readonly quarantined?: boolean;
}

export interface PeerDirectory {
  gatewayByName(name: string): KnownGateway | undefined;
}

/** Which end of the TLS connection the peer is: a client shows clientAuth, a server serverAuth. */
export type PeerRole = 'client' | 'server';

const USAGE: Record<PeerRole, string> = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' };

/**
 * Proof of which gateway is at the other end of a connection. The chain, possession of the key and revocation lists
 * are TLS's work, done before; here the leaf that TLS proved is matched with the registry. Names come from this leaf
 * only, never from another certificate of the chain, a field or SNI.
 */
export class PeerGateway {
  declare protected readonly nominal: never;
  readonly name: string;
  readonly member: MemberId;
  readonly role: PeerRole;
  /** SHA-256 of the leaf certificate, base64url: what the log records. */
  readonly certificateSha256: string;
  readonly spkiSha256: string;
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;

  private constructor(known: KnownGateway, role: PeerRole, facts: CertificateFacts) {
    this.name = known.name;
    this.member = known.member;
    this.role = role;
    this.certificateSha256 = facts.sha256;
    this.spkiSha256 = facts.spkiSha256;
    this.notBefore = facts.notBefore;
    this.notAfter = facts.notAfter;
  }

  /**
   * Once per connection. Nothing is cached: what could go stale is looked up again by {@link requireCurrent}.
   * @throws Denied `peer.certificate`, `peer.unknown`, `peer.key`, `peer.quarantined`
   */
  static identify(leaf: Uint8Array, role: PeerRole, directory: PeerDirectory, now: EpochMs): PeerGateway {
    const facts = readFacts(leaf);
    const name = soleName(facts);
    requireUsable(facts, role);
    requireInTime(facts, now);
    return new PeerGateway(requireKnown(name, facts.spkiSha256, directory), role, facts);
  }

  /**
   * Before every exchange on the connection, and while long ones run: the certificate may have expired, the registry
   * may have dropped the gateway or its key, the gateway may have been quarantined. One look-up, no cryptography.
   * @throws Denied as {@link identify}
   */
  requireCurrent(directory: PeerDirectory, now: EpochMs): void {
    requireInTime(this, now);
    const known = requireKnown(this.name, this.spkiSha256, directory);
    // A name that moved to another member needs a new handshake: exchanges under way were admitted for the old one.
    if (known.member !== this.member)
      throw new Denied('peer.unknown', `${this.name} now belongs to another member`);
  }
}

function readFacts(leaf: Uint8Array): CertificateFacts {
  try {
    return readCertificate(leaf);
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
    throw new Denied('peer.certificate', cause.message, { cause });
  }
}

/**
 * Exactly one dNSName and no name of another type. With two, one check could read the first and another the second.
 * The common name is never read.
 */
function soleName(facts: CertificateFacts): string {
  const { dns, uri, email, ip, others } = facts.subjectAltNames;
  const [name, ...more] = dns;
  if (name === undefined || more.length + uri.length + email.length + ip.length + others > 0) {
    throw new Denied('peer.certificate', 'needs exactly one subjectAltName, a dNSName');
  }
  return name;
}

function requireUsable(facts: CertificateFacts, role: PeerRole): void {
  const refuse = (why: string): Denied => new Denied('peer.certificate', why);
  if (facts.isCa || facts.keyUsage?.keyCertSign === true) throw refuse('is a CA certificate');
  if (facts.unknownCritical.length > 0)
    throw refuse(`unknown critical extension ${facts.unknownCritical.join(', ')}`);
  // TLS 1.3 signs with the key; a missing extension would mean "any use" and is too little for us.
  if (facts.keyUsage?.digitalSignature !== true) throw refuse('keyUsage does not say digitalSignature');
  // OpenSSL lets a missing extendedKeyUsage and anyExtendedKeyUsage pass. We want the very usage.
  if (facts.extendedKeyUsage?.includes(USAGE[role]) !== true)
    throw refuse(`extendedKeyUsage does not allow ${role}`);
  if (facts.signatureHash === 'sha1') throw refuse('signed with SHA-1');
}

function requireInTime(
  validity: { readonly notBefore: EpochMs; readonly notAfter: EpochMs },
  now: EpochMs,
): void {
  if (now < validity.notBefore) throw new Denied('peer.certificate', 'not valid yet');
  if (now > validity.notAfter) throw new Denied('peer.certificate', 'expired');
}

function requireKnown(name: string, spkiSha256: string, directory: PeerDirectory): KnownGateway {
  // A Map look-up with the exact bytes: no case folding, no trailing dot, no wildcard, no pattern.
  const known = directory.gatewayByName(name);
  if (known === undefined) throw new Denied('peer.unknown', `no gateway ${quoted(name)} in the registry`);
  if (!known.linkSpki.includes(spkiSha256))
    throw new Denied('peer.key', `${name}: key ${spkiSha256} is not registered`);
  if (known.quarantined === true) throw new Denied('peer.quarantined', name);
  return known;
}
