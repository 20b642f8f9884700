// TPMT_PUBLIC, TPM 2.0 Library Part 2 §12.2.4, of keys: RSA and ECC.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { base64url } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { ALG, type Curve, curve, digest, type HashAlgorithm, hashAlgorithm, hex } from './algorithm.ts';
import { ByteReader, leftPad, sized, u16, u32 } from './cursor.ts';

/** TPMA_OBJECT, Part 2 §8.3. */
export const ATTRIBUTE = {
  fixedTpm: 1 << 1,
  fixedParent: 1 << 4,
  sensitiveDataOrigin: 1 << 5,
  userWithAuth: 1 << 6,
  adminWithPolicy: 1 << 7,
  noDa: 1 << 10,
  restricted: 1 << 16,
  decrypt: 1 << 17,
  sign: 1 << 18,
} as const;
/** Bits of TPMA_OBJECT that have no meaning and must be zero. 19 is x509sign. */
const RESERVED = ~((1 << 20) - 1) | 0x0000f300 | (1 << 0) | (1 << 3);

/** Permanent handles, Part 2 §7.4. */
export const HIERARCHY = { owner: 0x40000001, endorsement: 0x4000000b, platform: 0x4000000c } as const;

export interface SchemeOf {
  readonly alg: number;
  readonly hash: HashAlgorithm;
}

export interface RsaKey {
  readonly type: 'rsa';
  readonly bits: number;
  readonly exponent: number;
  readonly modulus: Uint8Array;
}

export interface EccKey {
  readonly type: 'ecc';
  readonly curve: Curve;
  /** Padded to the length of the curve. */
  readonly x: Uint8Array;
  readonly y: Uint8Array;
}

/** A public area as its bytes say. Nothing about it is believed before a certificate or an activation proves it. */
export interface PublicArea {
  /** The TPMT_PUBLIC, without the length that a TPM2B_PUBLIC has before it. */
  readonly raw: Uint8Array;
  readonly nameAlg: HashAlgorithm;
  /** {@link ATTRIBUTE} bits. */
  readonly attributes: number;
  readonly authPolicy: Uint8Array;
  /** Of restricted decryption keys: how they protect their children. */
  readonly symmetric: { readonly keyBits: number } | undefined;
  /** Undefined: TPM_ALG_NULL, the caller of the TPM chooses. */
  readonly scheme: SchemeOf | undefined;
  readonly key: RsaKey | EccKey;
  /** `nameAlg ‖ H(raw)`: computed here, never taken from whoever sent the bytes. */
  readonly name: Uint8Array;
  readonly publicKey: KeyObject;
}

const MAX_MODULUS_BYTES = 512;

/** Reads a whole TPMT_PUBLIC of an RSA or ECC key. @throws MalformedBytes, also for a point that is not on its curve */
export function parsePublic(bytes: Uint8Array): PublicArea {
  const r = new ByteReader(bytes, 'TPMT_PUBLIC');
  const type = r.u16('type');
  const nameAlg = hashAlgorithm(r.u16('nameAlg'), 'TPMT_PUBLIC nameAlg');
  const attributes = r.u32('objectAttributes');
  if ((attributes & RESERVED) !== 0) throw r.malformed('reserved attribute bits are set');
  const authPolicy = r.sized(nameAlg.bytes, 'authPolicy');
  if (authPolicy.length !== 0 && authPolicy.length !== nameAlg.bytes) {
    throw r.malformed(`authPolicy of ${authPolicy.length} bytes`);
  }
  if (type !== ALG.rsa && type !== ALG.ecc) throw r.malformed(`key type ${hex(type)}`);
  const symmetric = readSymmetric(r);
  const scheme = readScheme(r, type === ALG.rsa ? RSA_SCHEMES : ECC_SCHEMES);
  const key = type === ALG.rsa ? readRsa(r) : readEcc(r);
  r.finish();
  return {
    raw: bytes,
    nameAlg,
    attributes,
    authPolicy,
    symmetric,
    scheme,
    key,
    name: Buffer.concat([u16(nameAlg.id), digest(nameAlg, bytes)]),
    publicKey: keyObject(key),
  };
}

/** Reads a TPM2B_PUBLIC: the length must be that of what follows. @throws MalformedBytes */
export function parseSizedPublic(bytes: Uint8Array): PublicArea {
  const r = new ByteReader(bytes, 'TPM2B_PUBLIC');
  const inner = r.sized(0xffff, 'publicArea');
  r.finish();
  return parsePublic(inner);
}

/** TPMT_SYM_DEF_OBJECT, Part 2 §11.1.7: NULL, or AES in CFB mode. */
function readSymmetric(r: ByteReader): PublicArea['symmetric'] {
  const alg = r.u16('symmetric');
  if (alg === ALG.null) return undefined;
  if (alg !== ALG.aes) throw r.malformed(`symmetric algorithm ${hex(alg)}`);
  const keyBits = r.u16('symmetric.keyBits');
  if (keyBits !== 128 && keyBits !== 256) throw r.malformed(`AES of ${keyBits} bits`);
  if (r.u16('symmetric.mode') !== ALG.cfb) throw r.malformed('AES in another mode than CFB');
  return { keyBits };
}

