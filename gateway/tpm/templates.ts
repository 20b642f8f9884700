// What keys are made of: TCG EK Credential Profile §B.3, and our own below the EK.
import { ALG, CURVE, digest, HASH, type HashAlgorithm } from './algorithm.ts';
import { POLICY_OR } from './commands.ts';
import { u32 } from './cursor.ts';
import { ATTRIBUTE, type KeyTemplate, type PublicArea } from './public.ts';

const { fixedTpm, fixedParent, sensitiveDataOrigin, userWithAuth, adminWithPolicy, noDa } = ATTRIBUTE;
const { restricted, decrypt, sign } = ATTRIBUTE;

/** Made in this TPM, and never leaving it. */
export const RESIDENT = fixedTpm | fixedParent | sensitiveDataOrigin;

/**
 * How the use of an endorsement key is authorized: PolicySecret of the endorsement hierarchy, and for high-range keys
 * that as the first branch of a PolicyOR. Their password would do too, but a power cut after its use counts towards the
 * dictionary-attack lock-out; a policy without a password does not.
 */
export interface EkPolicy {
  readonly hash: HashAlgorithm;
  /** authPolicy of the key. */
  readonly digest: Buffer;
  readonly branches?: readonly Buffer[];
}

/** EK Credential Profile §B.6: PolicyA, and PolicyB = PolicyA or PolicyC. */
const policyA = {
  sha256: Buffer.from('837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa', 'hex'),
  sha384: Buffer.from(
    '8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e143e8bb1133824ccb431053871c6db53',
    'hex',
  ),
};
const policyC = {
  sha256: Buffer.from('3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde', 'hex'),
  sha384: Buffer.from(
    'd6032ce61f2fb3c240eb3cf6a33237ef2b6a16f4293c22b455e261cffd217ad5b4947c2d73e63005eed2dc2b3593d165',
    'hex',
  ),
};

export const EK_POLICIES: readonly EkPolicy[] = [
  { hash: HASH.sha256, digest: policyA.sha256 },
  ...(['sha256', 'sha384'] as const).map((name) => {
    const branches = [policyA[name], policyC[name]];
    const or = Buffer.concat([Buffer.alloc(HASH[name].bytes), u32(POLICY_OR), ...branches]);
    return { hash: HASH[name], digest: digest(HASH[name], or), branches };
  }),
];

/** How to authorize a key, if it is one of the profile's. */
export const ekPolicyOf = ({ authPolicy, nameAlg }: PublicArea): EkPolicy | undefined =>
  EK_POLICIES.find((known) => known.hash === nameAlg && known.digest.equals(authPolicy));

/** Attributes of low-range and high-range endorsement keys (EK profile §B.3, §B.4): a key that only protects others. */
export const RESTRICTED_STORAGE: readonly number[] = [
  RESIDENT | adminWithPolicy | restricted | decrypt,
  RESIDENT | adminWithPolicy | userWithAuth | restricted | decrypt,
];

const EK_COMMON = {
  nameAlg: HASH.sha256,
  attributes: RESIDENT | adminWithPolicy | restricted | decrypt,
  authPolicy: policyA.sha256,
  symmetricBits: 128,
} as const;

/** Endorsement keys (templates L-1 and L-2). */
export const EK_RSA: KeyTemplate = { ...EK_COMMON, kind: { type: 'rsa', bits: 2048 } };
export const EK_P256: KeyTemplate = { ...EK_COMMON, kind: { type: 'ecc', curve: CURVE.p256 } };

/**
 * Attestation key. `noDa`: a power cut while it is in use must not count towards the dictionary-attack lock-out; it has
 * no password to guess.
 */
export const AK_P256: KeyTemplate = {
  nameAlg: HASH.sha256,
  attributes: RESIDENT | userWithAuth | noDa | restricted | sign,
  scheme: { alg: ALG.ecdsa, hash: HASH.sha256 },
  kind: { type: 'ecc', curve: CURVE.p256 },
};

/** Binding key: as the attestation key, but it signs what it is given. */
export const BINDING_P256: KeyTemplate = { ...AK_P256, attributes: RESIDENT | userWithAuth | noDa | sign };
