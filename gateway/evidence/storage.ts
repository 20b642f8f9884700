/** One open file. Every method rejects on error and none retries: what a failed write left behind is unknown. */
export interface StorageFile {
  /** Writes all the bytes at the position. On a file opened with `durable`, resolving means: on disk. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Reads up to `into.length` bytes; fewer only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Content on disk when it resolves (`fdatasync`). */
  sync(): Promise<void>;
  truncate(bytes: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export type OpenMode = 'read' | 'write' | 'create' | 'durable';

/** Everything the log does with a disk: the door for fault tests. */
export interface Storage {
  /** `create` fails when the file exists; `durable` opens an existing file whose writes return once they are on disk. */
  open(path: string, mode: OpenMode, permissions?: number): Promise<StorageFile>;
  /** Content, or undefined when there is no such file. */
  readFile(path: string): Promise<Buffer | undefined>;
  /** Replaces the file in one step, on disk when it resolves: after a crash it holds the old content or the new, whole. */
  replaceFile(path: string, bytes: Uint8Array | string, permissions?: number): Promise<void>;
  /** Adds to the file, or begins it. On disk when it resolves; after a crash the tail may be missing. */
  appendFile(path: string, bytes: Uint8Array | string): Promise<void>;
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
