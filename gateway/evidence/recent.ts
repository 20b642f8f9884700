import type { EpochMs } from '../core/clock.ts';
import { MalformedBytes } from '../core/errors.ts';
import { coreOf, forEachFrame, readBlock, type Block } from './block.ts';
import { decodeCore } from './codec.ts';
import type { SeenExchange } from './contract.ts';
import type { CoreRecord } from './record.ts';
import { firstOfSegment, readSegmentHead } from './segment.ts';
import { lookAt, type Storage } from './storage.ts';

/** Exchange ids in `open` and `req.final` records since a time, oldest first. Reads segments from the newest back. */
export async function recentExchanges(
  storage: Storage,
  dir: string,
  since: EpochMs,
): Promise<SeenExchange[]> {
  const names = (await storage.list(dir)).filter((name) => firstOfSegment(name) !== undefined);
  const newestFirst: SeenExchange[][] = [];
  for (const name of names.toReversed()) {
    const found = await lookAt(storage, `${dir}/${name}`, (bytes) => seenIn(bytes, since));
    if (found === undefined) continue;
    newestFirst.push(found.seen);
    if (found.older) break;
  }
  return newestFirst.toReversed().flat();
}

/** The newest record of a kind. Reads segments from the newest back, to the first that has one; decodes no other record. */
export async function newestRecord<K extends CoreRecord['k']>(
  storage: Storage,
  dir: string,
  kind: K,
): Promise<Extract<CoreRecord, { readonly k: K }> | undefined> {
  const is = (record: CoreRecord): record is Extract<CoreRecord, { readonly k: K }> => record.k === kind;
  const mark = Buffer.from(`"k":"${kind}"`);
  const names = (await storage.list(dir)).filter((name) => firstOfSegment(name) !== undefined);
  for (const name of names.toReversed()) {
    const newest = await lookAt(storage, `${dir}/${name}`, (bytes) => newestIn(bytes, mark, is));
    if (newest !== undefined) return newest;
  }
  return undefined;
}

function newestIn<R extends CoreRecord>(
  bytes: Buffer,
  mark: Buffer,
  is: (record: CoreRecord) => record is R,
): R | undefined {
  let newest: R | undefined;
  let at = readSegmentHead(bytes).end;
  for (let block = blockOrNone(bytes, at); block !== undefined; block = blockOrNone(bytes, at)) {
    at += block.length;
    forEachFrame(block, (prefixed) => {
      if (!prefixed.includes(mark)) return;
      const record = decodeCore(coreOf(prefixed));
      if (is(record)) newest = record;
    });
  }
  return newest;
}

function blockOrNone(bytes: Buffer, at: number): Block | undefined {
  if (at >= bytes.length || bytes[at] === 0) return undefined;
  try {
    return readBlock(bytes, at);
  } catch (cause) {
    if (cause instanceof MalformedBytes) return undefined;
    throw cause;
  }
}

/** `older`: something in the segment is older than the time, so nothing before the segment can matter. */
function seenIn(bytes: Buffer, since: EpochMs): { seen: SeenExchange[]; older: boolean } {
  const seen: SeenExchange[] = [];
  let older = false;
  let at = readSegmentHead(bytes).end;
  // Behind the last block are zeros, or what was being written: neither is durable.
  for (let block = blockOrNone(bytes, at); block !== undefined; block = blockOrNone(bytes, at)) {
    at += block.length;
    forEachFrame(block, (prefixed) => {
      const record = decodeCore(coreOf(prefixed));
      if (record.at < since) older = true;
      else if (record.k === 'open' || record.k === 'req.final') {
        const { x, role, peer, kid, usr } = record;
        seen.push({
          x,
          at: record.at,
          role,
          ...(peer === undefined ? {} : { peer }),
          ...(kid === undefined ? {} : { kid }),
          ...(usr === undefined ? {} : { once: usr.once }),
        });
      }
    });
  }
  return { seen, older };
}
