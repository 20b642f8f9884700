import { MalformedBytes } from '../core/errors.ts';
import { sha256Base64url } from '../core/bytes.ts';
import type { CoreRecord, PartClass, PartCommitment, RecordDraft } from './record.ts';

/** A tile entry's hard limit (C2SP tlog-tiles). Attackers choose some of the texts in a record. */
export const MAX_CORE_BYTES = 65_535;
export const MAX_PART_BYTES = 1 << 18;
export const SALT_BYTES = 16;

/** In the order of their numbers on disk: new ones go to the end. */
export const PART_CLASSES = ['meta', 'input', 'subject', 'device'] as const satisfies readonly PartClass[];

/** Bytes of a part with the salt that keeps its commitment from being guessed. */
export interface SaltedPart {
  readonly salt: Buffer;
  readonly bytes: Uint8Array;
}

export type SaltedParts = { readonly [K in PartClass]?: SaltedPart };

export const commitmentOf = ({ salt, bytes }: SaltedPart): PartCommitment => ({
  c: sha256Base64url(salt, bytes),
  n: bytes.length,
});

/** The text of a leaf. What is hashed, stored and exported is this text and never a re-serialisation. */
export function encodeCore(draft: RecordDraft, parts: SaltedParts): string {
  let commitments = '';
  for (const name of PART_CLASSES) {
    const part = parts[name];
    if (part === undefined) continue;
    const { c, n } = commitmentOf(part);
    commitments += `${commitments === '' ? '' : ','}"${name}":{"c":"${c}","n":${n}}`; // base64url: nothing to escape
  }
  // A record has a dozen members or two: `v` and `parts` are written beside it, which costs less than a copy of it.
  const members = JSON.stringify(draft).slice(1, -1);
  return commitments === '' ? `{"v":1,${members}}` : `{"v":1,${members},"parts":{${commitments}}}`;
}

/**
 * Reads a leaf. Only what every record has is checked here; a reader of other members checks those.
 * @throws MalformedBytes
 */
export function decodeCore(bytes: Uint8Array): CoreRecord {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new MalformedBytes(`record is not JSON: ${String(cause)}`);
  }
  if (!isRecord(value)) throw new MalformedBytes('record lacks v, k or at');
  return value;
}

function isRecord(value: unknown): value is CoreRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { v, k, at } = value as Partial<Record<'v' | 'k' | 'at', unknown>>; // any object may be asked for any member
  return v === 1 && typeof k === 'string' && Number.isSafeInteger(at);
}