const RSA_SCHEMES: readonly number[] = [ALG.rsassa, ALG.rsapss, ALG.oaep];
const ECC_SCHEMES: readonly number[] = [ALG.ecdsa, ALG.ecdh];

function readScheme(r: ByteReader, allowed: readonly number[]): SchemeOf | undefined {
  const alg = r.u16('scheme');
  if (alg === ALG.null) return undefined;
  if (!allowed.includes(alg)) throw r.malformed(`scheme ${hex(alg)}`);
  return { alg, hash: hashAlgorithm(r.u16('scheme.hashAlg'), 'TPMT_PUBLIC scheme') };
}

function readRsa(r: ByteReader): RsaKey {
  const bits = r.u16('keyBits');
  if (bits !== 1024 && bits !== 2048 && bits !== 3072 && bits !== 4096)
    throw r.malformed(`RSA of ${bits} bits`);
  const exponent = r.u32('exponent');
  if (exponent !== 0 && exponent !== 65_537) throw r.malformed(`RSA exponent ${exponent}`);
  const modulus = r.sized(MAX_MODULUS_BYTES, 'unique');
  const [first = 0] = modulus;
  if (modulus.length * 8 !== bits || first < 0x80)
    throw r.malformed('modulus is not as long as keyBits says');
  return { type: 'rsa', bits, exponent: 65_537, modulus };
}

function readEcc(r: ByteReader): EccKey {
  const on = curve(r.u16('curveID'));
  const kdf = r.u16('kdf');
  if (kdf !== ALG.null) throw r.malformed(`kdf ${hex(kdf)}`);
  // Some TPMs leave leading zeros out.
  const x = leftPad(r.sized(on.bytes, 'unique.x'), on.bytes);
  const y = leftPad(r.sized(on.bytes, 'unique.y'), on.bytes);
  return { type: 'ecc', curve: on, x, y };
}

function keyObject(key: RsaKey | EccKey): KeyObject {
  const jwk =
    key.type === 'rsa'
      ? { kty: 'RSA', n: base64url(key.modulus), e: 'AQAB' }
      : { kty: 'EC', crv: key.curve.name, x: base64url(key.x), y: base64url(key.y) };
  try {
    return createPublicKey({ key: jwk, format: 'jwk' }); // checks that the point is on its curve
  } catch (cause) {
    throw new MalformedBytes('TPMT_PUBLIC: not a public key', { cause });
  }
}

/** What a key can be made from: everything of its public area but the key itself. */
export interface KeyTemplate {
  readonly nameAlg: HashAlgorithm;
  readonly attributes: number;
  readonly authPolicy?: Uint8Array;
  readonly symmetricBits?: 128 | 256;
  readonly scheme?: SchemeOf;
  readonly kind:
    { readonly type: 'rsa'; readonly bits: 2048 } | { readonly type: 'ecc'; readonly curve: Curve };
}

/** The point or modulus of a public area, as TPMU_PUBLIC_ID has it. */
export type Unique = { readonly modulus: Uint8Array } | { readonly x: Uint8Array; readonly y: Uint8Array };

/** Writes the TPMT_PUBLIC of a template, with `unique` as the key; templates of the EK profile fill it with zeros. */
export function formatPublic({ kind, ...template }: KeyTemplate, unique: Unique): Buffer {
  const { nameAlg, attributes, authPolicy = new Uint8Array(), symmetricBits, scheme } = template;
  const key =
    kind.type === 'rsa' && 'modulus' in unique
      ? [u16(kind.bits), u32(0), sized(unique.modulus)]
      : kind.type === 'ecc' && 'x' in unique
        ? [u16(kind.curve.id), u16(ALG.null), sized(unique.x), sized(unique.y)]
        : undefined;
  if (key === undefined) throw new TypeError('template and key are of different types');
  return Buffer.concat([
    u16(kind.type === 'rsa' ? ALG.rsa : ALG.ecc),
    u16(nameAlg.id),
    u32(attributes),
    sized(authPolicy),
    ...(symmetricBits === undefined ? [u16(ALG.null)] : [u16(ALG.aes), u16(symmetricBits), u16(ALG.cfb)]),
    ...(scheme === undefined ? [u16(ALG.null)] : [u16(scheme.alg), u16(scheme.hash.id)]),
    ...key,
  ]);
}

/** Qualified name of a primary key (Part 1 §16): its hierarchy and itself. */
export const primaryQualifiedName = (hierarchy: number, area: PublicArea): Buffer =>
  qualifiedName(u32(hierarchy), area);

/** Qualified name of a key below another: proves which parent it is loaded under. */
export const childQualifiedName = (parent: Uint8Array, area: PublicArea): Buffer =>
  qualifiedName(parent, area);

function qualifiedName(above: Uint8Array, { nameAlg, name }: PublicArea): Buffer {
  return Buffer.concat([u16(nameAlg.id), digest(nameAlg, Buffer.concat([above, name]))]);
}
