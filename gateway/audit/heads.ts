import { equalBytes } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { CHECKPOINT_FILE, HISTORY_FILE } from '../evidence/checkpointer.ts';
import { headsIn } from '../evidence/head-file.ts';
import { openCheckpoint, type Checkpoint } from '../tlog/checkpoint.ts';
import type { EpochFolder, ReadStorage } from './folder.ts';
import type { HashedLog } from './hash-pass.ts';
import { MAX_HEAD_BYTES, readBounded, readPiece } from './small-file.ts';
import type { Step } from './report.ts';
import type { TrustedLog } from './trust-file.ts';

/** Every head the log has kept of itself, each checked against its key. */
export async function readOwnHeads(
  storage: ReadStorage,
  { path, head }: EpochFolder,
  log: TrustedLog | undefined,
  step: Step,
): Promise<Checkpoint[]> {
  const heads: Checkpoint[] = [];
  const read = (where: string, note: string | undefined): void => {
    try {
      if (note === undefined) throw new MalformedBytes('missing or cut off');
      if (log === undefined) throw new MalformedBytes('no key to check it with');
      heads.push(openCheckpoint(note, [log.verifier]));
    } catch (cause) {
      if (!(cause instanceof MalformedBytes)) throw cause;
      step.find('fail', 'head', `${where}: ${cause.message}`);
    }
  };
  const readFrom = async (where: string, notes: () => Promise<readonly (string | undefined)[]>) => {
    try {
      for (const note of await notes()) read(where, note);
    } catch (cause) {
      if (!(cause instanceof MalformedBytes)) throw cause;
      step.find('fail', 'head', `${where}: ${cause.message}`);
    }
  };
  let line = 0;
  await readFrom(HISTORY_FILE, async () => {
    for await (const text of linesOf(storage, `${path}/${HISTORY_FILE}`)) {
      line += 1;
      if (text.endsWith('\n')) read(`${HISTORY_FILE}, line ${line}`, parseLine(text.slice(0, -1)));
      else read(`${HISTORY_FILE}, its last line`, undefined);
    }
    return [];
  });
  await readFrom(CHECKPOINT_FILE, async () => [await textOf(storage, `${path}/${CHECKPOINT_FILE}`)]);
  if (head !== undefined) await readFrom('head', () => headsOf(storage, head));
  return heads;
}

/** A log that runs may be writing one of them: looked at again, it is whole. */
async function headsOf(storage: ReadStorage, path: string): Promise<(string | undefined)[]> {
  for (let look = 1; ; look += 1) {
    const file = await readBounded(storage, path, MAX_HEAD_BYTES);
    const heads = file === undefined ? [] : headsIn(file);
    if (look === MOST_LOOKS || !heads.includes(undefined)) return heads;
  }
}

const MOST_LOOKS = 3;

const textOf = async (storage: ReadStorage, path: string): Promise<string | undefined> =>
  (await readBounded(storage, path, MAX_HEAD_BYTES))?.toString('utf8');

/**
 * Lines of a file of any length, with their line feeds; the last one may have none.
 * @throws MalformedBytes a line is longer than any of ours, or the file cannot be read
 */
async function* linesOf(storage: ReadStorage, path: string): AsyncGenerator<string> {
  let rest = Buffer.alloc(0);
  for (let position = 0; ;) {
    const piece = await readPiece(storage, path, position);
    position += piece.length;
    rest = Buffer.concat([rest, piece]);
    let from = 0;
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a, from)) {
      yield rest.toString('utf8', from, end + 1);
      from = end + 1;
    }
    rest = rest.subarray(from);
    if (rest.length > MAX_HEAD_BYTES) throw new MalformedBytes('a line is longer than a head can be');
    if (piece.length === 0) break;
  }
  if (rest.length > 0) yield rest.toString('utf8');
}

/** A signed head is the log's promise: at that size, that root. */
export function compareHead(
  step: Step,
  { size, root }: Checkpoint,
  { frontier, roots, damage }: HashedLog,
): void {
  const found = roots.get(size);
  if (found !== undefined && equalBytes(found, root)) step.checked += 1;
  else if (found !== undefined) {
    step.find('fail', 'fork', `the signed tree of ${size} records is another one than these records make`);
  } else if (damage === undefined) {
    step.find('fail', 'cut off', `${size} records were signed, ${frontier.size} are there`);
  } else {
    step.find(
      'fail',
      'damaged',
      `the signed tree of ${size} records cannot be rebuilt beyond record ${damage.index}`,
    );
  }
}

function parseLine(line: string): string | undefined {
  try {
    const note: unknown = JSON.parse(line);
    return typeof note === 'string' && JSON.stringify(note) === line ? note : undefined;
  } catch {
    return undefined;
  }
}
