// The firmware's event log: TCG PC Client Platform Firmware Profile §10, both formats. Little-endian.
import { hex, type HashAlgorithm, knownHash } from './algorithm.ts';
import { ByteReader } from './cursor.ts';
import { extended, initialPcr, PCR_COUNT } from './pcr.ts';

/**
 * One entry. Only `pcr` and the digests are protected by the TPM: `type` and `data` can be rewritten without changing
 * any PCR, so nothing is decided on them.
 */
export interface LogEvent {
  readonly pcr: number;
  readonly type: number;
  /** By TPM_ALG_ID. */
  readonly digests: ReadonlyMap<number, Uint8Array>;
  readonly data: Uint8Array;
}

export interface EventLog {
  /** Banks that every event has a digest for, by TPM_ALG_ID. */
  readonly banks: readonly number[];
  /** Start value of PCR 0: the locality that the TPM was started from. */
  readonly startupLocality: number;
  /** Events that were extended, in order. EV.noAction entries are not here. */
  readonly events: readonly LogEvent[];
}

/** Largest log we read; real ones have 14 to 73 kB and some hundred events. */
export const MAX_LOG_BYTES = 1024 * 1024;
const MAX_EVENTS = 5000;
const MAX_BANKS = 8;
const SHA1 = 0x0004;
/** Types of events that are known here by name, PC Client PFP §10.4.1. */
export const EV = {
  noAction: 3,
  separator: 4,
  scrtmVersion: 8,
  ipl: 0xd,
  variable: 0x8000_0001,
  bootApplication: 0x8000_0003,
  authority: 0x8000_00e0,
} as const;
const SPEC_ID = Buffer.from('Spec ID Event03\0', 'latin1');
const STARTUP_LOCALITY = Buffer.from('StartupLocality\0', 'latin1');

interface Bank {
  readonly alg: number;
  readonly bytes: number;
}

/** Reads a whole log. @throws MalformedBytes also for more than 1 MiB, 5000 events, or an empty log */
export function parseEventLog(bytes: Uint8Array): EventLog {
  const r = new ByteReader(bytes, 'event log');
  if (bytes.length > MAX_LOG_BYTES) throw r.malformed(`${bytes.length} bytes`);
  const first = readSha1Event(r);
  const agile = first.type === EV.noAction && Buffer.from(first.data).subarray(0, 16).equals(SPEC_ID);
  const banks = agile ? readSpecId(first) : [{ alg: SHA1, bytes: 20 }];
  const events: LogEvent[] = agile ? [] : [first];
  while (!r.atEnd) {
    if (events.length >= MAX_EVENTS) throw r.malformed(`more than ${MAX_EVENTS} events`);
    events.push(agile ? readEvent(r, banks) : readSha1Event(r));
  }
  return { banks: banks.map(({ alg }) => alg), ...sortOut(r, events) };
}

/** TCG_PCR_EVENT: the only format of TPM 1.2 times, and still the first record of every log. */
function readSha1Event(r: ByteReader): LogEvent {
  const pcr = r.u32le('pcrIndex');
  const type = r.u32le('eventType');
  const digest = r.take(20, 'digest');
  const data = r.take(r.u32le('eventDataSize'), 'event');
  requirePcr(r, pcr, type);
  return { pcr, type, digests: new Map([[SHA1, digest]]), data };
}

/** TCG_PCR_EVENT2: one digest for each bank that the header announced, in any order. */
function readEvent(r: ByteReader, banks: readonly Bank[]): LogEvent {
  const pcr = r.u32le('pcrIndex');
  const type = r.u32le('eventType');
  const count = r.u32le('digests.count');
  if (count !== banks.length) throw r.malformed(`${count} digests, the header announces ${banks.length}`);
  const digests = new Map<number, Uint8Array>();
  for (let i = 0; i < count; i += 1) {
    const alg = r.u16le('digest.hashAlg');
    const bank = banks.find((known) => known.alg === alg);
    if (bank === undefined) throw r.malformed(`digest of ${hex(alg)}, which the header does not announce`);
    if (digests.has(alg)) throw r.malformed(`two digests of ${hex(alg)}`);
    digests.set(alg, r.take(bank.bytes, 'digest'));
  }
  const data = r.take(r.u32le('eventSize'), 'event');
  requirePcr(r, pcr, type);
  return { pcr, type, digests, data };
}

