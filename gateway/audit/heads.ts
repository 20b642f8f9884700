import { equalBytes } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { CHECKPOINT_FILE, HISTORY_FILE } from '../evidence/checkpointer.ts';
import { headsIn } from '../evidence/head-file.ts';
import { openCheckpoint, type Checkpoint } from '../tlog/checkpoint.ts';
import type { EpochFolder, ReadStorage } from './folder.ts';
import type { HashedLog } from './hash-pass.ts';
import type { Step } from './report.ts';
import type { TrustedLog } from './trust-file.ts';

/** Every head the log has kept of itself, each checked against its key. */
export async function readOwnHeads(
  storage: ReadStorage,
  { path, head }: EpochFolder,
  log: TrustedLog | undefined,
  step: Step,
): Promise<Checkpoint[]> {
  const history = (await storage.readFile(`${path}/${HISTORY_FILE}`))?.toString('utf8') ?? '';
  const notes: (readonly [where: string, note: string | undefined])[] = [
    ...history
      .split('\n')
      .slice(0, -1)
      .map((line, i) => [`${HISTORY_FILE}, line ${i + 1}`, parseLine(line)] as const),
    [CHECKPOINT_FILE, (await storage.readFile(`${path}/${CHECKPOINT_FILE}`))?.toString('utf8')],
  ];
  if (head !== undefined)
    notes.push(...(await headsOf(storage, head)).map((note) => ['head', note] as const));
  if (!history.endsWith('\n') && history !== '') notes.push([`${HISTORY_FILE}, its last line`, undefined]);
  const heads: Checkpoint[] = [];
  for (const [where, note] of notes) {
    try {
      if (note === undefined) throw new MalformedBytes('missing or cut off');
      if (log === undefined) throw new MalformedBytes('no key to check it with');
      heads.push(openCheckpoint(note, [log.verifier]));
    } catch (cause) {
      if (!(cause instanceof MalformedBytes)) throw cause;
      step.find('fail', 'head', `${where}: ${cause.message}`);
    }
  }
  return heads;
}

/** A log that runs may be writing one of them: looked at again, it is whole. */
async function headsOf(storage: ReadStorage, path: string): Promise<(string | undefined)[]> {
  for (let look = 1; ; look += 1) {
    const file = await storage.readFile(path);
    const heads = file === undefined ? [] : headsIn(file);
    if (look === MOST_LOOKS || !heads.includes(undefined)) return heads;
  }
}

const MOST_LOOKS = 3;

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
