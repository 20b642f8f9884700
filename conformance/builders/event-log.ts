// Event logs of machines that never were, in both formats, with every field free to be wrong.
import { HASH, type HashAlgorithm, digest } from '../../gateway/tpm/algorithm.ts';
import { EV } from '../../gateway/tpm/event-log.ts';

/** Written by hand into a log: what is hashed is `measured`, what stands there is `data`. */
export interface BuiltEvent {
  readonly pcr: number;
  readonly type: number;
  readonly data: Uint8Array;
  /** Default: the data. Real logs hash a file and note its name. */
  readonly measured?: Uint8Array;
}

export const event = (pcr: number, type: number, text: string): BuiltEvent => ({
  pcr,
  type,
  data: Buffer.from(text),
});

export const eventDigest = ({ measured, data }: BuiltEvent, hash: HashAlgorithm = HASH.sha256): Buffer =>
  digest(hash, measured ?? data);

const le16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
};

export const le32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

/** TCG_PCR_EVENT. */
export const sha1Record = (built: BuiltEvent, hash = eventDigest(built, HASH.sha1)): Buffer =>
  Buffer.concat([le32(built.pcr), le32(built.type), hash, le32(built.data.length), built.data]);

/** The first record of a crypto-agile log. */
export function specIdRecord(
  banks: readonly { readonly id: number; readonly bytes: number }[],
  options: { readonly count?: number; readonly vendor?: Uint8Array } = {},
): Buffer {
  const vendor = options.vendor ?? Buffer.alloc(0);
  const data = Buffer.concat([
    Buffer.from('Spec ID Event03\0', 'latin1'),
    le32(0),
    Buffer.of(0, 2, 0, 2),
    le32(options.count ?? banks.length),
    ...banks.map(({ id, bytes }) => Buffer.concat([le16(id), le16(bytes)])),
    Buffer.of(vendor.length),
    vendor,
  ]);
  return sha1Record({ pcr: 0, type: EV.noAction, data }, Buffer.alloc(20));
}

/** TCG_PCR_EVENT2. */
export const agileRecord = (
  built: BuiltEvent,
  banks: readonly HashAlgorithm[],
  count = banks.length,
): Buffer =>
  Buffer.concat([
    le32(built.pcr),
    le32(built.type),
    le32(count),
    ...banks.map((hash) =>
      Buffer.concat([
        le16(hash.id),
        built.type === EV.noAction ? Buffer.alloc(hash.bytes) : eventDigest(built, hash),
      ]),
    ),
    le32(built.data.length),
    built.data,
  ]);

export const agileLog = (
  events: readonly BuiltEvent[],
  banks: readonly HashAlgorithm[] = [HASH.sha256],
): Buffer => Buffer.concat([specIdRecord(banks), ...events.map((built) => agileRecord(built, banks))]);

export const startupLocality = (locality: number): BuiltEvent => ({
  pcr: 0,
  type: EV.noAction,
  data: Buffer.concat([Buffer.from('StartupLocality\0', 'latin1'), Buffer.of(locality)]),
});

export const SEPARATOR = Buffer.alloc(4);

/** A healthy boot of one machine: firmware, Secure Boot on, boot loader, kernel. */
export function healthyBoot(
  changes: { readonly secureBoot?: boolean; readonly loader?: string } = {},
): BuiltEvent[] {
  const secureBoot = changes.secureBoot ?? true;
  return [
    event(0, EV.scrtmVersion, 'firmware 1.7'),
    event(7, EV.variable, `SecureBoot=${secureBoot ? 1 : 0}`),
    event(7, EV.variable, 'PK'),
    event(7, EV.variable, 'KEK'),
    event(7, EV.variable, 'db'),
    event(7, EV.variable, 'dbx'),
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => ({ pcr, type: EV.separator, data: SEPARATOR })),
    event(7, EV.authority, 'Microsoft UEFI CA'),
    { ...event(4, EV.bootApplication, 'shimx64.efi'), measured: Buffer.from(changes.loader ?? 'shim 15.8') },
    { ...event(4, EV.bootApplication, 'grubx64.efi'), measured: Buffer.from('grub 2.12') },
    { ...event(8, EV.ipl, 'kernel_cmdline'), measured: Buffer.from('root=/dev/vda1') },
    { ...event(9, EV.ipl, 'vmlinuz'), measured: Buffer.from('linux 6.12') },
  ];
}
