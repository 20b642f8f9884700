// C2SP tlog-proof: a receipt that checks offline against the log's key alone.
import { base64, fromBase64 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { openCheckpoint, type Checkpoint } from './checkpoint.ts';
import { HASH_BYTES, leafHash } from './hash.ts';
import type { NoteVerifier } from './note.ts';
import { verifyInclusion } from './proof.ts';

const FIRST_LINE = 'c2sp.org/tlog-proof@v1';

/** A path is never longer than the bits of a tree size. */
const MAX_PATH = 63;

export interface TlogProof {
  /** Not covered by the proof; we put the record itself here. */
  readonly extra?: Buffer;
  readonly index: bigint;
  readonly path: readonly Buffer[];
  /** Signed note, verbatim. */
  readonly checkpoint: string;
}

export function formatTlogProof({ extra, index, path, checkpoint }: TlogProof): string {
  const lines = [FIRST_LINE];
  if (extra !== undefined) lines.push(`extra ${base64(extra)}`);
  lines.push(`index ${index}`, ...path.map(base64), '', checkpoint);
  return lines.join('\n');
}

/** Accepts exactly what {@link formatTlogProof} writes. @throws MalformedBytes */
export function parseTlogProof(text: string): TlogProof {
  const blank = text.indexOf('\n\n');
  if (blank < 0) throw new MalformedBytes('not a tlog proof: no checkpoint');
  const lines = text.slice(0, blank).split('\n');
  if (lines.shift() !== FIRST_LINE) throw new MalformedBytes('not a tlog proof');
  const extra =
    lines[0]?.startsWith('extra ') === true ? fromBase64(lines.shift()?.slice(6) ?? '') : undefined;
  const index = /^index (0|[1-9]\d{0,18})$/.exec(lines.shift() ?? '')?.[1];
  if (index === undefined || lines.length > MAX_PATH)
    throw new MalformedBytes('tlog proof without an index or too long');
  const path = lines.map((line) => {
    const hash = fromBase64(line);
    if (hash?.length !== HASH_BYTES) throw new MalformedBytes('tlog proof with a line that is no hash');
    return hash;
  });
  const checkpoint = text.slice(blank + 2);
  const proof = { ...(extra === undefined ? {} : { extra }), index: BigInt(index), path, checkpoint };
  if (formatTlogProof(proof) !== text) throw new MalformedBytes('not the one spelling of a tlog proof');
  return proof;
}

/**
 * Checks that the log whose key we know holds the entry.
 * @returns the tree head the proof leads to
 * @throws MalformedBytes
 */
export function verifyTlogProof(
  proof: TlogProof,
  entry: Uint8Array,
  verifiers: readonly NoteVerifier[],
): Checkpoint {
  const checkpoint = openCheckpoint(proof.checkpoint, verifiers);
  verifyInclusion(leafHash(entry), proof.index, checkpoint.size, proof.path, checkpoint.root);
  return checkpoint;
}
