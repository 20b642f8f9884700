import type { EvidenceLog, OpenLogOptions } from './contract.ts';
import { describe, Fatal } from '../core/errors.ts';
import { openCheckpoint } from '../tlog/checkpoint.ts';
import { noteSigner, parseVerifierKey, type NoteSigner } from '../tlog/note.ts';
import { CHECKPOINT_FILE, HISTORY_FILE } from './checkpointer.ts';
import { HeadFile } from './head-file.ts';
import { nodeStorage } from './node-storage.ts';
import { recover, requireAtLeast, TORN_FILE, type Recovered } from './recover.ts';
import type { RunningExchange } from './segment.ts';
import { SegmentedLog, type FoundLog } from './segmented-log.ts';
import { replaceFile, type Storage } from './storage.ts';

export type * from './contract.ts';

/** Ids that fit into one `boot` record; every exchange has an `abort` record of its own besides. */
const MAX_LISTED = 1000;
/** Records that wait for the disk together while a log begins. */
const MAX_AT_ONCE = 1000;

/**
 * Opens the log of a folder, recovering from a crash first: finds what is durable, refuses what was rolled back or
 * damaged, notes what was lost, and ends the exchanges that a crash cut off.
 * @throws Fatal the folder is in use, was rolled back, or is damaged before its tail
 */
export async function openLog(options: OpenLogOptions): Promise<EvidenceLog> {
  const storage = options.storage ?? nodeStorage(options.clock);
  await storage.makeDir(`${options.dir}/keys`);
  await storage.makeDir(`${options.dir}/peers`);
  const release = await storage.lock(`${options.dir}/lock`);
  let found: Start;
  try {
    found = await findLog(options, storage, release);
  } catch (cause) {
    release();
    throw cause;
  }
  const unfinished = found.recovered.running.list();
  const log = new SegmentedLog(options, found);
  try {
    await log.ready();
    await begin(log, options, found, unfinished);
  } catch (cause) {
    await log.abandon().catch(() => undefined); // the first error is the one to tell
    throw cause;
  }
  return log;
}

interface Start extends FoundLog {
  /** The epoch that is over, or undefined. */
  readonly givenUp: string | undefined;
  /** The head as it was found. */
  readonly lastHead: string | undefined;
}

async function findLog(options: OpenLogOptions, storage: Storage, release: () => void): Promise<Start> {
  const signer = noteSigner(options.origin, options.signingKey);
  const headFile = options.headFile ?? `${options.dir}/head`;
  const { dir, givenUp } = await chooseEpoch(storage, options);
  await storage.makeDir(dir);
  await storage.syncDir(options.dir);
  const recovered = await recover(storage, dir, options.origin);
  const head = new HeadFile(storage, headFile, await storage.readFile(headFile));
  const kept = (await storage.readFile(`${dir}/${CHECKPOINT_FILE}`))?.toString('utf8');
  if (head.note === undefined && (recovered.frontier.size > 0n || kept !== undefined)) {
    // The head is written before the first record: without one somebody took it away.
    throw new Fatal(`${headFile} is missing: whether the log was rolled back cannot be told`);
  }
  // A new epoch begins with the head of the old one, which another origin has signed.
  if (givenUp === undefined) await requireSigned(recovered, signer, headFile, head.note);
  await requireSigned(recovered, signer, `${dir}/${CHECKPOINT_FILE}`, kept);
  await cutHistory(storage, `${dir}/${HISTORY_FILE}`);
  return { storage, dir, head, signer, recovered, release, givenUp, lastHead: head.note };
}

/** The folder of the epoch to go on with, or to begin. */
async function chooseEpoch(
  storage: Storage,
  { dir, origin, newEpoch = false }: OpenLogOptions,
): Promise<{ dir: string; givenUp: string | undefined }> {
  const epoch = Number(/\/([1-9]\d{0,8})$/.exec(origin)?.[1]);
  if (Number.isNaN(epoch)) throw new Fatal(`${origin} does not end in an epoch number`);
  const path = `${dir}/epoch-${epoch}`;
  const epochs = (await storage.list(dir))
    .map((name) => /^epoch-([1-9]\d{0,8})$/.exec(name)?.[1])
    .filter((found) => found !== undefined)
    .map(Number);
  const newest = Math.max(0, ...epochs);
  if (newest === 0) return { dir: path, givenUp: undefined };
  if (epoch < newest) throw new Fatal(`epoch ${epoch} is over: ${dir} holds epoch ${newest}`);
  if (epoch === newest) {
    // Asked for again after a crash in the middle of beginning it is all right; giving up a running one is not.
    const begun = (await storage.list(path)).includes(CHECKPOINT_FILE);
    if (newEpoch && begun)
      throw new Fatal(`epoch ${epoch} has begun: a new one needs a higher number in the origin`);
    return { dir: path, givenUp: newEpoch ? 'the epoch before' : undefined };
  }
  if (!newEpoch) {
    throw new Fatal(`${dir} holds epoch ${newest}: beginning epoch ${epoch} has to be asked for`);
  }
  return { dir: path, givenUp: `epoch ${newest}` };
}

/** What was signed before must be there still. */
async function requireSigned(
  recovered: Recovered,
  signer: NoteSigner,
  where: string,
  note: string | undefined,
): Promise<void> {
  if (note === undefined) return;
  try {
    await requireAtLeast(recovered, openCheckpoint(note, [parseVerifierKey(signer.vkey)]), where);
  } catch (cause) {
    throw cause instanceof Fatal ? cause : new Fatal(`${where}: ${describe(cause)}`, { cause });
  }
}

/** A power failure may have torn the last line of the history. */
async function cutHistory(storage: Storage, path: string): Promise<void> {
  const text = await storage.readFile(path);
  if (text === undefined || text.length === 0 || text.at(-1) === 0x0a) return;
  await replaceFile(storage, path, text.subarray(0, text.lastIndexOf(0x0a) + 1));
}

/** The first records of a process: what it found, and an end for every exchange that the last one left open. */
async function begin(
  log: SegmentedLog,
  { clock, software, pid, maxQueued = MAX_AT_ONCE }: OpenLogOptions,
  { storage, dir, recovered, lastHead, givenUp }: Start,
  unfinished: readonly RunningExchange[],
): Promise<void> {
  const at = clock.now();
  const listed = unfinished.slice(0, MAX_LISTED).map(({ x }) => x);
  const { tornBytes } = recovered;
  await log.append({
    k: 'boot',
    at,
    software,
    pid,
    recovered: { size: String(log.size), tornBytes, unfinished: listed },
  });
  await storage.remove(`${dir}/${TORN_FILE}`); // a crash before this line: noted once more
  if (givenUp !== undefined) {
    await log.append({
      k: 'config',
      at,
      why: `new epoch after ${givenUp}, whose last signed head was: ${lastHead ?? 'lost'}`,
    });
  }
  // No more at a time than the queue takes: a log that refuses its own first records could never be opened again.
  const atOnce = Math.min(maxQueued, MAX_AT_ONCE);
  for (let from = 0; from < unfinished.length; from += atOnce) {
    const some = unfinished.slice(from, from + atOnce);
    await Promise.all(
      some.map((exchange) => log.append({ k: 'abort', at, ...exchange, out: 'gateway.crashed' })),
    );
  }
  await log.settle();
}
