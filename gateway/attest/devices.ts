import { createReadStream } from 'node:fs';
import { open, rename, mkdir, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EpochMs } from '../core/clock.ts';
import { Fatal } from '../core/errors.ts';
import type { DeviceClass } from '../device/ear.ts';
import { Refused } from './refused.ts';
import { syncFolder } from './sync-folder.ts';

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

/** A journal longer than this many lines a record is written anew: each renewal of a result adds one. */
const COMPACT_FACTOR = 8;
const FEW_RECORDS = 100;
/** So many lines are written at once. */
const STRIDE = 1000;

/**
 * The devices, in memory and in a journal: one line of JSON for each change, the last one of a device counts. A line
 * that a power failure cut short is at the end, was acknowledged to nobody, and is dropped.
 */
export class Devices {
  readonly #all = new Map<string, DeviceRecord>();
  readonly #byName = new Map<string, string>();
  /** The last record with each attestation key; of one device, in the order in which it had them. */
  readonly #byAk = new Map<string, DeviceRecord>();
  readonly #path: string;
  /** The journal, open at its end. */
  #file: FileHandle | undefined;
  #lines = 0;
  #last: Promise<void> = Promise.resolve();
  #broken: Fatal | undefined;
  readonly #failure = Promise.withResolvers<Fatal>();

  private constructor(path: string) {
    this.#path = path;
  }

  /** @throws Fatal when a line that is not the last cannot be read: somebody has changed the file */
  static async open(path: string): Promise<Devices> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const devices = new Devices(path);
    const cut = await devices.#read();
    if (cut || devices.#isLong()) await devices.#rewrite();
    else {
      devices.#file = await open(path, 'a', 0o600);
      await syncFolder(dirname(path));
    }
    return devices;
  }

  /** In parts: a text holds half a gigabyte at most, and nobody may be locked out by a long journal. @returns is its last line cut short? */
  async #read(): Promise<boolean> {
    let rest = '';
    try {
      for await (const part of createReadStream(this.#path, 'utf8') as AsyncIterable<string>) {
        const lines = (rest + part).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          this.#lines += 1;
          this.#remember(parseLine(line, `${this.#path}:${this.#lines}`));
        }
      }
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) throw cause;
    }
    return rest !== '';
  }

  #isLong(): boolean {
    return this.#lines > COMPACT_FACTOR * (this.#byAk.size + FEW_RECORDS);
  }

  /** What counts, in a new file. A crash leaves the old one, still whole up to its last line. */
  async #rewrite(): Promise<void> {
    const draft = await open(`${this.#path}.new`, 'w', 0o600);
    try {
      const records = [...this.#byAk.values()];
      for (let i = 0; i < records.length; i += STRIDE)
        await draft.writeFile(
          records
            .slice(i, i + STRIDE)
            .map(lineOf)
            .join(''),
        );
      await draft.sync();
      await rename(`${this.#path}.new`, this.#path);
      await syncFolder(dirname(this.#path));
      this.#lines = records.length;
    } catch (cause) {
      await draft.close();
      throw cause;
    }
    await this.#file?.close();
    this.#file = draft;
  }

  get(id: string): DeviceRecord | undefined {
    return this.#all.get(id);
  }

  byName(name: string): DeviceRecord | undefined {
    return this.#all.get(this.#byName.get(name) ?? '');
  }

  /** Device that has, or had, this attestation key. @param name of the key, base64url */
  byAk(name: string): string | undefined {
    return this.#byAk.get(name)?.id;
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
        if (this.#file === undefined) throw new Error('it is closed');
        await this.#file.appendFile(lineOf(record));
        this.#lines += 1;
        if (this.#isLong()) await this.#rewrite();
        else if (durable) await this.#file.sync();
      } catch (cause) {
        this.#broken ??= new Fatal('the journal of devices cannot be written', { cause });
        this.#failure.resolve(this.#broken);
        throw this.#broken;
      }
    });
    this.#last = turn.catch(() => undefined);
    await turn;
  }

  /** Resolves when the disk has failed: what is decided from then on would be forgotten, so nothing is any more. */
  get failure(): Promise<Fatal> {
    return this.#failure.promise;
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#file?.close();
    this.#file = undefined;
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
    this.#byAk.set(record.ak, record);
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
