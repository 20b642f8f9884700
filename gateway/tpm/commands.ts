// The commands that a device agent needs, TPM 2.0 Library Part 3; the section stands beside each.
import { ALG, type HashAlgorithm } from './algorithm.ts';
import { type ClockInfo, readClockInfo } from './attest.ts';
import { type Authorization, command, type Command, EMPTY_PASSWORD } from './command.ts';
import type { Credential } from './credential.ts';
import { type ByteReader, sized, u16, u32, u8 } from './cursor.ts';
import { formatSelections, type PcrSelection } from './pcr.ts';
import { formatPublic, HIERARCHY, type KeyTemplate, parsePublic, type PublicArea } from './public.ts';

const MAX_BLOB = 2048;
const NOTHING = new Uint8Array();
/** TPMT_SIG_SCHEME: the key's own. */
const KEYS_SCHEME = u16(ALG.null);
const done = (): undefined => undefined;

/** §9.3. Refused with RC.initialize when somebody started the TPM already (on Linux, the kernel). */
export const startup = (): Command<undefined> =>
  command({ name: 'Startup', code: 0x144, parameters: [u16(0)], read: done });

/** §9.4. Without it the clock may go back and the next use of keys counts as a failed attempt. */
export const shutdown = (): Command<undefined> =>
  command({ name: 'Shutdown', code: 0x145, parameters: [u16(0)], read: done });

export const random = (bytes: number): Command<Buffer> =>
  command({
    name: 'GetRandom',
    code: 0x17b,
    parameters: [u16(bytes)],
    read: (r) => r.sized(64, 'randomBytes'),
  });

/** §30.2, TPM_CAP_HANDLES: handles in use from `first` on, at most `count`. */
export const handlesFrom = (first: number, count = 64): Command<readonly number[]> =>
  command({
    name: 'GetCapability',
    code: 0x17a,
    parameters: [u32(1), u32(first), u32(count)],
    read: (r) => {
      r.u8('moreData');
      if (r.u32('capability') !== 1) throw r.malformed('another capability');
      const found = r.u32('count');
      if (found > 1024) throw r.malformed(`${found} handles`);
      return Array.from({ length: found }, () => r.u32('handle'));
    },
  });

/** §28.4. */
export const flushContext = (handle: number): Command<undefined> =>
  command({ name: 'FlushContext', code: 0x165, parameters: [u32(handle)], read: done });

/** §29.1. `time` counts from the last start, `clockInfo` over the TPM's life. */
export const readClock = (): Command<ClockInfo> =>
  command({
    name: 'ReadClock',
    code: 0x181,
    read: (r) => {
      r.u64('time');
      return readClockInfo(r);
    },
  });

export interface LoadedKey {
  readonly handle: number;
  readonly area: PublicArea;
}

/** §24.1: a key derived from the hierarchy's seed. The same template gives the same key. */
export const createPrimary = (hierarchy: number, template: KeyTemplate): Command<LoadedKey> =>
  command({
    name: 'CreatePrimary',
    code: 0x131,
    handles: [hierarchy],
    auths: [EMPTY_PASSWORD],
    parameters: creation(template, zerosFor(template)),
    responseHandles: 1,
    read: (r, handle) => {
      const area = parsePublic(r.sized(MAX_BLOB, 'outPublic'));
      readCreation(r);
      r.sized(66, 'name');
      return { handle, area };
    },
  });

/** A key outside the TPM: its private half is encrypted, and loads into that TPM under that parent only. */
export interface KeyBlob {
  /** TPMT_PUBLIC. */
  readonly public: Buffer;
  /** TPM2B_PRIVATE without its length. */
  readonly private: Buffer;
}

/** §12.1: a new key below another. */
export const create = (parent: number, auth: Authorization, template: KeyTemplate): Command<KeyBlob> =>
  command({
    name: 'Create',
    code: 0x153,
    handles: [parent],
    auths: [auth],
    parameters: creation(
      template,
      template.kind.type === 'rsa' ? { modulus: NOTHING } : { x: NOTHING, y: NOTHING },
    ),
    read: (r) => {
      const blob = {
        private: Buffer.from(r.sized(MAX_BLOB, 'outPrivate')),
        public: Buffer.from(r.sized(MAX_BLOB, 'outPublic')),
      };
      readCreation(r);
      return blob;
    },
  });

/** inSensitive (no password, no data), inPublic, outsideInfo, creationPCR: the tail of Create and CreatePrimary. */
const creation = (template: KeyTemplate, unique: Parameters<typeof formatPublic>[1]): Buffer[] => [
  sized(Buffer.concat([sized(NOTHING), sized(NOTHING)])),
  sized(formatPublic(template, unique)),
  sized(NOTHING),
  u32(0),
];

/** The EK profile's templates have zeros where the key will be (§B.3.3, §B.3.4). */
const zerosFor = ({ kind }: KeyTemplate): Parameters<typeof formatPublic>[1] =>
  kind.type === 'rsa'
    ? { modulus: Buffer.alloc(kind.bits / 8) }
    : { x: Buffer.alloc(kind.curve.bytes), y: Buffer.alloc(kind.curve.bytes) };

/** creationData, creationHash and ticket: proofs for the maker, who is us. */
function readCreation(r: ByteReader): void {
  r.sized(MAX_BLOB, 'creationData');
  r.sized(64, 'creationHash');
  readTicket(r);
}

