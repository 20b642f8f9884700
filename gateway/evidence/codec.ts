import { MalformedBytes } from '../core/errors.ts';
import { sha256Base64url } from '../core/bytes.ts';
import type { CoreRecord, PartClass, PartCommitment, RecordDraft } from './record.ts';

/** A tile entry's hard limit (C2SP tlog-tiles). Attackers choose some of the texts in a record. */
export const MAX_CORE_BYTES = 65_535;
export const MAX_PART_BYTES = 1 << 18;
export const SALT_BYTES = 16;

/** In the order of their numbers on disk: new ones go to the end. */
export const PART_CLASSES = ['meta', 'input', 'subject', 'device'] as const satisfies readonly PartClass[];

/** A part behind the salt that keeps its commitment from being guessed. */
export type SaltedPart = Uint8Array;

export const commitmentOf = (salted: SaltedPart): PartCommitment => ({
  c: sha256Base64url(salted),
  n: salted.length - SALT_BYTES,
});

/**
 * The text of a leaf, in pieces. What is hashed, stored and exported is this text and never a re-serialisation.
 * @param members what {@link membersOf} says of the draft
 * @param commitments what {@link commitmentText} says of each part, with commas between
 */
export const coreText = (members: readonly string[], commitments: string): readonly string[] => [
  '{"v":1,',
  ...members,
  commitments === '' ? '}' : `,"parts":{${commitments}}}`,
];

/** The JSON of a record's members, without the braces: `v` and the commitments are written beside them. */
export const membersOf = (draft: RecordDraft): readonly string[] => [JSON.stringify(draft).slice(1, -1)];

/** Most that the commitments of all classes add to a record. */
export const MAX_COMMITMENTS_BYTES = 100 * PART_CLASSES.length;

export function commitmentText(name: PartClass, salted: SaltedPart): string {
  const { c, n } = commitmentOf(salted);
  return `"${name}":{"c":"${c}","n":${n}}`; // base64url: nothing to escape
}

/**
 * Reads a leaf. Only what every record has is checked here; a reader of other members checks those.
 * @throws MalformedBytes
 */
export const decodeCore = (bytes: Uint8Array): CoreRecord => decodeCoreText(bytes).core;

/** The same, with the text that was read. @throws MalformedBytes */
export function decodeCoreText(bytes: Uint8Array): { readonly core: CoreRecord; readonly text: string } {
  let text: string;
  let value: unknown;
  try {
    text = STRICT.decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw new MalformedBytes(`record is not JSON: ${String(cause)}`);
  }
  if (!isRecord(value)) throw new MalformedBytes('record lacks v, k or at');
  return { core: value, text };
}

/** Different bytes are different texts: what is not UTF-8 is refused, and a byte order mark stays. */
const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function isRecord(value: unknown): value is CoreRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { v, k, at } = value as Partial<Record<'v' | 'k' | 'at', unknown>>; // any object may be asked for any member
  return v === 1 && typeof k === 'string' && Number.isSafeInteger(at);
}
