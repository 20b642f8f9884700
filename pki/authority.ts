import { createPublicKey, randomBytes, type KeyObject } from 'node:crypto';
import type { EpochMs } from '../gateway/core/clock.ts';
import { MalformedBytes } from '../gateway/core/errors.ts';
import {
  buildCertificate,
  buildRequest,
  buildRevocationList,
  type DistinguishedName,
  readRequest,
  type RevokedCertificate,
  type SubjectNames,
} from '../gateway/x509/build.ts';
import { formatPem, parsePem } from '../gateway/x509/pem.ts';
import { generateKeyPair, type KeyPair, privateKeyPem } from './keys.ts';
import { DAY_MS, type Profile, PROFILES } from './profiles.ts';

/** A certificate without its key: all that is known when the key was made elsewhere. */
export interface Certificate {
  readonly der: Buffer;
  /** PEM of this certificate alone. */
  readonly pem: string;
  /** PEM of this certificate and the issuing CA: what a TLS endpoint sends. */
  readonly chainPem: string;
  readonly publicKey: KeyObject;
  /** Hexadecimal. */
  readonly serial: string;
}

/** A certificate with the private key that was made for it. */
export interface Identity extends Certificate {
  readonly privateKey: KeyObject;
  /** PKCS#8 PEM. */
  readonly keyPem: string;
}

/** Everything a leaf certificate can be asked to have. Tests of refusals ask for what no profile gives. */
export interface LeafRequest extends Profile {
  readonly subject: DistinguishedName;
  readonly names?: SubjectNames;
  /** Default: five minutes before the authority's `now`. */
  readonly notBefore?: EpochMs;
  /** Default: `days` after `notBefore`. */
  readonly notAfter?: EpochMs;
}

/** A new certificate is good at once at agencies whose clocks are a little behind. */
const SKEW_MS = 300_000;

interface CaKeys {
  readonly der: Buffer;
  readonly privateKey: KeyObject;
}

/** What {@link Authority.fromParts} needs to go on after a restart. PEM texts. */
export interface AuthorityParts {
  readonly rootPem: string;
  readonly rootKey: KeyObject;
  readonly issuingPem: string;
  readonly issuingKey: KeyObject;
}

/** A root and an issuing certificate authority for one instance: a sandbox, a private instance, or a test. */
export class Authority {
  readonly #root: CaKeys;
  readonly #issuing: CaKeys;
  readonly #now: () => EpochMs;
  /** Anchors for TLS `ca`: the root's PEM. */
  readonly rootPem: string;
  readonly issuingPem: string;

  private constructor(root: CaKeys, issuing: CaKeys, now: () => EpochMs) {
    this.#root = root;
    this.#issuing = issuing;
    this.#now = now;
    this.rootPem = formatPem('CERTIFICATE', root.der);
    this.issuingPem = formatPem('CERTIFICATE', issuing.der);
  }

  /** Makes fresh CA keys (ECDSA P-256). `name` goes into the subjects, for example `TW sandbox`. */
  static async create(name: string, now: () => EpochMs): Promise<Authority> {
    const rootKeys = generateKeyPair('p256');
    const issuingKeys = generateKeyPair('p256');
    const root: CaKeys = {
      privateKey: rootKeys.privateKey,
      der: await buildCertificate(
        {
          subject: { organization: name, commonName: `${name} root CA` },
          ...content(PROFILES.root, rootKeys, now()),
        },
        { privateKey: rootKeys.privateKey },
      ),
    };
    const issuing: CaKeys = {
      privateKey: issuingKeys.privateKey,
      der: await buildCertificate(
        {
          subject: { organization: name, commonName: `${name} issuing CA` },
          ...content(PROFILES.issuing, issuingKeys, now()),
        },
        { privateKey: root.privateKey, certificate: root.der },
      ),
    };
    return new Authority(root, issuing, now);
  }

  /** The authority as it was, from its files. @throws MalformedBytes when a certificate is not that of its key */
  static fromParts(parts: AuthorityParts, now: () => EpochMs): Authority {
    return new Authority(
      caKeys(parts.rootPem, parts.rootKey, 'root'),
      caKeys(parts.issuingPem, parts.issuingKey, 'issuing'),
      now,
    );
  }

  get parts(): AuthorityParts {
    return {
      rootPem: this.rootPem,
      rootKey: this.#root.privateKey,
      issuingPem: this.issuingPem,
      issuingKey: this.#issuing.privateKey,
    };
  }

  /**
   * Certificate for the link between gateways: one exact dNSName, usable as client and as server, 90 days, P-256.
   * @param name the gateway's name in the registry
   */
  issueLink(
    name: string,
    dates: Partial<Pick<LeafRequest, 'notBefore' | 'notAfter'>> = {},
  ): Promise<Identity> {
    return this.issue({ ...PROFILES.link, ...dates, subject: shortName(name), names: { dns: [name] } });
  }

