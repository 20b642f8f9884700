// The file of the last signed tree head. A head is stored ten times a second, so it is written in place: two slots take
// turns, and a power failure in the middle of one leaves the other, which is older by one head.
//
//   slot, 4096 bytes: `troad-head <number> <CRC-32 of the number and the note, hex>`, line feed, signed note, zeros
//
// The higher number is the newer head. A file without a whole slot is what a log of before slots left, a note alone, or it
// is nothing; whoever checks its signature finds out.
import { crc32 } from 'node:zlib';
import { Fatal } from '../core/errors.ts';
import { replaceFile, type Storage, type StorageFile } from './storage.ts';

/** A block of the file system: a write of one touches no other. */
export const SLOT_BYTES = 4096;

interface Slot {
  readonly number: number;
  readonly note: string;
}

/** The newest head that is there whole. */
export function readHead(file: Buffer): string {
  return newest(file)?.note ?? file.toString('utf8');
}

/** All heads that are there, and undefined for a slot that is not as it was written: for whoever looks for changes. */
export function headsIn(file: Buffer): (string | undefined)[] {
  if (file.length !== 2 * SLOT_BYTES) return [file.toString('utf8')];
  return [file.subarray(0, SLOT_BYTES), file.subarray(SLOT_BYTES)]
    .filter((bytes) => !bytes.equals(NEVER_WRITTEN))
    .map((bytes) => {
      const slot = readSlot(bytes);
      return slot !== undefined && formatSlot(slot).equals(bytes) ? slot.note : undefined;
    });
}

const NEVER_WRITTEN = Buffer.alloc(SLOT_BYTES);

export function formatSlot({ number, note }: Slot): Buffer {
  const slot = Buffer.alloc(SLOT_BYTES);
  const text = `troad-head ${number} ${checksum(number, note)}\n${note}`;
  // Zeros end it.
  if (Buffer.byteLength(text) >= SLOT_BYTES) throw new RangeError(`tree head of ${note.length} characters`);
  slot.write(text);
  return slot;
}

const checksum = (number: number, note: string): string =>
  crc32(`${number}\n${note}`).toString(16).padStart(8, '0');

function readSlot(bytes: Buffer): Slot | undefined {
  const end = bytes.indexOf(0);
  const text = bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
  const [line = ''] = text.split('\n', 1);
  const number = Number(/^troad-head (\d{1,15}) [0-9a-f]{8}$/.exec(line)?.[1]);
  const note = text.slice(line.length + 1);
  return line === `troad-head ${number} ${checksum(number, note)}` ? { number, note } : undefined;
}

function newest(file: Buffer): Slot | undefined {
  const one = readSlot(file.subarray(0, SLOT_BYTES));
  const other = readSlot(file.subarray(SLOT_BYTES));
  return one === undefined || (other !== undefined && other.number > one.number) ? other : one;
}

/** The writer's end. */
export class HeadFile {
  readonly path: string;
  readonly #storage: Storage;
  /** What is in the file as far as we know. */
  #found: Buffer | undefined;
  /** What a write that failed may have left there. */
  #tried: Buffer | undefined;
  #file: StorageFile | undefined;
  /** One after the other. */
  #storing: Promise<void> = Promise.resolve();

  /** @param found what is in the file when the log is opened */
  constructor(storage: Storage, path: string, found: Buffer | undefined) {
    this.#storage = storage;
    this.path = path;
    this.#found = found;
  }

  /** The head that was stored last, if any was. */
  get note(): string | undefined {
    return this.#found === undefined ? undefined : readHead(this.#found);
  }

  /**
   * On disk when it resolves; from then on less than this is a rollback.
   * @throws Fatal another writer has the log
   */
  store(note: string): Promise<void> {
    this.#storing = this.#storing.catch(() => undefined).then(() => this.#store(note));
    return this.#storing;
  }

  async close(): Promise<void> {
    await this.#storing.catch(() => undefined); // whoever asked for it was told
    await this.#closeFile();
  }

  async #store(note: string): Promise<void> {
    // Fencing: whoever opened the log after us (the lock file was deleted, the volume is mounted twice) has written a
    // head of its own. Two writers would sign two trees under one origin. By its name, lest we write a file that is none.
    const found = await this.#storage.readFile(this.path);
    if (!this.#isOurs(found)) throw new Fatal(`${this.path} was changed by another writer`);
    this.#found = found;
    const last = found === undefined ? undefined : newest(found);
    const number = (last?.number ?? 0) + 1;
    const slot = formatSlot({ number, note });
    const at = number % 2 === 0 ? SLOT_BYTES : 0; // where the newest head does not stand
    const next = Buffer.alloc(2 * SLOT_BYTES);
    if (last !== undefined) found?.copy(next);
    slot.copy(next, at);
    this.#tried = next;
    if (last === undefined || found?.length !== next.length) await this.#replace(next);
    else {
      this.#file ??= await this.#storage.open(this.path, 'durable');
      await this.#file.write(slot, at);
    }
    this.#found = next;
    this.#tried = undefined;
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #replace(next: Buffer): Promise<void> {
    await this.#closeFile(); // it would be the file of before
    await replaceFile(this.#storage, this.path, next);
  }

  #isOurs(found: Buffer | undefined): boolean {
    const [last, tried] = [this.#found, this.#tried];
    if (last === undefined ? found === undefined : found !== undefined && last.equals(found)) return true;
    // Half of what was to be written.
    return (
      found !== undefined &&
      tried?.length === found.length &&
      found.every((byte, i) => byte === tried[i] || byte === last?.[i])
    );
  }
}
