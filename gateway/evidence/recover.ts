import { describe, Fatal, MalformedBytes } from '../core/errors.ts';
import { equalBytes } from '../core/bytes.ts';
import type { Checkpoint } from '../tlog/checkpoint.ts';
import { Frontier } from '../tlog/frontier.ts';
import { leafTextInPlace, type HashText } from '../tlog/hash.ts';
import { readRoot } from '../tlog/proof.ts';
import { coreOf, findBlock, forEachFrame, readBlock, type Block } from './block.ts';
import { decodeCore } from './codec.ts';
import { HashStore, HASHES_FILE } from './hash-store.ts';
import { RunningExchanges } from './running.ts';
import { firstOfSegment, readSegmentHead, type SegmentHead } from './segment.ts';
import { appendFile, lookAt, type Storage } from './storage.ts';

/** Torn bytes, kept until a `boot` record tells of them. */
export const TORN_FILE = 'torn';

export interface Recovered {
  readonly frontier: Frontier;
  readonly running: RunningExchanges;
  readonly hashes: HashStore;
  /** Bytes behind the last whole block, now in {@link TORN_FILE}. */
  readonly tornBytes: number;
}

/**
 * Finds out what is durable in the folder of an epoch. Only a torn tail is taken away, and it is kept aside: anything
 * else that is wrong is damage or tampering, and a log that went on from there would cover it up.
 * @throws Fatal
 */
export async function recover(storage: Storage, dir: string, origin: string): Promise<Recovered> {
  const names = (await storage.list(dir)).filter((name) => firstOfSegment(name) !== undefined);
  const { scan, head } = await lastWithBlocks(storage, dir, names);
  if (head !== undefined && head.origin !== origin) throw new Fatal(`${dir}: belongs to ${head.origin}`);
  const frontier = scan.frontier;
  let hashes = head === undefined ? undefined : await openHashes(storage, dir, head.frontier);
  if (hashes === undefined) {
    // Lost or never synced: derived data, hashed anew from all segments.
    hashes = await HashStore.create(storage, `${dir}/${HASHES_FILE}`);
    for (const name of names) await rehash(storage, dir, name, hashes, frontier.size);
  } else {
    scan.settled.forEach(hashes.add);
  }
  return { frontier, running: scan.running, hashes, tornBytes: await setTornAside(storage, dir, scan.torn) };
}

/**
 * Compares what was found with a tree head that was signed before.
 * @throws Fatal the log was rolled back or replaced
 */
export async function requireAtLeast(recovered: Recovered, signed: Checkpoint, where: string): Promise<void> {
  const { frontier, hashes } = recovered;
  if (frontier.size < signed.size) {
    throw new Fatal(
      `${where} says ${signed.size} records were signed, the log holds ${frontier.size}: it was rolled back, or its end ` +
        'is damaged. Bring the lost records back, or start the next epoch of the log and tell your peers and auditors',
    );
  }
  const root = await readRoot(signed.size, (indices) => hashes.read(indices));
  if (!equalBytes(root, signed.root)) {
    throw new Fatal(
      `${where} signed another tree of ${signed.size} records: these are not the records it was made of`,
    );
  }
}

interface Torn {
  readonly path: string;
  readonly from: number;
  readonly bytes: Buffer;
}

interface Scan {
  readonly frontier: Frontier;
  readonly running: RunningExchanges;
  /** Hashes that the segment's records settled, in order. */
  readonly settled: HashText[];
  readonly blocks: number;
  readonly torn: Torn[];
}

/** The newest segment that holds anything; those after it are the leavings of starts that died before their first record. */
async function lastWithBlocks(
  storage: Storage,
  dir: string,
  names: readonly string[],
): Promise<{ scan: Scan; head: SegmentHead | undefined }> {
  const torn: Torn[] = [];
  for (const name of names.toReversed()) {
    const path = `${dir}/${name}`;
    const { head, scan } = await scanSegment(storage, path);
    if (head.frontier.size !== firstOfSegment(name))
      throw new Fatal(`${path}: the name is not the first index`);
    torn.push(...scan.torn);
    if (scan.blocks > 0 || head.frontier.size === 0n) return { scan: { ...scan, torn }, head };
  }
  if (names.length > 0) throw new Fatal(`${dir}: the segments with records are missing`);
  return {
    scan: { frontier: new Frontier(), running: new RunningExchanges(), settled: [], blocks: 0, torn },
    head: undefined,
  };
}

