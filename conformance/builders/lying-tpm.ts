// A TPM made of node keys that says whatever a test wants: what a real one refuses to say, too.
import {
  constants,
  createDecipheriv,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  sign,
} from 'node:crypto';
import { ALG, CURVE, type Curve, HASH, type HashAlgorithm } from '../../gateway/tpm/algorithm.ts';
import { ATTEST_TYPE, TPM_GENERATED } from '../../gateway/tpm/attest.ts';
import { kdfA, kdfE } from '../../gateway/tpm/credential.ts';
import { ByteReader, leftPad, sized, u16, u32, u64, u8 } from '../../gateway/tpm/cursor.ts';
import {
  extended,
  formatSelections,
  initialPcr,
  pcrDigest,
  type PcrSelection,
} from '../../gateway/tpm/pcr.ts';
import {
  ATTRIBUTE,
  childQualifiedName,
  formatPublic,
  HIERARCHY,
  type KeyTemplate,
  parsePublic,
  primaryQualifiedName,
  type PublicArea,
} from '../../gateway/tpm/public.ts';
import { AK_P256, BINDING_P256, EK_P256, EK_RSA, RESIDENT } from '../../gateway/tpm/templates.ts';

export interface LyingKey {
  readonly area: PublicArea;
  readonly privateKey: KeyObject;
}

/** The high-range P-384 EK as swtpm and current discrete TPMs have it (EK profile, template H-3). */
const EK_P384: KeyTemplate = {
  nameAlg: HASH.sha384,
  attributes:
    RESIDENT | ATTRIBUTE.userWithAuth | ATTRIBUTE.adminWithPolicy | ATTRIBUTE.restricted | ATTRIBUTE.decrypt,
  authPolicy: Buffer.from(
    'b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12',
    'hex',
  ),
  symmetricBits: 256,
  kind: { type: 'ecc', curve: CURVE.p384 },
};

export const EKS = { rsa: EK_RSA, p256: EK_P256, p384: EK_P384 } as const;

const RSA_2048 = { type: 'rsa', bits: 2048 } as const;
export const AKS = {
  ecdsa: AK_P256,
  rsassa: { ...AK_P256, kind: RSA_2048, scheme: { alg: ALG.rsassa, hash: HASH.sha256 } },
  rsapss: { ...AK_P256, kind: RSA_2048, scheme: { alg: ALG.rsapss, hash: HASH.sha256 } },
} as const satisfies Record<string, KeyTemplate>;

/** RSA keys take long to make: all tests of one process share a few, taken in turn. */
const rsaPool: { publicKey: KeyObject; privateKey: KeyObject }[] = [];
let rsaNext = 0;
function rsaPair(): { publicKey: KeyObject; privateKey: KeyObject } {
  const index = rsaNext++ % 3;
  return (rsaPool[index] ??= generateKeyPairSync('rsa', { modulusLength: 2048 }));
}

const bytesOf = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');

/** A key whose public area says what the template says, true or not. */
export function lyingKey(template: KeyTemplate): LyingKey {
  const pair =
    template.kind.type === 'rsa'
      ? rsaPair()
      : generateKeyPairSync('ec', { namedCurve: template.kind.curve.name });
  const { n, x, y } = pair.publicKey.export({ format: 'jwk' });
  const unique = template.kind.type === 'rsa' ? { modulus: bytesOf(n) } : { x: bytesOf(x), y: bytesOf(y) };
  return { area: parsePublic(formatPublic(template, unique)), privateKey: pair.privateKey };
}

export interface AttestFields {
  readonly magic: number;
  readonly type: number;
  readonly qualifiedSigner: Uint8Array;
  readonly extraData: Uint8Array;
  readonly clock: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly safe: number;
  readonly firmwareVersion: bigint;
  readonly attested: Uint8Array;
  readonly tail: Uint8Array;
}

export class LyingTpm {
  readonly ek: LyingKey;
  ak: LyingKey;
  binding: LyingKey;
  readonly bank: HashAlgorithm = HASH.sha256;
  readonly pcrs = new Map<number, Buffer>();
  /** What the next attestations say; a reboot or a clone changes it. */
  boot = {
    clock: 1_000_000n,
    resetCount: 7,
    restartCount: 0,
    safe: 1,
    firmwareVersion: 0x2022_0101_0000_0000n,
  };

  constructor(kinds: { readonly ek?: keyof typeof EKS; readonly ak?: keyof typeof AKS } = {}) {
    this.ek = lyingKey(EKS[kinds.ek ?? 'p256']);
    this.ak = lyingKey(AKS[kinds.ak ?? 'ecdsa']);
    this.binding = lyingKey(BINDING_P256);
  }

  get akQualifiedName(): Buffer {
    return childQualifiedName(primaryQualifiedName(HIERARCHY.endorsement, this.ek.area), this.ak.area);
  }

  pcr(index: number): Buffer {
    return this.pcrs.get(index) ?? initialPcr(this.bank, index);
  }

  extend(index: number, digest: Uint8Array): void {
    this.pcrs.set(index, extended(this.bank, this.pcr(index), digest));
  }

