// TPMS_ATTEST, TPM 2.0 Library Part 2 §10.12: what a restricted key signs about its own TPM.
import { hex } from './algorithm.ts';
import { ByteReader } from './cursor.ts';
import { type PcrSelection, readSelections } from './pcr.ts';

/** TPM_GENERATED_VALUE: a restricted key signs nothing that begins so unless the TPM made it. */
export const TPM_GENERATED = 0xff544347;

export const ATTEST_TYPE = { nv: 0x8014, certify: 0x8017, quote: 0x8018, creation: 0x801a } as const;

export interface ClockInfo {
  /** Milliseconds that the TPM was powered. Goes back after an unclean stop; compare within one boot only. */
  readonly clock: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  /** False for up to 70 minutes after an unclean stop: `clock` may have had larger values before. */
  readonly safe: boolean;
}

interface AttestCommon {
  /** Qualified name of the signing key. */
  readonly qualifiedSigner: Uint8Array;
  /** What the caller of the TPM put in: our nonce and all that is bound with it. */
  readonly extraData: Uint8Array;
  readonly clockInfo: ClockInfo;
  readonly firmwareVersion: bigint;
}

export type Attest = AttestCommon &
  (
    | { readonly type: 'quote'; readonly selections: readonly PcrSelection[]; readonly pcrDigest: Uint8Array }
    | { readonly type: 'certify'; readonly name: Uint8Array; readonly qualifiedName: Uint8Array }
    | { readonly type: 'creation'; readonly name: Uint8Array; readonly creationHash: Uint8Array }
    | {
        readonly type: 'nv';
        readonly indexName: Uint8Array;
        readonly offset: number;
        readonly contents: Uint8Array;
      }
  );

/** Algorithm and SHA-512, the longest. */
const MAX_NAME = 66;
const MAX_DIGEST = 64;
/** TPM2B_DATA holds a TPMT_HA. */
const MAX_EXTRA = 66;
const MAX_NV = 2048;

/** Reads a whole TPMS_ATTEST. Verify its signature first: until then these are a stranger's words. @throws MalformedBytes */
export function parseAttest(bytes: Uint8Array): Attest {
  const r = new ByteReader(bytes, 'TPMS_ATTEST');
  if (r.u32('magic') !== TPM_GENERATED) throw r.malformed('not made by a TPM (magic)');
  const type = r.u16('type');
  const common: AttestCommon = {
    qualifiedSigner: r.sized(MAX_NAME, 'qualifiedSigner'),
    extraData: r.sized(MAX_EXTRA, 'extraData'),
    clockInfo: readClockInfo(r),
    firmwareVersion: r.u64('firmwareVersion'),
  };
  const attest = readAttested(r, type, common);
  r.finish();
  return attest;
}

function readAttested(r: ByteReader, type: number, common: AttestCommon): Attest {
  switch (type) {
    case ATTEST_TYPE.quote:
      return {
        ...common,
        type: 'quote',
        selections: readSelections(r),
        pcrDigest: r.sized(MAX_DIGEST, 'pcrDigest'),
      };
    case ATTEST_TYPE.certify:
      return {
        ...common,
        type: 'certify',
        name: r.sized(MAX_NAME, 'name'),
        qualifiedName: r.sized(MAX_NAME, 'qualifiedName'),
      };
    case ATTEST_TYPE.creation:
      return {
        ...common,
        type: 'creation',
        name: r.sized(MAX_NAME, 'objectName'),
        creationHash: r.sized(MAX_DIGEST, 'creationHash'),
      };
    case ATTEST_TYPE.nv:
      return {
        ...common,
        type: 'nv',
        indexName: r.sized(MAX_NAME, 'indexName'),
        offset: r.u16('offset'),
        contents: r.sized(MAX_NV, 'nvContents'),
      };
    default:
      throw r.malformed(`attestation of type ${hex(type)}`);
  }
}

/** TPMS_CLOCK_INFO, Part 2 §10.11.1. */
export function readClockInfo(r: ByteReader): ClockInfo {
  return {
    clock: r.u64('clock'),
    resetCount: r.u32('resetCount'),
    restartCount: r.u32('restartCount'),
    safe: yesNo(r),
  };
}

/** TPMI_YES_NO is 0 or 1 (Part 2 §9.2); any other byte is malformed, not "truthy". */
function yesNo(r: ByteReader): boolean {
  const byte = r.u8('safe');
  if (byte > 1) throw r.malformed(`TPMI_YES_NO of ${byte}`);
  return byte === 1;
}
