import { open, readFile, rename, mkdir, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EpochMs } from '../core/clock.ts';
import { Fatal } from '../core/errors.ts';
import type { DeviceClass } from '../device/ear.ts';
import { Refused } from './refused.ts';

export type DeviceState = 'pending' | 'active' | 'suspended' | 'revoked';

/** What the attestation service knows of one device. Everything in it was proved at enrolment or said by an administrator. */
export interface DeviceRecord {
  /** SHA-256 of the EK's public key, base64url: as long as the TPM lives. */
  readonly id: string;
  /** For people; unique. */
  readonly name: string;
  readonly state: DeviceState;
  readonly class: DeviceClass;
  /** Of nodes: the gateway on this host. */
  readonly gateway: string | undefined;
  /** Grows with whatever an administrator takes back; results name it. */
  readonly epoch: number;
  /** The TPM is a program. */
  readonly software: boolean;
  readonly manufacturer: string;
  /** TPMT_PUBLIC, base64url. */
  readonly ak: string;
  readonly akQualifiedName: string;
  readonly bindingKey: string;
  /** An administrator lets this TPM enrol once more, with new keys. */
  readonly mayReEnrol: boolean;
  readonly enrolledAt: EpochMs;
  /** Of the last good quote. */
  readonly boot:
    | {
        readonly clock: string;
        readonly resetCount: number;
        readonly restartCount: number;
        readonly firmware: string;
      }
    | undefined;
  /** Since when the TPM's clock has been marked unsafe in this boot. */
  readonly unsafeSince: EpochMs | undefined;
}

/** A journal longer than this many lines a device is written anew at the next start. */
const COMPACT_FACTOR = 8;

/**
 * The devices, in memory and in a journal: one line of JSON for each change, the last one of a device counts. A line
 * that a power failure cut short is at the end, was acknowledged to nobody, and is dropped.
 */
export class Devices {
  readonly #all = new Map<string, DeviceRecord>();
  readonly #byName = new Map<string, string>();
  readonly #byAk = new Map<string, string>();
  readonly #file: FileHandle;
  #last: Promise<void> = Promise.resolve();
  #broken: Fatal | undefined;

  private constructor(file: FileHandle, records: Iterable<DeviceRecord>) {
    this.#file = file;
    for (const record of records) this.#remember(record);
  }

  /** @throws Fatal when a line that is not the last cannot be read: somebody has changed the file */
  static async open(path: string): Promise<Devices> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const text = await readFile(path, 'utf8').catch((cause: unknown) => {
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return '';
      throw cause;
    });
    const lines = text.split('\n');
    const cut = lines.pop() !== '';
    const records = new Map<string, DeviceRecord>();
    lines.forEach((line, i) => {
      const record = parseLine(line, `${path}:${i + 1}`);
      records.set(record.id, record);
    });
    if (cut || lines.length > COMPACT_FACTOR * (records.size + 100)) {
      const draft = await open(`${path}.new`, 'w', 0o600);
      await draft.writeFile([...records.values()].map(lineOf).join(''));
      await draft.sync();
      await draft.close();
      await rename(`${path}.new`, path); // before: the old file, still whole up to its last line
    }
    const file = await open(path, 'a', 0o600);
    const folder = await open(dirname(path), 'r');
    await folder.sync();
    await folder.close();
    return new Devices(file, records.values());
  }

  get(id: string): DeviceRecord | undefined {
    return this.#all.get(id);
  }

  byName(name: string): DeviceRecord | undefined {
    return this.#all.get(this.#byName.get(name) ?? '');
  }

  /** Device that has, or had, this attestation key. @param name of the key, base64url */
  byAk(name: string): string | undefined {
    return this.#byAk.get(name);
  }

  all(): readonly DeviceRecord[] {
    return [...this.#all.values()];
  }

  /**
   * Takes a new or changed record: in memory at once, so that no second decision is made on the old one; on disk when it
   * resolves.
   * @param durable false for what a later quote says again (the clock): written, but not waited for
   * @throws Fatal when the disk fails, and ever after
   */
  async put(record: DeviceRecord, durable = true): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    this.#remember(record);
    const turn = this.#last.then(async () => {
      try {
        await this.#file.appendFile(lineOf(record));
        if (durable) await this.#file.sync();
      } catch (cause) {
        this.#broken ??= new Fatal('the journal of devices cannot be written', { cause });
        throw this.#broken;
      }
    });
    this.#last = turn.catch(() => undefined);
    await turn;
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#file.close();
  }

  /** @throws Refused `admin.unknown_device` */
  require(idOrName: string): DeviceRecord {
    const record = this.#all.get(idOrName) ?? this.byName(idOrName);
    if (record === undefined) throw new Refused('admin.unknown_device', idOrName.slice(0, 80));
    return record;
  }

  #remember(record: DeviceRecord): void {
    const before = this.#all.get(record.id);
    if (before !== undefined) this.#byName.delete(before.name);
    this.#all.set(record.id, record);
    this.#byName.set(record.name, record.id);
    // Never forgotten: a key that once belonged to a device cannot come back as another's.
    this.#byAk.set(record.ak, record.id);
  }
}

const lineOf = (record: DeviceRecord): string => `${JSON.stringify(record)}\n`;

function parseLine(line: string, where: string): DeviceRecord {
  try {
    // Written by lineOf: the file is ours, owner-only, and nothing else writes it.
    const record = JSON.parse(line) as DeviceRecord;
    if (typeof record.id !== 'string' || typeof record.epoch !== 'number')
      throw new TypeError('not a record');
    return record;
  } catch (cause) {
    throw new Fatal(`${where}: not a line of ours`, { cause });
  }
}
