import { createSecretKey, type KeyObject } from 'node:crypto';
import { base64, fromBase64 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { Fatal } from '../core/errors.ts';
import { PART_KEY_BYTES } from './parts.ts';
import type { PartClass } from './record.ts';
import { replaceFile, type Storage } from './storage.ts';

const DAY_MS = 86_400_000;
let lastDay = { number: 0, name: '1970-01-01' };

/** UTC day of a time, `yyyy-mm-dd`. */
export function dayOf(at: EpochMs): string {
  const number = Math.floor(at / DAY_MS);
  // Asked for every batch, and the same all day.
  if (number !== lastDay.number) lastDay = { number, name: new Date(at).toISOString().slice(0, 10) };
  return lastDay.name;
}

export const keyFileName = (partClass: PartClass, day: string): string => `${partClass}-${day}.key`;

/** @returns the key, or undefined when the text is not one */
export function parseKeyFile(text: string): KeyObject | undefined {
  const key = fromBase64(text.trimEnd());
  return key?.length === PART_KEY_BYTES ? createSecretKey(key) : undefined;
}

/** One key per class and day, each in a small file of its own: deleting the file erases those parts for good. */
export class ClassKeys {
  readonly #dir: string;
  readonly #storage: Storage;
  readonly #random: (bytes: number) => Buffer;
  /** Today's only. A file deleted while its day lasts goes on sealing until the next day or restart. */
  readonly #today = new Map<PartClass, { readonly day: string; readonly key: KeyObject }>();

  constructor(dir: string, storage: Storage, random: (bytes: number) => Buffer) {
    this.#dir = dir;
    this.#storage = storage;
    this.#random = random;
  }

  /** The key if it is at hand: once a day it is not. */
  cached(partClass: PartClass, day: string): KeyObject | undefined {
    const known = this.#today.get(partClass);
    return known?.day === day ? known.key : undefined;
  }

  /** @throws Fatal a key file that is not one: sealing under another key would leave two for a day */
  async load(partClass: PartClass, day: string): Promise<KeyObject> {
    const path = `${this.#dir}/${keyFileName(partClass, day)}`;
    const text = await this.#storage.readFile(path);
    let key: KeyObject | undefined;
    if (text === undefined) {
      const bytes = this.#random(PART_KEY_BYTES);
      key = createSecretKey(bytes);
      // On disk before the first block uses it: a block whose key is lost is as good as erased.
      await replaceFile(this.#storage, path, `${base64(bytes)}\n`);
    } else {
      key = parseKeyFile(text.toString('latin1'));
      if (key === undefined) throw new Fatal(`${path} is not a key`);
    }
    this.#today.set(partClass, { day, key });
    return key;
  }
}
