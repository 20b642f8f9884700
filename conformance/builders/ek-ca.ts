// A TPM vendor of ours: endorsement key certificates as the TCG profile wants them, and with one thing wrong.
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';

const DAY = 86_400_000;
const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const EK_USAGE = '2.23.133.8.1';

export interface EkCertificateChanges {
  readonly usages?: readonly string[];
  readonly flags?: 'digitalSignature';
  readonly sha1?: true;
  readonly isCa?: boolean;
  readonly names?: Readonly<Record<string, string>>;
  readonly critical?: string;
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly serial?: string;
}

const TPM_NAMES = { '2.23.133.2.1': 'id:54455354', '2.23.133.2.2': 'Lying TPM', '2.23.133.2.3': 'id:0001' };

const keyPair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
type Pair = ReturnType<typeof keyPair>;

interface AuthorityParts {
  readonly subject: string;
  readonly issuer: string;
  readonly keys: Pair;
  readonly by: Pair;
  readonly now: number;
  readonly pathLength?: number | undefined;
}

/** A CA certificate, DER. */
async function authority({ subject, issuer, keys, by, now, pathLength }: AuthorityParts): Promise<Buffer> {
  const { rawData } = await X509CertificateGenerator.create({
    notBefore: new Date(now - DAY),
    notAfter: new Date(now + 3650 * DAY),
    serialNumber: '01',
    subject: `CN=${subject}`,
    issuer: `CN=${issuer}`,
    publicKey: keys.publicKey.export({ type: 'spki', format: 'der' }),
    signingKey: by.privateKey.toCryptoKey(SIGNING, false, ['sign']),
    signingAlgorithm: SIGNING,
    extensions: [
      new BasicConstraintsExtension(true, pathLength, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
    ],
  });
  return Buffer.from(rawData);
}

export class EkAuthority {
  readonly root: Buffer;
  readonly issuing: Buffer;
  readonly #rootKeys: Pair;
  readonly #issuing: Pair;
  readonly #now: number;

  private constructor(root: Buffer, issuing: Buffer, rootKeys: Pair, keys: Pair, now: number) {
    this.root = root;
    this.issuing = issuing;
    this.#rootKeys = rootKeys;
    this.#issuing = keys;
    this.#now = now;
  }

  /** @param pathLength of the issuing authority */
  static async create(name: string, now: number, pathLength?: number): Promise<EkAuthority> {
    const [rootKeys, keys] = [keyPair(), keyPair()];
    const root = await authority({
      subject: `${name} root`,
      issuer: `${name} root`,
      keys: rootKeys,
      by: rootKeys,
      now,
    });
    const named = { subject: `${name} issuing`, issuer: `${name} root` };
    const issuing = await authority({ ...named, keys, by: rootKeys, now, pathLength });
    return new EkAuthority(root, issuing, rootKeys, keys, now);
  }

  /** Another authority, below the issuing one. */
  async below(name: string): Promise<EkAuthority> {
    const keys = keyPair();
    const [issuer = ''] = new X509Certificate(this.issuing).subjectName.getField('CN');
    const certificate = await authority({ subject: name, issuer, keys, by: this.#issuing, now: this.#now });
    return new EkAuthority(this.root, certificate, this.#issuing, keys, this.#now);
  }

  /** The issuing authority's former certificate: the same key, and not in time any more. */
  former(name: string): Promise<Buffer> {
    const [keys, by, now] = [this.#issuing, this.#rootKeys, this.#now - 4000 * DAY];
    return authority({ subject: `${name} issuing`, issuer: `${name} root`, keys, by, now });
  }

  /** @returns DER */
  async certify(ek: KeyObject, changes: EkCertificateChanges = {}): Promise<Buffer> {
    const usage = ek.asymmetricKeyType === 'rsa' ? KeyUsageFlags.keyEncipherment : KeyUsageFlags.keyAgreement;
    const names = Object.entries(changes.names ?? TPM_NAMES).map(([oid, text]) => `${oid}=${text}`);
    const certificate = await X509CertificateGenerator.create({
      notBefore: new Date(changes.notBefore ?? this.#now - DAY),
      notAfter: new Date(changes.notAfter ?? this.#now + 365 * DAY),
      serialNumber: changes.serial ?? '2a',
      subject: '',
      issuer: new X509Certificate(this.issuing).subjectName,
      publicKey: ek.export({ type: 'spki', format: 'der' }),
      signingKey: this.#issuing.privateKey.toCryptoKey(SIGNING, false, ['sign']),
      signingAlgorithm: changes.sha1 === true ? { ...SIGNING, hash: 'SHA-1' } : SIGNING,
      extensions: [
        new BasicConstraintsExtension(changes.isCa ?? false, undefined, true),
        new KeyUsagesExtension(changes.flags === undefined ? usage : KeyUsageFlags[changes.flags], true),
        new ExtendedKeyUsageExtension([...(changes.usages ?? [EK_USAGE])]),
        new SubjectAlternativeNameExtension([{ type: 'dn', value: names.join(', ') }], true),
        ...(changes.critical === undefined ? [] : [new Extension(changes.critical, true, Buffer.of(5, 0))]),
      ],
    });
    return Buffer.from(certificate.rawData);
  }
}
