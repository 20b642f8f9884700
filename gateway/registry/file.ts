import { open, readFile, rename, stat } from 'node:fs/promises';
import type { Clock } from '../core/clock.ts';
import { ConfigError, describe } from '../core/errors.ts';
import { requireFile } from '../core/file-errors.ts';
import { loadRegistry, openRegistry, type RegistryTrust } from './load.ts';
import type { Registry } from './registry.ts';

export interface RegistryFileOptions {
  readonly file: string;
  readonly trust: RegistryTrust;
  readonly clock: Clock;
  /**
   * Copy of the last good file, written by us. After a restart it keeps an older file from being taken (versions never
   * go back), and serves when the file itself is broken.
   */
  readonly cache?: string;
  /** A newer registry is in use. */
  readonly onChange?: (registry: Registry) => void;
  /** The file is not usable; the last good one stays. Each text once, as long as it is the same. */
  readonly onProblem?: (problem: string) => void;
}

/**
 * The registry as a file that somebody else replaces. The last good one stays in use until its own expiry, whatever
 * happens to the file; a file that is half written is not signed, so it is simply not good.
 */
export class RegistryFile {
  readonly #options: RegistryFileOptions;
  #current: Registry;
  #bytes: Buffer;
  /** Identity of the file's state at the last attempt that needs no repetition. */
  #seen = '';
  #problem: string | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: RegistryFileOptions, current: Registry, bytes: Buffer) {
    this.#options = options;
    this.#current = current;
    this.#bytes = bytes;
  }

  /**
   * Reads the registry for the first time.
   * @throws as `loadRegistry`, or the operating system's error, when neither file nor cache is usable
   */
  static async open(options: RegistryFileOptions): Promise<RegistryFile> {
    const { trust, clock } = options;
    const cached = await readCache(options);
    let bytes: Buffer;
    let current: Registry;
    try {
      bytes = await readFile(options.file);
      current = await loadRegistry(bytes, trust, clock.now(), cached?.registry);
    } catch (thrown) {
      if (cached === undefined || clock.now() >= cached.registry.expiresAt) throw thrown;
      const opened = new RegistryFile(options, cached.registry, cached.bytes);
      opened.#report(describe(thrown));
      return opened;
    }
    const opened = new RegistryFile(options, current, bytes);
    if (current !== cached?.registry) await opened.#keep(bytes);
    return opened;
  }

  /** The registry in use. It may have expired: ask it with `requireFresh` before relying on it. */
  get current(): Registry {
    return this.#current;
  }

  /** The signed file that {@link current} was read from: whoever gets it can check it again. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /** What is wrong with the file, while an older registry serves; undefined when nothing is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Looks at the file now. Never rejects. @returns true when a newer registry came into use */
  refresh(): Promise<boolean> {
    const next = this.#running.then(() => this.#refresh());
    this.#running = next;
    return next;
  }

  /** Looks at the file every so often, until {@link close}. A second watch replaces the first. */
  watch(everyMs: number): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.refresh(), everyMs);
    this.#timer.unref(); // waiting for a change is no reason to stay alive
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async #refresh(): Promise<boolean> {
    const { file, trust, clock, onChange } = this.#options;
    let bytes: Buffer;
    try {
      const found = await stat(file);
      requireFile(file, found); // a pipe would be waited for at every look, a gigabyte read
      const { mtimeMs, size, ino } = found;
      const seen = `${mtimeMs}.${size}.${ino}`;
      if (seen === this.#seen) return false;
      bytes = await readFile(file);
      const registry = await loadRegistry(bytes, trust, clock.now(), this.#current);
      // A write between stat and readFile is seen again next time: its stat differs. Only success is remembered, as
      // what is refused now may be good later (a clock that was wrong).
      this.#seen = seen;
      this.#problem = undefined;
      if (registry === this.#current) return false;
      this.#current = registry;
      this.#bytes = bytes;
    } catch (thrown) {
      this.#report(describe(thrown));
      return false;
    }
    await this.#keep(bytes);
    try {
      onChange?.(this.#current);
    } catch (thrown) {
      this.#report(`a listener failed: ${describe(thrown)}`); // later looks must go on
    }
    return true;
  }

  /** Writes the cache, whole or not at all. Failing is reported, not fatal: the registry itself is good. */
  async #keep(bytes: Uint8Array): Promise<void> {
    const { cache } = this.#options;
    if (cache === undefined) return;
    try {
      const handle = await open(`${cache}.new`, 'w', 0o600);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(`${cache}.new`, cache);
    } catch (thrown) {
      this.#report(`${cache}: ${describe(thrown)}`);
    }
  }

  #report(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem?.(problem);
  }
}

/**
 * The last registry we used, expired or not: the floor of versions. It is our own file: when it is broken, or signed by
 * no key we trust any more, somebody should look before versions can go back.
 */
async function readCache({
  cache,
  trust,
}: RegistryFileOptions): Promise<{ registry: Registry; bytes: Buffer } | undefined> {
  if (cache === undefined) return undefined;
  let bytes: Buffer;
  try {
    bytes = await readFile(cache);
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined; // first start
    throw thrown;
  }
  try {
    return { registry: await openRegistry(bytes, trust), bytes };
  } catch (thrown) {
    throw new ConfigError([
      `${cache}: ${describe(thrown)}; remove it to start without the last known registry`,
    ]);
  }
}
