// The firmware that the sandbox's machines do not have: what they measure when they start, and the log of it.
import { sha256, utf8 } from '../../core/bytes.ts';
import { HASH } from '../../tpm/algorithm.ts';
import { EV } from '../../tpm/event-log.ts';

/** One measured step of a start. */
export interface BootEvent {
  readonly pcr: number;
  readonly type: number;
  /** What stands in the log, for people. */
  readonly data: Uint8Array;
  /** Of what was measured: the digest alone counts. */
  readonly digest: Buffer;
}

/** PCRs that the sandbox's policy wants to see. 14 (shim's own) has no log here: its value is compared. */
export const QUOTED_PCRS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14] as const;

const measured = (pcr: number, type: number, name: string, content: string | Uint8Array): BootEvent => ({
  pcr,
  type,
  data: utf8(name),
  digest: sha256(content),
});
const setting = (text: string): BootEvent => measured(7, EV.variable, text, text);
const SEPARATOR = Buffer.alloc(4);

/** Firmware, Secure Boot, boot loader, kernel: what a start extends into the TPM, in order. */
export const startOf = ({
  secureBoot = true,
}: { readonly secureBoot?: boolean } = {}): readonly BootEvent[] => [
  measured(0, EV.scrtmVersion, 'firmware 1.7', 'firmware 1.7'),
  setting(`SecureBoot=${secureBoot ? 1 : 0}`),
  ...['PK', 'KEK', 'db', 'dbx'].map(setting),
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => ({
    pcr,
    type: EV.separator,
    data: SEPARATOR,
    digest: sha256(SEPARATOR),
  })),
  measured(7, EV.authority, 'UEFI CA', 'UEFI CA'),
  measured(4, EV.bootApplication, 'shimx64.efi', 'shim 15.8'),
  measured(4, EV.bootApplication, 'grubx64.efi', 'grub 2.12'),
  measured(8, EV.ipl, 'kernel_cmdline', 'root=/dev/vda1'),
  measured(9, EV.ipl, 'vmlinuz', 'linux 6.12'),
];

/**
 * A start without Secure Boot whose owner wants to look healthy: he gives the measurements of Secure Boot another type,
 * really extends those of a healthy start behind them, and appends them to the log. The log replays; a verifier that
 * goes by types and data reads "Secure Boot on".
 */
export function relabelledStart(): readonly BootEvent[] {
  const bad = startOf({ secureBoot: false }).map((event) =>
    event.pcr === 7 ? { ...event, type: EV.ipl } : event,
  );
  return [...bad, ...startOf().filter(({ pcr }) => pcr === 7)];
}

const le16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
};
const le32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

/** The log as a kernel shows it: crypto-agile, with one bank (PC Client PFP §10.2.2). */
export function eventLogOf(events: readonly BootEvent[]): Buffer {
  const { id, bytes } = HASH.sha256;
  const header = Buffer.concat([
    utf8('Spec ID Event03\0'),
    le32(0),
    Buffer.of(0, 2, 0, 2),
    le32(1),
    le16(id),
    le16(bytes),
    Buffer.of(0),
  ]);
  return Buffer.concat([
    // The first record has the old form.
    ...[le32(0), le32(EV.noAction), Buffer.alloc(20), le32(header.length), header],
    ...events.flatMap(({ pcr, type, data, digest }) => [
      ...[le32(pcr), le32(type), le32(1), le16(id), digest, le32(data.length), data],
    ]),
  ]);
}