  /** A TPMS_ATTEST with any field changed. */
  attest(changes: Partial<AttestFields>): Buffer {
    const fields: AttestFields = {
      magic: TPM_GENERATED,
      type: ATTEST_TYPE.quote,
      qualifiedSigner: this.akQualifiedName,
      extraData: Buffer.alloc(32),
      ...this.boot,
      attested: new Uint8Array(),
      tail: new Uint8Array(),
      ...changes,
    };
    return Buffer.concat([
      u32(fields.magic),
      u16(fields.type),
      sized(fields.qualifiedSigner),
      sized(fields.extraData),
      u64(fields.clock),
      u32(fields.resetCount),
      u32(fields.restartCount),
      u8(fields.safe),
      u64(fields.firmwareVersion),
      fields.attested,
      fields.tail,
    ]);
  }

  quoteBytes(
    extraData: Uint8Array,
    selections: readonly PcrSelection[],
    changes: Partial<AttestFields> = {},
  ): Buffer {
    const values = selections.flatMap(({ pcrs }) => pcrs.map((index) => this.pcr(index)));
    const hash = this.ak.area.scheme?.hash ?? HASH.sha256;
    const attested = Buffer.concat([formatSelections(selections), sized(pcrDigest(hash, values))]);
    return this.attest({ extraData, attested, ...changes });
  }

  certifyBytes(object: PublicArea, extraData: Uint8Array, changes: Partial<AttestFields> = {}): Buffer {
    const parent = primaryQualifiedName(HIERARCHY.endorsement, this.ek.area);
    const attested = Buffer.concat([sized(object.name), sized(childQualifiedName(parent, object))]);
    return this.attest({ type: ATTEST_TYPE.certify, extraData, attested, ...changes });
  }

  /** TPMT_SIGNATURE by the AK, or by whatever key. */
  sign(message: Uint8Array, { area, privateKey }: LyingKey = this.ak): Buffer {
    const { alg, hash } = area.scheme ?? { alg: ALG.ecdsa, hash: HASH.sha256 };
    return tpmSignature(message, privateKey, alg, hash);
  }

  /** TPM2_ActivateCredential, with the checks of the reference implementation left to the reader. */
  activate(
    { blob, secret }: { readonly blob: Uint8Array; readonly secret: Uint8Array },
    ak = this.ak,
  ): Buffer {
    const { area, privateKey } = this.ek;
    const hash = area.nameAlg;
    const seedOf = new ByteReader(secret, 'secret').sized(512, 'secret');
    const seed =
      area.key.type === 'rsa'
        ? privateDecrypt(
            {
              key: privateKey,
              padding: constants.RSA_PKCS1_OAEP_PADDING,
              oaepHash: hash.name,
              oaepLabel: Buffer.from('IDENTITY\0'),
            },
            seedOf,
          )
        : ecdhSeed(area.key.curve, area.key.x, privateKey, seedOf, hash);
    const inner = new ByteReader(new ByteReader(blob, 'blob').sized(4096, 'blob'), 'inner');
    const integrity = inner.sized(64, 'integrity');
    const identity = inner.rest();
    const macKey = kdfA(hash, seed, 'INTEGRITY', Buffer.alloc(0), Buffer.alloc(0), hash.bytes * 8);
    if (!createHmac(hash.name, macKey).update(identity).update(ak.area.name).digest().equals(integrity)) {
      throw new Error('TPM_RC_INTEGRITY');
    }
    const bits = area.symmetric?.keyBits ?? 128;
    const key = kdfA(hash, seed, 'STORAGE', ak.area.name, Buffer.alloc(0), bits);
    const cipher = createDecipheriv(bits === 128 ? 'aes-128-cfb' : 'aes-256-cfb', key, Buffer.alloc(16));
    return new ByteReader(Buffer.concat([cipher.update(identity), cipher.final()]), 'identity').sized(
      64,
      'x',
    );
  }
}

function ecdhSeed(
  { bytes, name }: Curve,
  x: Uint8Array,
  privateKey: KeyObject,
  point: Uint8Array,
  hash: HashAlgorithm,
): Buffer {
  const r = new ByteReader(point, 'point');
  const ephemeral = { x: leftPad(r.sized(bytes, 'x'), bytes), y: leftPad(r.sized(bytes, 'y'), bytes) };
  r.finish();
  const publicKey = createPublicKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: name,
      x: ephemeral.x.toString('base64url'),
      y: ephemeral.y.toString('base64url'),
    },
  });
  const z = diffieHellman({ privateKey, publicKey });
  return kdfE(hash, leftPad(z, bytes), 'IDENTITY', ephemeral.x, x, hash.bytes * 8);
}

/** A TPMT_SIGNATURE of any algorithm, whatever the key is for. */
export function tpmSignature(message: Uint8Array, key: KeyObject, alg: number, hash: HashAlgorithm): Buffer {
  if (alg === ALG.ecdsa) {
    const both = sign(hash.name, message, { key, dsaEncoding: 'ieee-p1363' });
    const half = both.length / 2;
    return Buffer.concat([u16(alg), u16(hash.id), sized(both.subarray(0, half)), sized(both.subarray(half))]);
  }
  const padding =
    alg === ALG.rsapss
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN }
      : { padding: constants.RSA_PKCS1_PADDING };
  return Buffer.concat([u16(alg), u16(hash.id), sized(sign(hash.name, message, { key, ...padding }))]);
}