function requirePcr(r: ByteReader, pcr: number, type: number): void {
  // Windows ends its log with EV.noAction entries of PCR ffffffff; they extend nothing.
  if (pcr >= PCR_COUNT && !(type === EV.noAction && pcr === 0xffffffff)) throw r.malformed(`PCR ${pcr}`);
}

/** TCG_EfiSpecIDEvent: which banks follow and how long their digests are. */
function readSpecId({ data }: LogEvent): Bank[] {
  const r = new ByteReader(data, 'Spec ID event');
  r.take(SPEC_ID.length, 'signature');
  r.take(4, 'platformClass');
  r.take(4, 'version');
  const count = r.u32le('numberOfAlgorithms');
  if (count === 0 || count > MAX_BANKS) throw r.malformed(`${count} algorithms`);
  const banks: Bank[] = [];
  for (let i = 0; i < count; i += 1) {
    const alg = r.u16le('algorithmId');
    const bytes = r.u16le('digestSize');
    if (banks.some((other) => other.alg === alg)) throw r.malformed(`${hex(alg)} announced twice`);
    if (bytes === 0 || bytes > 64 || (knownHash(alg)?.bytes ?? bytes) !== bytes) {
      throw r.malformed(`${hex(alg)} announced with ${bytes} bytes`);
    }
    banks.push({ alg, bytes });
  }
  r.take(r.u8('vendorInfoSize'), 'vendorInfo');
  r.finish();
  return banks;
}

function sortOut(r: ByteReader, all: readonly LogEvent[]): Pick<EventLog, 'events' | 'startupLocality'> {
  const events: LogEvent[] = [];
  let startupLocality: number | undefined;
  for (const event of all) {
    if (event.type !== EV.noAction) {
      events.push(event);
      continue;
    }
    const data = Buffer.from(event.data);
    if (!data.subarray(0, 16).equals(STARTUP_LOCALITY)) continue;
    // It says where PCR 0 begins. After PCR 0 was extended, or a second time, it would rewrite history.
    const late = startupLocality !== undefined || events.some(({ pcr }) => pcr === 0);
    if (data.length !== 17 || event.pcr !== 0 || late) throw r.malformed('StartupLocality out of place');
    startupLocality = data.readUInt8(16);
    if (startupLocality > 4) throw r.malformed(`StartupLocality ${startupLocality}`);
  }
  return { events, startupLocality: startupLocality ?? 0 };
}

/** One PCR as the log tells it: the digests extended into it, in order, and the value they lead to. */
export interface ReplayedPcr {
  readonly digests: readonly Uint8Array[];
  readonly value: Uint8Array;
}

/**
 * Replays one bank. Says nothing about truth yet: compare with a quote.
 * @returns PCRs that the log has events for
 * @throws MalformedBytes when the log has no digests of this bank
 */
export function replay(log: EventLog, bank: HashAlgorithm): ReadonlyMap<number, ReplayedPcr> {
  const pcrs = new Map<number, { digests: Uint8Array[]; value: Buffer }>();
  for (const { pcr, digests } of log.events) {
    const digest = digests.get(bank.id);
    if (digest === undefined)
      throw new ByteReader(new Uint8Array(), 'event log').malformed(`no ${bank.name} bank`);
    let state = pcrs.get(pcr);
    if (state === undefined) pcrs.set(pcr, (state = { digests: [], value: startValue(log, bank, pcr) }));
    state.digests.push(digest);
    state.value = extended(bank, state.value, digest);
  }
  return pcrs;
}

function startValue(log: EventLog, bank: HashAlgorithm, pcr: number): Buffer {
  const value = initialPcr(bank, pcr);
  if (pcr === 0) value.writeUInt8(log.startupLocality, value.length - 1);
  return value;
}