function readTicket(r: ByteReader): void {
  r.u16('ticket.tag');
  r.u32('ticket.hierarchy');
  r.sized(64, 'ticket.digest');
}

/** §12.2. */
export const load = (parent: number, auth: Authorization, blob: KeyBlob): Command<LoadedKey> =>
  command({
    name: 'Load',
    code: 0x157,
    handles: [parent],
    auths: [auth],
    parameters: [sized(blob.private), sized(blob.public)],
    responseHandles: 1,
    read: (r, handle) => {
      r.sized(66, 'name');
      return { handle, area: parsePublic(blob.public) };
    },
  });

/** §12.4. */
export const readPublic = (handle: number): Command<{ area: PublicArea; qualifiedName: Buffer }> =>
  command({
    name: 'ReadPublic',
    code: 0x173,
    handles: [handle],
    read: (r) => {
      const area = parsePublic(r.sized(MAX_BLOB, 'outPublic'));
      r.sized(66, 'name');
      return { area, qualifiedName: Buffer.from(r.sized(66, 'qualifiedName')) };
    },
  });

/** §11.1: a policy session, unbound, unsalted: our policies authorize commands, they hide nothing. */
export const startPolicySession = (nonce: Uint8Array, hash: HashAlgorithm): Command<number> =>
  command({
    name: 'StartAuthSession',
    code: 0x176,
    handles: [RH_NULL, RH_NULL],
    parameters: [sized(nonce), sized(NOTHING), u8(POLICY), u16(ALG.null), u16(hash.id)],
    responseHandles: 1,
    read: (r, handle) => {
      r.sized(64, 'nonceTPM');
      return handle;
    },
  });
const RH_NULL = 0x40000007;
const POLICY = 0x01;

/** §23.4 with the endorsement hierarchy's (empty) password: PolicyA of the EK profile. */
export const policyEndorsement = (session: number): Command<undefined> =>
  command({
    name: 'PolicySecret',
    code: 0x151,
    handles: [HIERARCHY.endorsement, session],
    auths: [EMPTY_PASSWORD],
    parameters: [sized(NOTHING), sized(NOTHING), sized(NOTHING), u32(0)],
    read: (r) => {
      r.sized(64, 'timeout');
      readTicket(r);
      return undefined;
    },
  });

/** TPM_CC_PolicyOR stands in the digest, too. */
export const POLICY_OR = 0x171;

/** §23.6: the session has met one of these policies, which is as good as the policy "one of these". */
export const policyOr = (session: number, branches: readonly Uint8Array[]): Command<undefined> =>
  command({
    name: 'PolicyOR',
    code: POLICY_OR,
    handles: [session],
    parameters: [u32(branches.length), ...branches.map(sized)],
    read: done,
  });

/**
 * §12.5: opens a credential, when this TPM holds both the EK and the key that it was made for.
 * @param ek authorized with its policy, or its password where the template allows that
 */
export const activateCredential = (
  key: number,
  ek: { readonly handle: number; readonly auth: Authorization },
  credential: Pick<Credential, 'blob' | 'secret'>,
): Command<Buffer> =>
  command({
    name: 'ActivateCredential',
    code: 0x147,
    handles: [key, ek.handle],
    auths: [EMPTY_PASSWORD, ek.auth],
    parameters: [credential.blob, credential.secret],
    read: (r) => Buffer.from(r.sized(64, 'certInfo')),
  });

/** What an attesting command returns; both parts exactly as the verifier needs them. */
export interface SignedAttest {
  /** TPMS_ATTEST. */
  readonly attest: Buffer;
  /** TPMT_SIGNATURE. */
  readonly signature: Buffer;
}

const readSigned = (r: ByteReader): SignedAttest => ({
  attest: Buffer.from(r.sized(MAX_BLOB, 'attest')),
  signature: Buffer.from(r.rest()),
});

/** §18.4. @param extraData at most 66 bytes; ours is always a SHA-256 */
export const quote = (
  key: number,
  extraData: Uint8Array,
  selections: readonly PcrSelection[],
): Command<SignedAttest> =>
  command({
    name: 'Quote',
    code: 0x158,
    handles: [key],
    auths: [EMPTY_PASSWORD],
    parameters: [sized(extraData), KEYS_SCHEME, formatSelections(selections)],
    read: readSigned,
  });

/** §18.2: `key` says that `object` is in the same TPM, and what it is. */
export const certify = (object: number, key: number, extraData: Uint8Array): Command<SignedAttest> =>
  command({
    name: 'Certify',
    code: 0x148,
    handles: [object, key],
    auths: [EMPTY_PASSWORD, EMPTY_PASSWORD],
    parameters: [sized(extraData), KEYS_SCHEME],
    read: readSigned,
  });

/** §20.2. Unrestricted keys only: a digest that the TPM did not make itself. @returns TPMT_SIGNATURE */
export const sign = (key: number, digest: Uint8Array): Command<Buffer> =>
  command({
    name: 'Sign',
    code: 0x15d,
    handles: [key],
    auths: [EMPTY_PASSWORD],
    parameters: [sized(digest), KEYS_SCHEME, NO_TICKET],
    read: (r) => Buffer.from(r.rest()),
  });
/** TPMT_TK_HASHCHECK that proves nothing. */
const NO_TICKET = Buffer.concat([u16(0x8024), u32(RH_NULL), u16(0)]);
