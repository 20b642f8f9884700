import type { KeyObject } from 'node:crypto';
import { view } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { parseExchangeId, type ExchangeId } from '../core/ids.ts';
import { coreOf, forEachFrame, readBlock, type Block } from '../evidence/block.ts';
import { keyFileName, parseKeyFile } from '../evidence/class-keys.ts';
import {
  commitmentOf,
  decodeCoreText,
  PART_CLASSES,
  SALT_BYTES,
  type SaltedPart,
} from '../evidence/codec.ts';
import { openSection, readSections } from '../evidence/parts.ts';
import type { CoreRecord, ExchangeFacts, PartClass } from '../evidence/record.ts';
import { readSegmentHead } from '../evidence/segment.ts';
import { isObject } from '../trust/canonical.ts';
import type { EpochFolder, ReadStorage } from './folder.ts';
import { SegmentReader } from './segment-reader.ts';
import { readBounded } from './small-file.ts';

/** A record as the log holds it. Its members are what its author wrote: only v, k and at were looked at. */
export interface LoggedRecord {
  readonly index: bigint;
  readonly bytes: Buffer;
  readonly parts: RecordParts;
}

/** The sealed parts of one record, opened when asked for. */
export interface RecordParts {
  /** The bytes, `sealed` when the key is not here. @throws MalformedBytes they do not open, or are other bytes */
  open(record: CoreRecord, partClass: PartClass): Buffer | 'sealed';
}

/**
 * Visits the records of an epoch in order, as far as its blocks are whole and each begins where the last one ended: what is
 * wrong behind is the hash pass's to say. A block states its place; were it believed, whoever adds one behind the last signed
 * head could give it the place of a signed record.
 * @param segments unless it says otherwise one segment is read over the other: nothing of a record lasts longer than its
 * visit
 */
export async function forEachRecord(
  storage: ReadStorage,
  epoch: EpochFolder,
  visit: (record: LoggedRecord) => void,
  segments: Pick<SegmentReader, 'read'> = new SegmentReader(storage),
): Promise<void> {
  const keys = new PartKeys(await readKeys(storage, epoch.keys));
  let next: bigint | undefined;
  for (const path of epoch.segments) {
    try {
      const bytes = await segments.read(path);
      if (bytes === undefined) return;
      const { head, end } = readSegmentHead(bytes);
      next ??= head.frontier.size;
      if (head.frontier.size !== next) return;
      for (let at = end; at < bytes.length && bytes[at] !== 0;) {
        const block = readBlock(bytes, at);
        if (block.first !== next) return;
        next += BigInt(block.records);
        const parts = new BlockParts(block, head.origin, keys);
        forEachFrame(block, (prefixed, number) => {
          visit({ index: block.first + BigInt(number), bytes: coreOf(prefixed), parts: parts.records });
        });
        at += block.length;
      }
    } catch (cause) {
      if (cause instanceof MalformedBytes) return;
      throw cause;
    }
  }
}

/**
 * Reads a record in its one spelling: a second member of the same name, or a number written otherwise, would let two
 * readers see two records in the same bytes.
 * @throws MalformedBytes
 */
export function readCore(bytes: Buffer): CoreRecord {
  const { core, text } = decodeCoreText(bytes);
  if (hasManyBrackets(text) && !isShallow(core))
    throw new MalformedBytes(`record is nested deeper than ${MAX_DEPTH} levels`);
  if (JSON.stringify(core) !== text) throw new MalformedBytes('record has another spelling');
  requireCommitments(core.parts);
  return core;
}

/** Whoever wrote the log chose these, types included. @throws MalformedBytes */
function requireCommitments(parts: unknown): void {
  if (parts === undefined) return;
  if (!isObject(parts)) throw new MalformedBytes('record with malformed parts');
  for (const name of PART_CLASSES) {
    const part = parts[name];
    if (part === undefined) continue;
    if (!isObject(part) || typeof part['c'] !== 'string' || !isCount(part['n']))
      throw new MalformedBytes(`record with a malformed ${name} part`);
  }
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;

/** A member of any type in words: `String` would run into what its author put in place of `toString`. */
export const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? 'absent');

/** Levels of a record's nesting. Ours have five. JSON.parse takes any number; what follows it would exhaust the stack. */
const MAX_DEPTH = 32;

const isShallow = (value: unknown, depth = MAX_DEPTH): boolean =>
  typeof value !== 'object' ||
  value === null ||
  (depth > 0 && Object.values(value).every((member) => isShallow(member, depth - 1)));

/** Each level takes a bracket, and ours have less than {@link MAX_DEPTH} in all: then nobody has to look where they stand. */
function hasManyBrackets(text: string): boolean {
  let count = 0;
  for (const bracket of ['{', '[']) {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      count += 1;
      if (count > MAX_DEPTH) return true;
    }
  }
  return false;
}

export type ExchangeRecord = Extract<CoreRecord, ExchangeFacts>;