  /** Certificate with which a client system shows itself to its own gateway. `name` is for the reader only. */
  issueClient(name: string): Promise<Identity> {
    return this.issue({ ...PROFILES.client, subject: shortName(name) });
  }

  /** Certificate for the HTTPS listener that client systems connect to. */
  issueServer(names: SubjectNames = { dns: ['localhost'], ip: ['127.0.0.1'] }): Promise<Identity> {
    return this.issue({ ...PROFILES.server, subject: shortName(names.dns?.[0] ?? 'gateway'), names });
  }

  /** Issues a leaf with a fresh P-256 key, or with the key given. */
  async issue(request: LeafRequest, keys: KeyPair = generateKeyPair('p256')): Promise<Identity> {
    const certificate = await this.certify(request, keys.publicKey);
    return { ...certificate, privateKey: keys.privateKey, keyPem: privateKeyPem(keys.privateKey) };
  }

  /** Certifies a public key whose private half stays where it is. */
  async certify(request: LeafRequest, publicKey: KeyObject): Promise<Certificate> {
    const { subject, names, notBefore, notAfter, days, ...profile } = request;
    const begin = notBefore ?? this.#now() - SKEW_MS;
    const serial = newSerial();
    const der = await buildCertificate(
      {
        ...profile,
        subject,
        serial,
        publicKey,
        notBefore: begin,
        notAfter: notAfter ?? begin + days * DAY_MS,
        ...(names === undefined ? {} : { names }),
      },
      { privateKey: this.#issuing.privateKey, certificate: this.#issuing.der },
    );
    const pem = formatPem('CERTIFICATE', der);
    return { der, pem, chainPem: pem + this.issuingPem, publicKey, serial };
  }

  /**
   * Answers a PKCS#10 request for a link certificate. The name is the one the operator approved: the request must
   * ask for exactly that, and gets nothing else it may ask for.
   * @throws MalformedBytes
   */
  async certifyLinkRequest(requestPem: string, name: string): Promise<Certificate> {
    const [der, ...more] = parsePem('CERTIFICATE REQUEST', requestPem);
    if (der === undefined || more.length > 0) throw new MalformedBytes('expected one certificate request');
    const request = await readRequest(der);
    const { dns, uri } = request.names;
    if (dns.length !== 1 || dns[0] !== name || uri.length > 0) {
      throw new MalformedBytes(`certificate request: asks for other names than ${name}`);
    }
    return this.certify(
      { ...PROFILES.link, subject: shortName(name), names: { dns: [name] } },
      request.publicKey,
    );
  }

  /**
   * Revocation lists of both CAs, one PEM each. OpenSSL wants a list of **every** CA of a chain once it is given one, so
   * they come together; and Node reads only the first of several in one text, so they stay apart.
   */
  async revocationLists(
    revoked: readonly RevokedCertificate[],
    options: { readonly number: bigint; readonly nextUpdate?: EpochMs },
  ): Promise<readonly string[]> {
    const thisUpdate = this.#now();
    const common = {
      thisUpdate,
      nextUpdate: options.nextUpdate ?? thisUpdate + 7 * DAY_MS,
      number: options.number,
    };
    const lists = await Promise.all([
      buildRevocationList(
        { ...common, revoked: [] },
        { certificate: this.#root.der, privateKey: this.#root.privateKey },
      ),
      buildRevocationList(
        { ...common, revoked },
        { certificate: this.#issuing.der, privateKey: this.#issuing.privateKey },
      ),
    ]);
    return lists.map((der) => formatPem('X509 CRL', der));
  }
}

/** Writes the PKCS#10 request for a link certificate. @returns PEM */
export async function requestLink(name: string, keys: KeyPair): Promise<string> {
  return formatPem('CERTIFICATE REQUEST', await buildRequest(shortName(name), { dns: [name] }, keys));
}

function content(
  profile: Profile,
  keys: KeyPair,
  now: EpochMs,
): Profile & {
  serial: string;
  notBefore: EpochMs;
  notAfter: EpochMs;
  publicKey: KeyObject;
} {
  return {
    ...profile,
    serial: newSerial(),
    notBefore: now - SKEW_MS,
    notAfter: now + profile.days * DAY_MS,
    publicKey: keys.publicKey,
  };
}

/** A common name has room for 64 characters (X.520); the name that counts is the subjectAltName. */
const shortName = (name: string): DistinguishedName => ({ commonName: name.slice(0, 64) });

/** 127 random bits, never zero and never negative: no two certificates of an instance share a serial number. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes.readUInt8(0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function caKeys(pem: string, privateKey: KeyObject, what: string): CaKeys {
  const [der, ...more] = parsePem('CERTIFICATE', pem);
  if (der === undefined || more.length > 0) throw new MalformedBytes(`${what}: expected one certificate`);
  const certified = createPublicKey(pem);
  if (!certified.equals(createPublicKey(privateKey))) {
    throw new MalformedBytes(`${what}: the certificate is not that of the key`);
  }
  return { der, privateKey };
}
