import { digest, type HashAlgorithm, hashAlgorithm } from './algorithm.ts';
import { type ByteReader, u16, u32, u8 } from './cursor.ts';

/** PCRs of one bank, ascending (TPMS_PCR_SELECTION, Part 2 §10.6.2). */
export interface PcrSelection {
  readonly hash: HashAlgorithm;
  readonly pcrs: readonly number[];
}

/** Every platform we know has 24. */
export const PCR_COUNT = 24;
const SELECT_BYTES = PCR_COUNT / 8;
const MAX_BANKS = 8;

/** TPML_PCR_SELECTION. @throws MalformedBytes also for two selections of one bank */
export function readSelections(r: ByteReader): PcrSelection[] {
  const count = r.u32('pcrSelect.count');
  if (count > MAX_BANKS) throw r.malformed(`${count} PCR selections`);
  const selections: PcrSelection[] = [];
  for (let i = 0; i < count; i += 1) {
    const hash = hashAlgorithm(r.u16('pcrSelect.hash'), 'pcrSelect');
    // Two selections of one bank could be read as one in two orders.
    if (selections.some((other) => other.hash === hash)) throw r.malformed(`${hash.name} selected twice`);
    if (r.u8('sizeofSelect') !== SELECT_BYTES) throw r.malformed('sizeofSelect is not 3');
    const bitmap = r.take(SELECT_BYTES, 'pcrSelect');
    selections.push({ hash, pcrs: PCRS.filter((pcr) => ((bitmap[pcr >> 3] ?? 0) & (1 << (pcr & 7))) !== 0) });
  }
  return selections;
}

const PCRS = Array.from({ length: PCR_COUNT }, (_, pcr) => pcr);

/** @throws RangeError when a PCR is not 0 to 23 */
export function formatSelections(selections: readonly PcrSelection[]): Buffer {
  const parts = selections.map(({ hash, pcrs }) => {
    const bitmap = Buffer.alloc(SELECT_BYTES);
    for (const pcr of pcrs) bitmap.writeUInt8(bitmap.readUInt8(pcr >> 3) | (1 << (pcr & 7)), pcr >> 3);
    return Buffer.concat([u16(hash.id), u8(SELECT_BYTES), bitmap]);
  });
  return Buffer.concat([u32(selections.length), ...parts]);
}

/** Exactly the same banks in the same order with the same PCRs? */
export function sameSelection(a: readonly PcrSelection[], b: readonly PcrSelection[]): boolean {
  return formatSelections(a).equals(formatSelections(b));
}

/**
 * What a quote says about the PCRs (Part 3 §18.4.1).
 * @param hash of the signature scheme, which need not be that of the bank
 * @param values in the order of the selection, PCRs ascending
 */
export const pcrDigest = (hash: HashAlgorithm, values: readonly Uint8Array[]): Buffer =>
  digest(hash, Buffer.concat(values));

/** The value after one event. */
export const extended = (hash: HashAlgorithm, value: Uint8Array, event: Uint8Array): Buffer =>
  digest(hash, Buffer.concat([value, event]));

/** The value after a reset: zeros, or ones where only a dynamic launch can reset (17 to 22). */
export const initialPcr = (hash: HashAlgorithm, pcr: number): Buffer =>
  Buffer.alloc(hash.bytes, pcr >= 17 && pcr <= 22 ? 0xff : 0x00);
