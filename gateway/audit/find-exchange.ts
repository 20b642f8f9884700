import { MalformedBytes } from '../core/errors.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { CoreRecord } from '../evidence/record.ts';
import type { CoveredUntil } from './coverage.ts';
import {
  exchangeIdOf,
  exchangeRecord,
  forEachRecord,
  readCore,
  type ExchangeRecord,
  type LoggedRecord,
} from './records.ts';
import { SegmentReader } from './segment-reader.ts';
import type { ShownLog } from './shown-log.ts';

/** A record of an exchange that is looked for. */
export interface Found {
  readonly log: ShownLog;
  readonly logged: LoggedRecord;
  readonly record: ExchangeRecord;
}

/** Exchanges of that id, in either spelling, and those that a client called by it: clients like UUIDs, too. */
export async function idsOf(
  name: string,
  logs: readonly ShownLog[],
  covered: CoveredUntil,
): Promise<ExchangeId[]> {
  const ids = new Set<ExchangeId>();
  const exchangeId = exchangeIdOf(name);
  const texts = [name, ...(exchangeId === undefined ? [] : [exchangeId])].map((text) => JSON.stringify(text));
  const visit = ({ record }: Found): void => {
    if (record.xid === name || record.x === exchangeId) ids.add(record.x);
  };
  await search(texts, logs, visit, (log, last) => {
    if (log.trusted !== undefined) covered.note(log.trusted, last);
  });
  return [...ids];
}

/** All records of those exchanges. */
export async function recordsOf(ids: readonly ExchangeId[], logs: readonly ShownLog[]): Promise<Found[]> {
  const found: Found[] = [];
  if (ids.length === 0) return found;
  await search(
    ids.map((id) => JSON.stringify(id)),
    logs,
    (one) => {
      if (ids.includes(one.record.x)) found.push(one);
    },
  );
  return found;
}

/**
 * Looks for the texts in the bytes first: reading JSON is for the few records that have one.
 * @param ended told the last record of each log
 */
async function search(
  texts: readonly string[],
  logs: readonly ShownLog[],
  visit: (found: Found) => void,
  ended?: (log: ShownLog, last: CoreRecord) => void,
): Promise<void> {
  for (const log of logs) {
    let last: Buffer | undefined;
    const find = (logged: LoggedRecord): void => {
      last = logged.bytes;
      if (!texts.some((text) => logged.bytes.includes(text))) return;
      const record = readable(() => exchangeRecord(readCore(logged.bytes)));
      if (record !== undefined) visit({ log, logged, record });
    };
    // What is found is opened later: each segment in memory of its own, which lasts while something in it was found.
    await forEachRecord(log.storage, log.epoch, find, {
      read: (path) => new SegmentReader(log.storage).read(path),
    });
    const bytes: Buffer | undefined = last;
    const record = bytes === undefined ? undefined : readable(() => readCore(bytes));
    if (record !== undefined) ended?.(log, record);
  }
}

/** @returns undefined for what is none: `audit verify` tells of it */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
    return undefined;
  }
}