const EXCHANGE_KINDS: ReadonlySet<string> = new Set<ExchangeRecord['k']>([
  'open',
  'req.final',
  'res.final',
  'recheck',
  'deny',
  'abort',
  'sig.bad',
  'replay.seen',
]);
const TEXTS = ['me', 'peer', 'xid', 'client', 'svc', 'op', 'mode', 'dg', 'sig', 'kid', 'out'] as const;
const NUMBERS = ['status', 'len'] as const;

/** The record if it is of an exchange, with the members that are compared checked for their types. @throws MalformedBytes */
export function exchangeRecord(core: CoreRecord): ExchangeRecord | undefined {
  if (!isOfExchange(core)) return undefined;
  const bad: string[] = [];
  for (const name of TEXTS) if (core[name] !== undefined && typeof core[name] !== 'string') bad.push(name);
  for (const name of NUMBERS)
    if (core[name] !== undefined && !Number.isSafeInteger(core[name])) bad.push(name);
  if (typeof core.x !== 'string' || parseExchangeId(core.x) === undefined) bad.push('x');
  if (bad.length > 0 || (core.role !== 'c' && core.role !== 'p') || typeof core.me !== 'string') {
    throw new MalformedBytes(`record of an exchange with a bad ${bad.join(', ') || 'role or name'}`);
  }
  return core;
}

const isOfExchange = (core: CoreRecord): core is ExchangeRecord => EXCHANGE_KINDS.has(core.k);

/** Time of a record for people. It may hold any integer; dates end in the year 275760. */
export const timeText = (at: number): string =>
  Math.abs(at) <= 8.64e15 ? new Date(at).toISOString() : String(at);

/** @returns an exchange id for its text, for its UUID form, or undefined */
export function exchangeIdOf(text: string): ExchangeId | undefined {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) {
    return parseExchangeId(Buffer.from(text.replaceAll('-', ''), 'hex').toString('base64url'));
  }
  return parseExchangeId(text);
}

const MAX_KEY_FILE_BYTES = 4096;

type Keys = ReadonlyMap<string, KeyObject | undefined>;

async function readKeys(storage: ReadStorage, dir: string): Promise<Keys> {
  const keys = new Map<string, KeyObject | undefined>();
  const names = await storage.list(dir).catch(() => []); // a copy without keys
  for (const name of names.filter((each) => each.endsWith('.key'))) {
    const text = await readBounded(storage, `${dir}/${name}`, MAX_KEY_FILE_BYTES).catch(() => undefined); // no key then
    keys.set(name, parseKeyFile(text?.toString('latin1') ?? ''));
  }
  return keys;
}

class PartKeys {
  readonly #keys: Keys;

  constructor(keys: Keys) {
    this.#keys = keys;
  }

  /** Undefined when it is not here. @throws MalformedBytes it is here and is no key */
  find(partClass: PartClass, day: string): KeyObject | undefined {
    const name = keyFileName(partClass, day);
    if (!this.#keys.has(name)) return undefined;
    const key = this.#keys.get(name);
    if (key === undefined) throw new MalformedBytes(`${name} is not a key`);
    return key;
  }
}

/** By their commitments. */
type OpenedParts = ReadonlyMap<string, SaltedPart>;

/** The parts of a block: each section is opened once, at the first question. */
class BlockParts {
  readonly #block: Block;
  readonly #origin: string;
  readonly #keys: PartKeys;
  readonly #opened = new Map<PartClass, OpenedParts | 'sealed'>();

  constructor(block: Block, origin: string, keys: PartKeys) {
    this.#block = block;
    this.#origin = origin;
    this.#keys = keys;
  }

  readonly records: RecordParts = {
    open: (record, partClass) => {
      const commitment = record.parts?.[partClass];
      if (commitment === undefined) throw new MalformedBytes(`record has no ${partClass} part`);
      const section = this.#section(partClass);
      if (section === 'sealed') return 'sealed';
      const part = section.get(commitment.c);
      if (part?.length !== SALT_BYTES + commitment.n)
        throw new MalformedBytes(`${partClass} part is missing, or another one`);
      return view(part).subarray(SALT_BYTES);
    },
  };

  #section(partClass: PartClass): OpenedParts | 'sealed' {
    const known = this.#opened.get(partClass);
    if (known !== undefined) return known;
    let opened: OpenedParts | 'sealed' = new Map<string, SaltedPart>();
    for (const { partClass: found, day, sealed } of readSections(this.#block.parts)) {
      if (found !== partClass) continue;
      const key = this.#keys.find(partClass, day);
      const place = { origin: this.#origin, first: this.#block.first, partClass, day };
      opened =
        key === undefined
          ? 'sealed'
          : new Map(openSection(place, sealed, key).map((salted) => [commitmentOf(salted).c, salted]));
    }
    this.#opened.set(partClass, opened);
    return opened;
  }
}

/** Classes of the parts a record says it has. */
export const partClassesOf = (record: CoreRecord): PartClass[] =>
  PART_CLASSES.filter((name) => record.parts?.[name] !== undefined);
