// C2SP tlog-checkpoint v1.0.0: a signed note whose text is origin, tree size and root hash. No extension lines: witnesses
// make no statement about them.
import { base64, fromBase64 } from '../core/bytes.ts';
import { MalformedBytes, quoted } from '../core/errors.ts';
import { HASH_BYTES } from './hash.ts';
import { openNote, signNote, type NoteSigner, type NoteVerifier } from './note.ts';

/** Sizes of other people's logs may be anything a 64-bit counter holds. */
const MAX_SIZE = (1n << 63n) - 1n;

export interface Checkpoint {
  readonly origin: string;
  readonly size: bigint;
  readonly root: Buffer;
}

export const formatCheckpoint = ({ origin, size, root }: Checkpoint): string =>
  `${origin}\n${size}\n${base64(root)}\n`;

/** Accepts exactly what {@link formatCheckpoint} writes: one text per tree head. @throws MalformedBytes */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', rootText = ''] = text.split('\n', 3);
  const root = fromBase64(rootText);
  if (origin === '' || !/^\d{1,19}$/.test(size) || root?.length !== HASH_BYTES) {
    throw new MalformedBytes(`not a checkpoint: ${quoted(text)}`);
  }
  const checkpoint = { origin, size: BigInt(size), root };
  if (checkpoint.size > MAX_SIZE || formatCheckpoint(checkpoint) !== text) {
    throw new MalformedBytes(`not the one spelling of a checkpoint: ${quoted(text)}`);
  }
  return checkpoint;
}

/** Signs a tree head under its origin as the key's name. */
export function signCheckpoint(checkpoint: Checkpoint, signer: NoteSigner): string {
  if (signer.name !== checkpoint.origin) throw new TypeError('a log signs under its own origin');
  return signNote(formatCheckpoint(checkpoint), [signer]);
}

/**
 * Checks a checkpoint that the log itself has signed; cosignatures alone would not make it the log's.
 * @throws MalformedBytes
 */
export function openCheckpoint(note: string, verifiers: readonly NoteVerifier[]): Checkpoint {
  const { text, signedBy } = openNote(note, verifiers);
  const checkpoint = parseCheckpoint(text);
  if (!signedBy.some(({ name }) => name === checkpoint.origin)) {
    throw new MalformedBytes(`checkpoint of ${quoted(checkpoint.origin)} is not signed by that log`);
  }
  return checkpoint;
}
