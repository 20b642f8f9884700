// The head of a segment file; commit blocks follow, then zeros.
//
//   magic 8 · length of the JSON 4 · JSON · CRC-32 of all before 4
//
// It carries the frontier, so that a segment can be read, checked and recovered without those before it.
import { crc32 } from 'node:zlib';
import { base64, fromBase64 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { parseExchangeId, type ExchangeId } from '../core/ids.ts';
import { Frontier } from '../tlog/frontier.ts';

const MAGIC = Buffer.from('\u001eTRSEG1\n', 'latin1');
const MAX_HEAD_BYTES = 1 << 24;

/** An exchange that had begun and not ended: what a restart writes an `abort` for. */
export interface RunningExchange {
  readonly x: ExchangeId;
  readonly role: 'c' | 'p';
  readonly me: string;
  readonly peer?: string;
}

export interface SegmentHead {
  readonly origin: string;
  readonly frontier: Frontier;
  readonly running: readonly RunningExchange[];
}

/** Name of the segment whose first record has the index: sorts by index. */
export const segmentName = (first: bigint): string => `${String(first).padStart(20, '0')}.seg`;

/** First index of a segment by its name, or undefined for another file. */
export function firstOfSegment(name: string): bigint | undefined {
  return /^\d{20}\.seg$/.test(name) ? BigInt(name.slice(0, 20)) : undefined;
}

export function formatSegmentHead({ origin, frontier, running }: SegmentHead): Buffer {
  const json = Buffer.from(
    JSON.stringify({
      v: 1,
      origin,
      first: String(frontier.size),
      frontier: frontier.hashes().map(base64),
      running: running.map(({ x, role, me, peer }) =>
        peer === undefined ? [x, role, me] : [x, role, me, peer],
      ),
    }),
  );
  const bytes = Buffer.alloc(MAGIC.length + 4 + json.length + 4);
  MAGIC.copy(bytes);
  bytes.writeUInt32BE(json.length, MAGIC.length);
  json.copy(bytes, MAGIC.length + 4);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, -4)), bytes.length - 4);
  return bytes;
}

/** @returns the head and where the first block starts. @throws MalformedBytes */
export function readSegmentHead(bytes: Buffer): { head: SegmentHead; end: number } {
  const jsonAt = MAGIC.length + 4;
  if (bytes.length < jsonAt || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new MalformedBytes('not a segment');
  }
  const length = bytes.readUInt32BE(MAGIC.length);
  const end = jsonAt + length + 4;
  if (length > MAX_HEAD_BYTES || end > bytes.length) throw new MalformedBytes('segment head is cut off');
  if (crc32(bytes.subarray(0, end - 4)) !== bytes.readUInt32BE(end - 4)) {
    throw new MalformedBytes('segment head checksum is wrong');
  }
  const head = parseHead(bytes.toString('utf8', jsonAt, end - 4));
  // One text per head: whatever else the JSON may say is refused without a rule for each.
  if (!formatSegmentHead(head).equals(bytes.subarray(0, end)))
    throw new MalformedBytes('segment head is malformed');
  return { head, end };
}

function parseHead(text: string): SegmentHead {
  const value = parseObject(text);
  const { origin, first, frontier, running } = value;
  if (typeof origin !== 'string' || typeof first !== 'string' || !/^\d{1,16}$/.test(first)) {
    throw new MalformedBytes('segment head lacks origin or first index');
  }
  if (!Array.isArray(frontier) || !Array.isArray(running))
    throw new MalformedBytes('segment head lacks a list');
  const hashes = frontier.map((hash: unknown) => (typeof hash === 'string' ? fromBase64(hash) : undefined));
  if (!hashes.every((hash) => hash !== undefined)) throw new MalformedBytes('segment head has a bad hash');
  return { origin, frontier: Frontier.of(BigInt(first), hashes), running: running.map(parseRunning) };
}

function parseObject(text: string): Partial<Record<'origin' | 'first' | 'frontier' | 'running', unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Same answer below.
  }
  throw new MalformedBytes('segment head is not a JSON object');
}

function parseRunning(value: unknown): RunningExchange {
  const [x, role, me, peer] = Array.isArray(value) ? (value as unknown[]) : []; // an array of anything
  const exchange = peer === undefined ? { x, role, me } : { x, role, me, peer };
  if (!fitsHead(exchange)) throw new MalformedBytes('segment head has a bad running exchange');
  return exchange;
}

/** True for what the head of a segment may list: any other member would make a head that no restart can read. */
export function fitsHead(
  exchange: Readonly<Partial<Record<keyof RunningExchange, unknown>>>,
): exchange is RunningExchange {
  const { x, role, me, peer } = exchange;
  return (
    typeof x === 'string' &&
    parseExchangeId(x) !== undefined &&
    (role === 'c' || role === 'p') &&
    typeof me === 'string' &&
    (peer === undefined || typeof peer === 'string')
  );
}
