// Sealed parts of one commit block: a section per retention class, sealed with the class's key of the day, so that
// destroying one small key destroys a day of one class and leaves the tree whole.
//
//   class 1 · day 10 (ASCII) · length 4 · nonce 12 · ciphertext · tag 16
//   plaintext: length 4 · salt 16 and the part's bytes, repeated. A record names its part by the commitment, which is the
//   hash of what stands there behind the length
import { Buffer } from 'node:buffer';
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { MalformedBytes } from '../core/errors.ts';
import { Arena, mostBytes, writeInto, type Writable } from './arena.ts';
import { commitmentText, PART_CLASSES, SALT_BYTES, type SaltedPart } from './codec.ts';
import type { RandomPool } from './random-pool.ts';
import type { PartClass } from './record.ts';

const CIPHER = 'aes-256-gcm';
export const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const DAY_BYTES = 10;
const SECTION_HEAD = 1 + DAY_BYTES + 4;
const ENTRY_HEAD = 4;
/**
 * Classes of which like parts in a row are written once. Equal commitments say that the parts are equal: of a device that
 * stands in the records anyway (`dev.r`, `node.r`), of a person it must not be told when the part is long destroyed.
 */
const WRITTEN_ONCE: readonly PartClass[] = ['device'];

export const PART_KEY_BYTES = 32;
/** What a section adds to its entries. */
export const SECTION_OVERHEAD = SECTION_HEAD + NONCE_BYTES + TAG_BYTES;
export const entryBytes = (partBytes: number): number => ENTRY_HEAD + SALT_BYTES + partBytes;

/** What a section is bound to: it opens at its own place only. */
export interface SectionPlace {
  readonly origin: string;
  readonly first: bigint;
  readonly partClass: PartClass;
  /** UTC, `yyyy-mm-dd`: names the key. */
  readonly day: string;
}

interface Entry {
  readonly part: Writable | undefined;
  readonly commitment: string;
  /** Where it ends. */
  readonly end: number;
}

const NOTHING: Entry = { part: undefined, commitment: '', end: 0 };

/** Parts of one class that wait to be sealed together, as they will stand in their section. */
export class PlainSection {
  readonly partClass: PartClass;
  readonly #arena = new Arena();
  /** Put and not kept yet. */
  #put: Entry = NOTHING;
  /** Kept last. */
  #last: Entry = NOTHING;

  constructor(partClass: PartClass) {
    this.partClass = partClass;
  }

  /** Bytes of the entries that were kept. */
  get bytes(): number {
    return this.#arena.end;
  }

  clear(): void {
    this.#arena.clear();
    this.#put = this.#last = NOTHING;
  }

  /** Writes a part behind those that were kept. @returns its commitment, as a member of the record */
  put(salts: RandomPool, part: Writable): string {
    if (part === this.#last.part && WRITTEN_ONCE.includes(this.partClass)) {
      this.#put = this.#last;
      return this.#last.commitment;
    }
    const bytes = this.#arena.reserve(entryBytes(mostBytes(part)));
    const start = this.#arena.end;
    const salted = start + ENTRY_HEAD;
    salts.fill(bytes, salted, SALT_BYTES);
    const end = writeInto(bytes, salted + SALT_BYTES, part);
    bytes.writeUInt32BE(end - salted, start);
    const commitment = commitmentText(this.partClass, bytes.subarray(salted, end));
    this.#put = { part, commitment, end };
    return commitment;
  }

  /** Bytes that the part that was put adds. */
  get putBytes(): number {
    return this.#put.end - this.#arena.end;
  }

  /** Keeps the part that was put last. */
  keep(): void {
    this.#arena.end = this.#put.end;
    this.#last = this.#put;
  }

  /**
   * @param key an object, made once: given bytes, the runtime finds out by two exceptions that they are none, which costs more
   * than the cipher does
   * @param nonce 12 random bytes, never a counter: a torn block was on disk under its index too, and the block that
   * takes its place has the same index and another content
   * @returns the section in pieces, one behind the other
   */
  seal(place: Omit<SectionPlace, 'partClass'>, key: KeyObject, nonce: Buffer): Buffer[] {
    const { partClass } = this;
    const cipher = createCipheriv(CIPHER, key, nonce).setAAD(associated({ ...place, partClass }));
    const sealed = cipher.update(this.#arena.bytes.subarray(0, this.#arena.end));
    cipher.final();
    const head = Buffer.alloc(SECTION_HEAD);
    head.writeUInt8(PART_CLASSES.indexOf(partClass) + 1);
    head.write(place.day, 1, 'latin1');
    head.writeUInt32BE(NONCE_BYTES + sealed.length + TAG_BYTES, 1 + DAY_BYTES);
    return [head, nonce, sealed, cipher.getAuthTag()];
  }
}

export interface Section {
  readonly partClass: PartClass;
  readonly day: string;
  readonly sealed: Buffer;
}

/** @throws MalformedBytes */
export function readSections(parts: Buffer): Section[] {
  const sections: Section[] = [];
  for (let at = 0; at < parts.length;) {
    if (at + SECTION_HEAD > parts.length) throw new MalformedBytes('sealed parts are cut off');
    const partClass = PART_CLASSES[parts.readUInt8(at) - 1];
    const day = parts.toString('latin1', at + 1, at + 1 + DAY_BYTES);
    const end = at + SECTION_HEAD + parts.readUInt32BE(at + 1 + DAY_BYTES);
    if (partClass === undefined || !/^\d{4}-\d{2}-\d{2}$/.test(day) || end > parts.length) {
      throw new MalformedBytes('sealed parts are malformed');
    }
    sections.push({ partClass, day, sealed: parts.subarray(at + SECTION_HEAD, end) });
    at = end;
  }
  return sections;
}

/**
 * The parts of a section, each behind its salt.
 * @param key an object, made once: see `PlainSection.seal`
 * @throws MalformedBytes the key is another one, or a bit differs
 */
export function openSection(place: SectionPlace, sealed: Buffer, key: KeyObject): SaltedPart[] {
  const plain = unseal(place, sealed, key);
  const parts: SaltedPart[] = [];
  for (let at = 0; at < plain.length;) {
    if (at + ENTRY_HEAD > plain.length) throw new MalformedBytes('part is cut off');
    const start = at + ENTRY_HEAD;
    const end = start + plain.readUInt32BE(at);
    if (end > plain.length || end < start + SALT_BYTES) throw new MalformedBytes('part is cut off');
    parts.push(plain.subarray(start, end));
    at = end;
  }
  return parts;
}

function unseal(place: SectionPlace, sealed: Buffer, key: KeyObject): Buffer {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new MalformedBytes('sealed part is cut off');
  const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(associated(place)).setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  try {
    const plain = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
    decipher.final(); // adds nothing in this mode, and throws unless the tag fits
    return plain;
  } catch (cause) {
    throw new MalformedBytes(`sealed parts do not open: ${String(cause)}`);
  }
}

const associated = ({ origin, first, partClass, day }: SectionPlace): Buffer =>
  Buffer.from(`${origin}\n${first}\n${partClass}\n${day}\n`, 'utf8');
