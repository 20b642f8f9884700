import { HASH_BYTES, type HashText } from '../tlog/hash.ts';
import type { ReadStorage } from './folder.ts';
import { withFile } from './small-file.ts';

const INITIAL_BYTES = 1 << 20;

/**
 * Compares the file of stored hashes with those of the tree while that is hashed anew, a piece at a time: 64 bytes a record make
 * it longer than any memory.
 */
export class StoredHashes {
  readonly #storage: ReadStorage;
  readonly #path: string;
  #own = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #stored = Buffer.alloc(0);
  /** Hashes that wait for the comparison. */
  #waiting = 0;
  /** Compared. */
  #done = 0;
  /** Hashes of those that were in the file. */
  #found = 0;
  #differing: number | undefined;
  #unreadable = false;

  constructor(storage: ReadStorage, path: string) {
    this.#storage = storage;
    this.#path = path;
  }

  /** How many are there and were compared. */
  get compared(): number {
    return this.#found;
  }

  /** The first that is another one. */
  get differing(): number | undefined {
    return this.#differing;
  }

  /** To be called in the order in which the tree settles them. */
  readonly add = (hash: HashText): void => {
    if (this.#unreadable || this.#differing !== undefined) return; // no more will be said
    const at = this.#waiting * HASH_BYTES;
    if (at === this.#own.length) {
      const more = Buffer.allocUnsafeSlow(2 * at);
      this.#own.copy(more);
      this.#own = more;
    }
    this.#own.write(hash, at, 'latin1');
    this.#waiting += 1;
  };

  /** Compares what waits. @throws MalformedBytes the file cannot be read */
  async compare(): Promise<void> {
    const own = this.#own.subarray(0, this.#waiting * HASH_BYTES);
    const first = this.#done;
    if (this.#stored.length < own.length) this.#stored = Buffer.allocUnsafeSlow(this.#own.length);
    const count = await this.#read(this.#stored.subarray(0, own.length));
    this.#done += this.#waiting;
    this.#waiting = 0;
    const whole = Math.floor(count / HASH_BYTES);
    for (let i = 0; i < whole && this.#differing === undefined; i += 1) {
      const [from, to] = [i * HASH_BYTES, (i + 1) * HASH_BYTES];
      if (own.compare(this.#stored, from, to, from, to) !== 0) this.#differing = first + i;
    }
    this.#found += whole;
  }

  async #read(into: Buffer): Promise<number> {
    if (into.length === 0) return 0;
    try {
      const count = await withFile(this.#storage, this.#path, (file) =>
        file.read(into, this.#done * HASH_BYTES),
      );
      return count ?? 0; // derived data: a copy may do without
    } catch (cause) {
      this.#unreadable = true;
      throw cause;
    }
  }
}
