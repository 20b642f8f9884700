import { ConfigError } from '../core/errors.ts';
import { inWords } from '../core/file-errors.ts';
import { firstOfSegment } from '../evidence/segment.ts';
import type { Storage, StorageFile } from '../evidence/storage.ts';

/** All an auditor does with a disk. */
export type ReadStorage = Pick<Storage, 'list' | 'readFile'> & {
  open(path: string, mode: 'read'): Promise<Pick<StorageFile, 'size' | 'read' | 'close'>>;
};

/** One epoch of a log on disk, perhaps a copy without keys. */
export interface EpochFolder {
  readonly path: string;
  readonly segments: readonly string[];
  /** Where part keys are, if they are anywhere. */
  readonly keys: string;
  /** Where the newest signed head is kept a second time; only the newest epoch has one. */
  readonly head: string | undefined;
}

/**
 * Finds the epochs in a log's folder, oldest first; or the one epoch that the folder itself is. A gateway with several
 * workers has a log for each, in folders `w1`, `w2` and so on: theirs are found too.
 */
export async function findEpochs(storage: ReadStorage, path: string): Promise<EpochFolder[]> {
  const names = await storage.list(path);
  const workers = names
    .filter((name) => /^w[1-9]\d?$/.test(name))
    .toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const own = await epochsOf(storage, path, names);
  const theirs = await Promise.all(
    workers.map(async (name) => epochsOf(storage, `${path}/${name}`, await storage.list(`${path}/${name}`))),
  );
  return [...own, ...theirs.flat()];
}

/**
 * As {@link findEpochs}, where there must be one: a path that was mistyped must not look like a log without a fault.
 * @param none told what is wrong with the path, and what to give instead; then there are no epochs
 */
export async function epochsAt(
  storage: ReadStorage,
  path: string,
  none: (why: string) => void,
): Promise<EpochFolder[]> {
  let epochs: EpochFolder[] = [];
  try {
    epochs = await findEpochs(storage, path);
    if (epochs.length === 0) none(await insteadOf(storage, path));
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause;
    none(`${path}: ${inWords(cause)}`);
  }
  return epochs;
}

/** @throws ConfigError */
export const requireEpochs = (storage: ReadStorage, path: string): Promise<EpochFolder[]> =>
  epochsAt(storage, path, (why) => {
    throw new ConfigError([why]);
  });

async function insteadOf(storage: ReadStorage, path: string): Promise<string> {
  const below: string[] = [];
  for (const name of (await storage.list(path)).slice(0, MOST_NAMES)) {
    const folder = `${path}/${name}`;
    const has = await findEpochs(storage, folder).catch(() => []); // a file, for one
    if (has.length > 0) below.push(folder);
  }
  const instead = below.length > 0 ? below.join(', ') : 'the folder that has epoch-1 in it';
  return `${path}: holds no log; give ${instead}  此資料夾沒有日誌`;
}

/** In a folder that is not a log's, how many names are looked at for one. */
const MOST_NAMES = 200;

async function epochsOf(
  storage: ReadStorage,
  path: string,
  names: readonly string[],
): Promise<EpochFolder[]> {
  const segments = segmentsOf(names, path);
  if (segments.length > 0) return [{ path, segments, keys: `${path}/../keys`, head: undefined }];
  const numbers = names
    .map((name) => Number(/^epoch-([1-9]\d{0,8})$/.exec(name)?.[1]))
    .filter((epoch) => !Number.isNaN(epoch))
    .toSorted((a, b) => a - b);
  const epochs: EpochFolder[] = [];
  for (const number of numbers) {
    const epoch = `${path}/epoch-${number}`;
    epochs.push({
      path: epoch,
      segments: await listSegments(storage, epoch),
      keys: `${path}/keys`,
      head: number === numbers.at(-1) ? `${path}/head` : undefined,
    });
  }
  return epochs;
}

/** Segments of an epoch as they are now, oldest first. */
export const listSegments = async (storage: ReadStorage, path: string): Promise<string[]> =>
  segmentsOf(await storage.list(path), path);

const segmentsOf = (names: readonly string[], path: string): string[] =>
  names
    .filter((name) => firstOfSegment(name) !== undefined)
    .toSorted()
    .map((name) => `${path}/${name}`);
