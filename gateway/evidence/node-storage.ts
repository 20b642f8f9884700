import {
  constants,
  fdatasync,
  ftruncate,
  fstat,
  fsync,
  close,
  closeSync,
  open,
  openSync,
  read,
  readFile,
  unlink,
  write,
  writeSync,
} from 'node:fs';
import { readdir, rename, statfs } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import type { Clock } from '../core/clock.ts';
import { Fatal } from '../core/errors.ts';
import { DiskPace } from './disk-pace.ts';
import { ForwardFile } from './forward-file.ts';
import { makeFolder } from './make-folder.ts';
import { isErrno, PRIVATE_FILE, type OpenMode, type Storage, type StorageFile } from './storage.ts';

const { O_RDONLY, O_NONBLOCK, O_RDWR, O_CREAT, O_EXCL, O_DSYNC, O_DIRECT } = constants;

const openFd = promisify(open);
const closeFd = promisify(close);
const syncData = promisify(fdatasync);
const syncAll = promisify(fsync);
const truncateFd = promisify(ftruncate);
const statFd = promisify(fstat);
// A tree head is stored ten times a second: calls by descriptor or name cost half of what handles do.
const readWhole = promisify(readFile);
const removeFile = promisify(unlink);

const FLAGS: Record<OpenMode, number> = {
  // A pipe with nobody at its other end is not waited for.
  read: O_RDONLY | O_NONBLOCK,
  write: O_RDWR | O_CREAT,
  create: O_RDWR | O_CREAT | O_EXCL,
  // The write itself waits for the disk: measured at half the wait and two thirds of the processor time of `fdatasync` behind it.
  durable: O_RDWR | O_DSYNC,
  forward: O_RDWR | O_CREAT | O_DSYNC,
};

/**
 * The operating system's files.
 * @param clock given: while the disk is quick, the event loop waits for its durable writes itself
 */
export function nodeStorage(clock?: Clock): Storage {
  const pace = clock === undefined ? undefined : new DiskPace(() => clock.monotonic());
  return {
    async open(path, mode, permissions = PRIVATE_FILE) {
      const opened = async (flags = FLAGS[mode]) =>
        new NodeFile(
          await openFd(path, flags, permissions),
          (flags & O_DSYNC) === O_DSYNC ? pace : undefined,
        );
      if (mode !== 'forward') return opened();
      const direct = opened(FLAGS.forward | O_DIRECT).catch((cause: unknown) => {
        if (isErrno(cause, 'EINVAL')) return opened(); // a file system that knows no direct writes
        throw cause;
      });
      return new ForwardFile(await direct, opened);
    },
    async readFile(path) {
      try {
        return await readWhole(path);
      } catch (cause) {
        if (isErrno(cause, 'ENOENT')) return undefined;
        throw cause;
      }
    },
    async list(dir) {
      return (await readdir(dir)).toSorted();
    },
    async makeDir(dir) {
      makeFolder(dir);
    },
    rename,
    async remove(path) {
      try {
        await removeFile(path);
      } catch (cause) {
        if (!isErrno(cause, 'ENOENT')) throw cause;
      }
    },
    syncDir,
    async free(dir) {
      const { bavail, bsize, ffree, files } = await statfs(dir);
      // File systems without a fixed number of inodes say 0 of 0.
      return { bytes: bavail * bsize, files: files === 0 ? Infinity : ffree };
    },
    lock: async (path) => lock(path),
  };
}

class NodeFile implements StorageFile {
  readonly #fd: number;
  readonly #pace: DiskPace | undefined;

  constructor(fd: number, pace: DiskPace | undefined) {
    this.#fd = fd;
    this.#pace = pace;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const [rest, at] = [bytes.length - done, position + done];
      const written =
        this.#pace?.allows(rest) === true
          ? this.#pace.timed(() => writeSync(this.#fd, bytes, done, rest, at))
          : await writeSome(this.#fd, bytes, done, at);
      // A short write is no error; one of nothing would go on for ever.
      if (written === 0) throw new Error('the disk took no bytes');
      done += written;
    }
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const count = await readSome(this.#fd, into, done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  sync(): Promise<void> {
    return syncData(this.#fd);
  }

  async truncate(bytes: number): Promise<void> {
    await truncateFd(this.#fd, bytes);
  }

  async size(): Promise<number> {
    return (await statFd(this.#fd)).size;
  }

  close(): Promise<void> {
    return closeFd(this.#fd);
  }
}

const writeSome = (fd: number, bytes: Uint8Array, offset: number, position: number): Promise<number> =>
  new Promise((resolve, reject) => {
    write(fd, bytes, offset, bytes.length - offset, position, (error, written) => {
      if (error) reject(error);
      else resolve(written);
    });
  });

const readSome = (fd: number, into: Uint8Array, offset: number, position: number): Promise<number> =>
  new Promise((resolve, reject) => {
    read(fd, into, offset, into.length - offset, position, (error, count) => {
      if (error) reject(error);
      else resolve(count);
    });
  });

async function syncDir(dir: string): Promise<void> {
  // Only the sync waits for a disk; a trip to a thread for each of the other two would cost more than they do.
  const fd = openSync(dir, O_RDONLY);
  try {
    await syncAll(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Node has no `flock`. SQLite does: an exclusive transaction holds POSIX record locks on the file, which the kernel
 * drops when the process ends in whatever way, which other containers on the machine see, and which have no stale pid
 * to reason about. Nothing is ever written into the file.
 */
function lock(path: string): () => void {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw new Fatal(`${path}: another process has this open`, { cause });
  }
  return () => database.close();
}