async function scanSegment(storage: Storage, path: string): Promise<{ head: SegmentHead; scan: Scan }> {
  const found = await lookAt(storage, path, (bytes) => scanned(bytes, path));
  if (found === undefined) throw new Fatal(`${path} has gone`);
  return found;
}

function scanned(bytes: Buffer, path: string): { head: SegmentHead; scan: Scan } {
  const { head, end } = readHeadOrDie(bytes, path);
  const frontier = head.frontier.clone();
  const running = new RunningExchanges(head.running);
  const settled: HashText[] = [];
  let at = end;
  let blocks = 0;
  for (let block = blockOrNone(bytes, at); block !== undefined; block = blockOrNone(bytes, at)) {
    absorb(block, frontier, running, settled, path);
    at += block.length;
    blocks += 1;
  }
  const rest = withoutTrailingZeros(bytes.subarray(at));
  const next = findBlock(rest, 0);
  if (next >= 0) {
    // A block is begun when the one before is on disk: a whole one behind a bad one means the bad one was good once.
    throw new Fatal(
      `${path}: damaged at byte ${at}, record ${frontier.size}; a whole block follows at byte ${at + next}`,
    );
  }
  const torn = rest.length === 0 ? [] : [{ path, from: at, bytes: Buffer.from(rest) }];
  return { head, scan: { frontier, running, settled, blocks, torn } };
}

function readHeadOrDie(bytes: Buffer, path: string): { head: SegmentHead; end: number } {
  try {
    return readSegmentHead(bytes);
  } catch (cause) {
    // A segment gets its name when its head is on disk.
    throw new Fatal(`${path}: ${describe(cause)}`, { cause });
  }
}

function blockOrNone(bytes: Buffer, at: number): Block | undefined {
  try {
    return readBlock(bytes, at);
  } catch (cause) {
    if (cause instanceof MalformedBytes) return undefined;
    throw cause;
  }
}

function absorb(
  block: Block,
  frontier: Frontier,
  running: RunningExchanges,
  settled: HashText[],
  path: string,
): void {
  const where = `${path}: block at byte ${block.offset}`;
  if (block.first !== frontier.size)
    throw new Fatal(`${where} begins with record ${block.first}, not ${frontier.size}`);
  try {
    forEachFrame(block, (prefixed) => {
      frontier.append(leafTextInPlace(prefixed), (hash) => settled.push(hash));
      running.note(decodeCore(coreOf(prefixed)));
    });
  } catch (cause) {
    throw new Fatal(`${where}: ${describe(cause)}`, { cause });
  }
  if (!equalBytes(frontier.digest(), block.frontierDigest)) {
    throw new Fatal(`${where}: its records are not those that were written`);
  }
}

function openHashes(storage: Storage, dir: string, at: Frontier): Promise<HashStore | undefined> {
  return HashStore.open(storage, `${dir}/${HASHES_FILE}`, at);
}

async function rehash(
  storage: Storage,
  dir: string,
  name: string,
  hashes: HashStore,
  size: bigint,
): Promise<void> {
  const first = firstOfSegment(name);
  if (first === undefined || first >= size) return;
  const { scan } = await scanSegment(storage, `${dir}/${name}`);
  scan.settled.forEach(hashes.add);
}

function withoutTrailingZeros(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return bytes.subarray(0, end);
}

/** Moves torn bytes out of the segments. A crash on the way leaves them in both places: counted twice, never lost. */
async function setTornAside(storage: Storage, dir: string, torn: readonly Torn[]): Promise<number> {
  for (const { path, from, bytes } of torn) {
    await appendFile(storage, `${dir}/${TORN_FILE}`, bytes);
    const file = await storage.open(path, 'write');
    try {
      await file.truncate(from);
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await storage.syncDir(dir);
  return (await storage.readFile(`${dir}/${TORN_FILE}`))?.length ?? 0;
}
