import { hash } from 'node:crypto';
import type { EpochMs } from './clock.ts';

/** What threads hand each other to use one table: plain values, so that it can be posted. */
export interface SharedTableMemory {
  readonly buffer: SharedArrayBuffer;
  /** Of one generation; a power of two. */
  readonly slots: number;
  /** How long a key is kept at least, milliseconds. */
  readonly windowMs: number;
  /** Mixed into every key: nobody outside can choose keys that fall on one place. */
  readonly seed: string;
}

export interface TableSize {
  /** Power of two. Seven eighths of them are used at most. */
  readonly slots: number;
  readonly windowMs: number;
  /** A number beside each key. */
  readonly values?: boolean;
  /** Random text, fresh for each table. */
  readonly seed: string;
}

export type Claim = 'taken' | 'seen' | 'full';

/** Current, previous, and the one that is cleared meanwhile. */
const TABLES = 3;
/** Words of a key: 128 bits of SHA-256, none of the words zero. */
const WORDS = 4;
/** Generation, and the number of keys in each table. */
const HEADER = 1 + TABLES;
const GENERATION = 0;

/** Memory of one table. Pages of it are taken as they are used. */
export function allocateTable({ slots, windowMs, values = false, seed }: TableSize): SharedTableMemory {
  if (slots < 8 || (slots & (slots - 1)) !== 0) throw new RangeError(`${slots} slots`);
  const words = HEADER + TABLES * slots * (WORDS + (values ? 1 : 0));
  return { buffer: new SharedArrayBuffer(words * 4), slots, windowMs, seed };
}

/**
 * A set of keys that all threads of a process share, without locks: a thread may be ended at any instruction. Open
 * addressing in two generations; all keys of the older one have expired when it is cleared. A key is the hash of a text,
 * so a second text that passes for the first costs 2^64 attempts and is refused then, not let through.
 *
 * Whoever puts the first word into an empty slot has the key. A key whose other words are not written yet counts as
 * equal: at worst, once in 2^32 and for nanoseconds, somebody is told "seen" who was not.
 */
export class SharedTable {
  readonly #cells: Int32Array;
  readonly #slots: number;
  readonly #windowMs: number;
  readonly #seed: string;
  /** The key being looked for. */
  readonly #key = new Int32Array(WORDS);
  /** Slot of the key, counted through all tables, after a search that found it or put it there. */
  #slot = 0;
  #turnAt: EpochMs | undefined;

  constructor({ buffer, slots, windowMs, seed }: SharedTableMemory) {
    this.#cells = new Int32Array(buffer);
    this.#slots = slots;
    this.#windowMs = windowMs;
    this.#seed = seed;
  }

  /** Keys in both generations. */
  get size(): number {
    const generation = this.#generation;
    return this.#count(generation) + this.#count(generation - 1);
  }

