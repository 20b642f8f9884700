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

export class EkAuthority {
  readonly root: Buffer;
  readonly issuing: Buffer;
  readonly #issuing: Pair;
  readonly #now: number;

  private constructor(root: Buffer, issuing: Buffer, keys: Pair, now: number) {
    this.root = root;
    this.issuing = issuing;
    this.#issuing = keys;
    this.#now = now;
  }

  static async create(name: string, now: number): Promise<EkAuthority> {
    const [rootKeys, issuingKeys] = [keyPair(), keyPair()];
    const dates = { notBefore: new Date(now - DAY), notAfter: new Date(now + 3650 * DAY) };
    const ca = (subject: string, issuer: string, keys: Pair, by: Pair) =>
      X509CertificateGenerator.create({
        ...dates,
        serialNumber: '01',
        subject: `CN=${subject}`,
        issuer: `CN=${issuer}`,
        publicKey: keys.publicKey.export({ type: 'spki', format: 'der' }),
        signingKey: by.privateKey.toCryptoKey(SIGNING, false, ['sign']),
        signingAlgorithm: SIGNING,
        extensions: [
          new BasicConstraintsExtension(true, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
        ],
      });
    const root = await ca(`${name} root`, `${name} root`, rootKeys, rootKeys);
    const issuing = await ca(`${name} issuing`, `${name} root`, issuingKeys, rootKeys);
    return new EkAuthority(Buffer.from(root.rawData), Buffer.from(issuing.rawData), issuingKeys, now);
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
