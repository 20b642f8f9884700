import { ForwardFile } from '../../gateway/evidence/forward-file.ts';
import type { OpenMode, Storage, StorageFile } from '../../gateway/evidence/storage.ts';

/** What a fault hook is asked about: the `step`-th change of the disk. */
export interface DiskStep {
  readonly step: number;
  readonly kind: 'write' | 'sync' | 'truncate' | 'create' | 'rename' | 'remove' | 'syncDir';
  readonly path: string;
  /** For writes: true when the write promises to be on disk. */
  readonly durable: boolean;
}

export interface DiskOptions {
  /** Throws, or waits, in place of the step. */
  readonly fault?: (step: DiskStep) => Promise<void> | void;
  /** The power fails in the middle of this step. */
  readonly powerFailsAt?: number;
  readonly capacityBytes?: number;
}

export class PowerFailure extends Error {
  override readonly name = 'PowerFailure';
}

const SECTOR = 512;

interface Inode {
  /** What the running system sees. */
  live: Buffer;
  /** What a restart certainly finds. */
  durable: Buffer;
}

type Names = Map<string, Inode | 'dir'>;

/**
 * A disk in memory that forgets, on a power failure, whatever nobody waited for: of unsynced writes any sectors may have
 * arrived, of unsynced names any number, in their order. Fault injection for the one door to the disk.
 */
export class Disk implements Storage {
  readonly #options: DiskOptions;
  readonly #live: Names = new Map();
  /** Names as a restart certainly finds them. */
  readonly #durable: Names = new Map();
  /** Changes of names that nobody has synced, per directory, in order. */
  readonly #unsynced = new Map<string, ((names: Names) => void)[]>();
  readonly #locks = new Set<string>();
  #steps = 0;
  #off = false;

  constructor(options: DiskOptions = {}) {
    this.#options = options;
  }

  get steps(): number {
    return this.#steps;
  }

