// Credential activation from the outside: TPM2_MakeCredential in software. TPM 2.0 Library Part 1 §24 and Annexes B, C.
import {
  constants,
  createCipheriv,
  createECDH,
  createHash,
  createHmac,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { utf8 } from '../core/bytes.ts';
import type { HashAlgorithm } from './algorithm.ts';
import { leftPad, sized, u32 } from './cursor.ts';
import type { PublicArea } from './public.ts';

/** What only the TPM that holds both the EK and a key of this Name can open. */
export interface Credential {
  /** TPM2B_ID_OBJECT. */
  readonly blob: Buffer;
  /** TPM2B_ENCRYPTED_SECRET. */
  readonly secret: Buffer;
}

/**
 * Wraps `secret` to an EK and to the Name of the key that shall prove to live beside it.
 * @param secret at most as long as a digest of the EK's name algorithm
 * @throws TypeError when the EK is not a storage key, or the secret is too long
 */
export function makeCredential(ek: PublicArea, name: Uint8Array, secret: Uint8Array): Credential {
  if (ek.symmetric === undefined) throw new TypeError('the key does not protect others');
  if (secret.length > ek.nameAlg.bytes) throw new TypeError(`a secret of ${secret.length} bytes`);
  const hash = ek.nameAlg;
  const { seed, encrypted } = ek.key.type === 'rsa' ? rsaSeed(ek, hash) : ecdhSeed(ek, hash);
  const { keyBits } = ek.symmetric;
  const storage = kdfA(hash, seed, 'STORAGE', name, new Uint8Array(), keyBits);
  // A key that is used once needs no IV (Part 1 §24.4).
  const cipher = createCipheriv(keyBits === 128 ? 'aes-128-cfb' : 'aes-256-cfb', storage, Buffer.alloc(16));
  const identity = Buffer.concat([cipher.update(sized(secret)), cipher.final()]);
  const integrityKey = kdfA(hash, seed, 'INTEGRITY', new Uint8Array(), new Uint8Array(), hash.bytes * 8);
  const integrity = createHmac(hash.name, integrityKey).update(identity).update(name).digest();
  return { blob: sized(Buffer.concat([sized(integrity), identity])), secret: sized(encrypted) };
}

interface Seed {
  readonly seed: Buffer;
  readonly encrypted: Buffer;
}

/** Annex B.10.4: OAEP with the EK's name algorithm; the label ends in a NUL byte, which is part of it. */
function rsaSeed(ek: PublicArea, hash: HashAlgorithm): Seed {
  const seed = randomBytes(hash.bytes);
  const encrypted = publicEncrypt(
    {
      key: ek.publicKey,
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: hash.name,
      oaepLabel: utf8('IDENTITY\0'),
    },
    seed,
  );
  return { seed, encrypted };
}

/** Annex C.6.4: one-pass ECDH with an ephemeral key. */
function ecdhSeed(ek: PublicArea, hash: HashAlgorithm): Seed {
  if (ek.key.type !== 'ecc') throw new TypeError('not an ECC key');
  const { curve, x, y } = ek.key;
  const ecdh = createECDH(curve.openssl);
  const point = ecdh.generateKeys().subarray(1); // after 04: uncompressed
  const ephemeralX = point.subarray(0, curve.bytes);
  const z = leftPad(ecdh.computeSecret(Buffer.concat([Uint8Array.of(0x04), x, y])), curve.bytes);
  const seed = kdfE(hash, z, 'IDENTITY', ephemeralX, x, hash.bytes * 8);
  return { seed, encrypted: Buffer.concat([sized(ephemeralX), sized(point.subarray(curve.bytes))]) };
}

/** KDFa, Part 1 §11.4.10.2 (SP 800-108 counter mode with HMAC). */
export function kdfA(
  hash: HashAlgorithm,
  key: Uint8Array,
  label: string,
  contextU: Uint8Array,
  contextV: Uint8Array,
  bits: number,
): Buffer {
  return blocks(hash, bits, (counter) =>
    createHmac(hash.name, key)
      .update(counter)
      .update(`${label}\0`)
      .update(contextU)
      .update(contextV)
      .update(u32(bits))
      .digest(),
  );
}

/** KDFe, Part 1 §11.4.10.3 (SP 800-56A concatenation). */
export function kdfE(
  hash: HashAlgorithm,
  z: Uint8Array,
  label: string,
  partyU: Uint8Array,
  partyV: Uint8Array,
  bits: number,
): Buffer {
  return blocks(hash, bits, (counter) =>
    createHash(hash.name)
      .update(counter)
      .update(z)
      .update(`${label}\0`)
      .update(partyU)
      .update(partyV)
      .digest(),
  );
}

function blocks(hash: HashAlgorithm, bits: number, block: (counter: Buffer) => Buffer): Buffer {
  const length = bits / 8;
  const parts: Buffer[] = [];
  for (let i = 1; (i - 1) * hash.bytes < length; i += 1) parts.push(block(u32(i)));
  return Buffer.concat(parts).subarray(0, length);
}
