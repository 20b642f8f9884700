import { release } from '../core/lending.ts';

/** One open file. Every method rejects on error and none retries: what a failed write left behind is unknown. */
export interface StorageFile {
  /** Writes all the bytes at the position. On a file opened with `durable` or `forward`, resolving means: on disk. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Reads up to `into.length` bytes; fewer only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Content on disk when it resolves (`fdatasync`). */
  sync(): Promise<void>;
  truncate(bytes: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export type OpenMode = 'read' | 'write' | 'create' | 'durable' | 'forward';

export const isErrno = (cause: unknown, code: string): boolean =>
  cause instanceof Error && 'code' in cause && cause.code === code;

/** Everything the log does with a disk: the door for fault tests. */
export interface Storage {
  /**
   * `create` fails when the file exists; `durable` opens an existing file whose writes return once they are on disk; so do those
   * of `forward`, which goes from the beginning to the end: up to 4 KiB behind a write become zeros.
   */
  open(path: string, mode: OpenMode, permissions?: number): Promise<StorageFile>;
  /** Content, or undefined when there is no such file. */
  readFile(path: string): Promise<Buffer | undefined>;
  list(dir: string): Promise<string[]>;
  makeDir(dir: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes created, renamed and removed names durable. */
  syncDir(dir: string): Promise<void>;
  /** Free space for us. */
  free(dir: string): Promise<{ readonly bytes: number; readonly files: number }>;
  /** Takes the lock or throws; it ends with the process, however that ends. @returns release */
  lock(path: string): Promise<() => void>;
}

/** Owner only: the log names people's exchanges, and keys lie beside it. */
export const PRIVATE_FILE = 0o600;

/**
 * Looks at a file as large as a segment, whose memory is free again at once: the collector may not come by for as long as
 * the gateway runs.
 * @param look keeps nothing of the bytes but copies
 * @returns undefined when there is no such file
 */
export async function lookAt<T>(
  storage: Storage,
  path: string,
  look: (bytes: Buffer) => T,
): Promise<T | undefined> {
  const bytes = await storage.readFile(path);
  if (bytes === undefined) return undefined;
  try {
    return look(bytes);
  } finally {
    release(bytes);
  }
}

/** Replaces the file in one step, on disk when it resolves: after a crash it holds the old content or the new, whole. */
export async function replaceFile(storage: Storage, path: string, bytes: Uint8Array | string): Promise<void> {
  const draft = `${path}.new`;
  const file = await created(storage, draft);
  try {
    await file.write(bytesOf(bytes), 0);
    await file.sync(); // the name still leads to the old content
  } finally {
    await file.close();
  }
  await storage.rename(draft, path); // to the new one, whole
  await storage.syncDir(path.slice(0, path.lastIndexOf('/')));
}

/** A new file under a name that a crash may have left in use: to find that out first would cost more than the opening does. */
async function created(storage: Storage, path: string): Promise<StorageFile> {
  try {
    return await storage.open(path, 'create', PRIVATE_FILE);
  } catch (cause) {
    if (!isErrno(cause, 'EEXIST')) throw cause;
    await storage.remove(path);
    return storage.open(path, 'create', PRIVATE_FILE);
  }
}

/** Adds to the file, or begins it. On disk when it resolves; after a crash its end may be torn. */
export async function appendFile(storage: Storage, path: string, bytes: Uint8Array | string): Promise<void> {
  const file = await storage.open(path, 'write', PRIVATE_FILE);
  try {
    await file.write(bytesOf(bytes), await file.size());
    await file.sync();
  } finally {
    await file.close();
  }
}

const bytesOf = (bytes: Uint8Array | string): Uint8Array =>
  typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
