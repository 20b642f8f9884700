import { MalformedBytes } from '../core/errors.ts';
import { HASH_BYTES, type HashText } from '../tlog/hash.ts';
import type { Frontier } from '../tlog/frontier.ts';
import { storedHashCount, storedHashIndex, subtreesOf } from '../tlog/stored.ts';
import type { Storage, StorageFile } from './storage.ts';

export const HASHES_FILE = 'hashes';

/** Written in pieces of this size: a write per commit would cost as much as the commit. */
const FLUSH_BYTES = 1 << 18;

/**
 * The settled hashes of the tree, so that a proof reads a few dozen hashes and not the log. Derived data: nothing waits
 * for it, it is not synced but when a segment ends, and a restart writes the last segment's part anew.
 */
export class HashStore {
  readonly #file: StorageFile;
  /** How many are in the file. */
  #written: number;
  /** Settled and not in the file. Copied: eight thousand small buffers that grow old would keep their pools alive. */
  #pending = Buffer.allocUnsafeSlow(FLUSH_BYTES);
  #pendingBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  private constructor(file: StorageFile, written: number) {
    this.#file = file;
    this.#written = written;
  }

  /**
   * Opens the file as it stood at `frontier`, or undefined when it does not hold that frontier: then all has to be
   * hashed anew.
   */
  static async open(storage: Storage, path: string, frontier: Frontier): Promise<HashStore | undefined> {
    const store = new HashStore(await storage.open(path, 'write'), Number(storedHashCount(frontier.size)));
    const at = subtreesOf(0n, frontier.size).map(storedHashIndex);
    const found = await store.read(at).catch(() => []);
    const expected = frontier.hashes();
    if (expected.every((hash, i) => found[i]?.equals(hash) === true)) return store;
    await store.#file.close();
    return undefined;
  }

  /** An empty store. */
  static async create(storage: Storage, path: string): Promise<HashStore> {
    return new HashStore(await storage.open(path, 'write'), 0);
  }

  /** Why proofs cannot be made, if they cannot. */
  get failure(): unknown {
    return this.#failure;
  }

  /** To be called in the order in which the tree settles them. */
  readonly add = (hash: HashText): void => {
    this.#pending.write(hash, this.#pendingBytes, 'latin1');
    this.#pendingBytes += HASH_BYTES;
    if (this.#pendingBytes === FLUSH_BYTES) this.#flush();
  };

  /** All on disk when it resolves, or {@link failure} says why not: records do not wait for what is derived of them. */
  async sync(): Promise<void> {
    this.#flush();
    await this.#writing;
    if (this.#failure !== undefined) return;
    try {
      await this.#file.sync();
    } catch (cause) {
      this.#failure = cause;
    }
  }

  async close(): Promise<void> {
    await this.sync();
    await this.#file.close();
  }

  /** @throws MalformedBytes a hash that is not there */
  async read(indices: readonly bigint[]): Promise<Buffer[]> {
    return Promise.all(indices.map((index) => this.#readOne(Number(index))));
  }

  async #readOne(index: number): Promise<Buffer> {
    // Decided and read in one turn: what is pending now may be in the file a turn later.
    if (index >= this.#written) {
      const at = (index - this.#written) * HASH_BYTES;
      if (at >= this.#pendingBytes) throw new MalformedBytes(`no hash ${index} is stored`);
      return Buffer.from(this.#pending.subarray(at, at + HASH_BYTES));
    }
    await this.#writing;
    const hash = Buffer.alloc(HASH_BYTES);
    const count = await this.#file.read(hash, index * HASH_BYTES);
    if (count !== HASH_BYTES) throw new MalformedBytes(`no hash ${index} is stored`);
    return hash;
  }

  #flush(): void {
    if (this.#failure !== undefined) this.#pendingBytes = 0; // nobody can read it any more
    if (this.#pendingBytes === 0) return;
    const hashes = this.#pending.subarray(0, this.#pendingBytes);
    const position = this.#written * HASH_BYTES;
    this.#pending = Buffer.allocUnsafeSlow(FLUSH_BYTES);
    this.#pendingBytes = 0;
    this.#written += hashes.length / HASH_BYTES;
    this.#writing = this.#writing
      .then(() => this.#file.write(hashes, position))
      .catch((cause: unknown) => {
        this.#failure = cause;
      });
  }
}