  /** Of all threads that claim one text within the window exactly one gets `taken`. */
  claim(text: string): Claim {
    this.#hash(text);
    let generation = this.#generation;
    if (this.#find(generation - 1)) return 'seen';
    for (;;) {
      const claim = this.#insert(generation);
      if (claim !== 'taken') return claim;
      const now = this.#generation;
      // Whoever claims under a later generation began after this moment, and finds the key in the previous one.
      if (now === generation) return 'taken';
      // It turned meanwhile: somebody may have looked into ours before we were in it, so the new one decides as well.
      // Twice: this thread slept for a whole window, and what it would have found may be gone.
      if (now !== generation + 1) return 'full';
      generation = now;
    }
  }

  /** The number beside a text; 0 when there is none. */
  valueOf(text: string): number {
    this.#hash(text);
    const generation = this.#generation;
    const before = this.#valueIn(generation - 1);
    return Math.max(before, this.#valueIn(generation));
  }

  #valueIn(generation: number): number {
    return this.#find(generation) ? Atomics.load(this.#cells, this.#valueAt) >>> 0 : 0;
  }

  /**
   * Puts a number beside a text and keeps both for a window.
   * @param value unsigned, 32 bits
   * @returns false when there is no room
   */
  setValue(text: string, value: number): boolean {
    this.#hash(text);
    if (this.#insert(this.#generation) === 'full') return false;
    Atomics.store(this.#cells, this.#valueAt, value);
    return true;
  }

  /** Begins a new generation when it is time. To be called now and then, by one thread only; late does no harm. */
  tend(now: EpochMs): void {
    this.#turnAt ??= now + this.#windowMs;
    if (now < this.#turnAt) return;
    this.#turn();
    // The clock went far ahead: what the previous generation holds has expired too.
    if (now >= this.#turnAt + this.#windowMs) this.#turn();
    this.#turnAt = now + this.#windowMs;
  }

  #turn(): void {
    Atomics.add(this.#cells, GENERATION, 1);
    const next = this.#generation + 1;
    // Nobody looks here until the next turn, but a thread that slept for a window, and it will notice.
    const from = this.#first(next) * WORDS + HEADER;
    this.#cells.fill(0, from, from + this.#slots * WORDS);
    Atomics.store(this.#cells, 1 + (next % TABLES), 0);
  }

  get #generation(): number {
    // One above what is stored, so that there is always one before.
    return Atomics.load(this.#cells, GENERATION) + 1;
  }

  #count(generation: number): number {
    return Atomics.load(this.#cells, 1 + (generation % TABLES));
  }

  /** First slot of a generation's table. */
  #first(generation: number): number {
    return (generation % TABLES) * this.#slots;
  }

  get #valueAt(): number {
    return HEADER + TABLES * this.#slots * WORDS + this.#slot;
  }

  #hash(text: string): void {
    // As a string of bytes: half the time of a Buffer.
    const digest = hash('sha256', this.#seed + text, 'binary');
    for (let i = 0; i < WORDS; i += 1) {
      const at = i * 4;
      const word =
        digest.charCodeAt(at) |
        (digest.charCodeAt(at + 1) << 8) |
        (digest.charCodeAt(at + 2) << 16) |
        (digest.charCodeAt(at + 3) << 24);
      this.#key[i] = word === 0 ? 1 : word;
    }
  }

  #find(generation: number): boolean {
    const first = this.#first(generation);
    const start = this.#key[1] ?? 0;
    for (let probe = 0; probe < this.#slots; probe += 1) {
      this.#slot = first + ((start + probe) & (this.#slots - 1));
      const word = Atomics.load(this.#cells, HEADER + this.#slot * WORDS);
      if (word === 0) return false;
      if (word === this.#key[0] && this.#restIsSame()) return true;
    }
    return false;
  }

  #insert(generation: number): Claim {
    const [key = 0, start = 0] = this.#key;
    const first = this.#first(generation);
    const count = 1 + (generation % TABLES);
    for (let probe = 0; probe < this.#slots; probe += 1) {
      this.#slot = first + ((start + probe) & (this.#slots - 1));
      const at = HEADER + this.#slot * WORDS;
      let word = Atomics.load(this.#cells, at);
      if (word === 0) {
        if (Atomics.load(this.#cells, count) >= (this.#slots / 8) * 7) return 'full';
        word = Atomics.compareExchange(this.#cells, at, 0, key);
        if (word === 0) {
          for (let i = 1; i < WORDS; i += 1) Atomics.store(this.#cells, at + i, this.#key[i] ?? 0);
          Atomics.add(this.#cells, count, 1);
          return 'taken';
        }
      }
      if (word === key && this.#restIsSame()) return 'seen';
    }
    return 'full';
  }

  #restIsSame(): boolean {
    const at = HEADER + this.#slot * WORDS;
    for (let i = 1; i < WORDS; i += 1) {
      const word = Atomics.load(this.#cells, at + i);
      if (word !== this.#key[i] && word !== 0) return false;
    }
    return true;
  }
}