  /**
   * The disk as a restart finds it.
   * @param arrived decides for each thing nobody waited for whether it arrived
   */
  restarted(arrived: () => boolean, options: DiskOptions = {}): Disk {
    const next = new Disk(options);
    for (const changes of this.#unsynced.values()) {
      for (const change of changes) {
        if (!arrived()) break; // a journal keeps the order
        change(this.#durable);
      }
    }
    for (const [path, node] of this.#durable) {
      const copy = node === 'dir' ? node : afterPowerFailure(node, arrived);
      next.#live.set(path, copy);
      next.#durable.set(path, copy);
    }
    return next;
  }

  /** For tests that play the attacker. */
  poke(path: string, change: (bytes: Buffer) => Buffer): void {
    const node = this.#file(path);
    node.live = change(node.live);
    node.durable = Buffer.from(node.live);
  }

  /** A full copy, as a backup makes one. */
  snapshot(): Disk {
    for (const node of this.#live.values()) if (node !== 'dir') node.durable = Buffer.from(node.live);
    for (const dir of new Set([...this.#live.keys()].map(parentOf))) this.#syncNames(dir);
    return this.restarted(() => true);
  }

  async open(path: string, mode: OpenMode): Promise<StorageFile> {
    let node = this.#live.get(path);
    if (node === 'dir' || (mode === 'create' && node !== undefined)) throw errno('EEXIST', path);
    if (node === undefined) {
      if (mode === 'read' || mode === 'durable') throw errno('ENOENT', path);
      await this.#step('create', path);
      node = { live: Buffer.alloc(0), durable: Buffer.alloc(0) };
      this.#name(path, node);
    }
    if (mode !== 'forward') return this.#handle(path, node, mode === 'durable');
    const file = this.#handle(path, node, true);
    return new ForwardFile(file, async () => file);
  }

  #handle(path: string, node: Inode, durable: boolean): StorageFile {
    return {
      write: async (bytes, position) => {
        const end = position + bytes.length;
        this.#requireRoom(end - node.live.length);
        // The bytes are on their way: a power failure in this step finds any of their sectors.
        const before = node.live;
        const grown = Buffer.alloc(Math.max(before.length, end));
        before.copy(grown);
        grown.set(bytes, position);
        node.live = grown;
        await this.#step('write', path, durable);
        if (durable) node.durable = Buffer.from(node.live);
      },
      read: async (into, position) => {
        if (this.#off) throw new PowerFailure();
        return node.live.copy(into, 0, position, position + into.length);
      },
      sync: async () => {
        await this.#step('sync', path);
        node.durable = Buffer.from(node.live);
      },
      truncate: async (bytes) => {
        await this.#step('truncate', path);
        const cut = Buffer.alloc(bytes);
        node.live.copy(cut);
        node.live = cut;
      },
      size: async () => node.live.length,
      close: async () => undefined,
    };
  }

  async readFile(path: string): Promise<Buffer | undefined> {
    if (this.#off) throw new PowerFailure();
    const node = this.#live.get(path);
    return node === undefined || node === 'dir' ? undefined : Buffer.from(node.live);
  }

  async list(dir: string): Promise<string[]> {
    if (this.#off) throw new PowerFailure();
    const names = [...this.#live.keys()].filter((path) => parentOf(path) === dir);
    return names.map((path) => path.slice(dir.length + 1)).toSorted();
  }

  async makeDir(dir: string): Promise<void> {
    if (this.#off) throw new PowerFailure();
    for (let at = dir.indexOf('/', 1); ; at = dir.indexOf('/', at + 1)) {
      const path = at < 0 ? dir : dir.slice(0, at);
      if (!this.#live.has(path)) this.#name(path, 'dir');
      if (at < 0) return;
    }
  }

  async rename(from: string, to: string): Promise<void> {
    const node = this.#file(from);
    await this.#step('rename', to);
    this.#change(to, (names) => {
      names.delete(from);
      names.set(to, node);
    });
  }

  async remove(path: string): Promise<void> {
    if (!this.#live.has(path)) return;
    await this.#step('remove', path);
    this.#change(path, (names) => names.delete(path));
  }

  async syncDir(dir: string): Promise<void> {
    await this.#step('syncDir', dir);
    this.#syncNames(dir);
  }

  async free(): Promise<{ bytes: number; files: number }> {
    return { bytes: this.#room(), files: Infinity };
  }

  async lock(path: string): Promise<() => void> {
    if (this.#locks.has(path)) throw errno('EAGAIN', path);
    this.#locks.add(path);
    return () => this.#locks.delete(path);
  }

  async #step(kind: DiskStep['kind'], path: string, durable = false): Promise<void> {
    if (this.#off) throw new PowerFailure();
    this.#steps += 1;
    if (this.#steps === this.#options.powerFailsAt) this.#off = true;
    if (this.#off) throw new PowerFailure();
    await this.#options.fault?.({ step: this.#steps, kind, path, durable });
  }

  #name(path: string, node: Inode | 'dir'): void {
    this.#change(path, (names) => names.set(path, node));
  }

  #change(path: string, change: (names: Names) => void): void {
    change(this.#live);
    const dir = parentOf(path);
    this.#unsynced.set(dir, [...(this.#unsynced.get(dir) ?? []), change]);
  }

  #syncNames(dir: string): void {
    for (const change of this.#unsynced.get(dir) ?? []) change(this.#durable);
    this.#unsynced.delete(dir);
  }

  #file(path: string): Inode {
    const node = this.#live.get(path);
    if (node === undefined || node === 'dir') throw errno('ENOENT', path);
    return node;
  }

  #room(): number {
    let used = 0;
    for (const node of this.#live.values()) if (node !== 'dir') used += node.live.length;
    return (this.#options.capacityBytes ?? Infinity) - used;
  }

  #requireRoom(bytes: number): void {
    if (bytes > 0 && bytes > this.#room()) throw errno('ENOSPC', 'write');
  }
}

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/'));

function afterPowerFailure({ live, durable }: Inode, arrived: () => boolean): Inode {
  const length = live.length === durable.length || arrived() ? live.length : durable.length;
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += SECTOR) {
    const source = arrived() ? live : durable;
    if (at < source.length) source.copy(bytes, at, at, Math.min(at + SECTOR, length));
  }
  return { live: bytes, durable: Buffer.from(bytes) };
}

function errno(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
