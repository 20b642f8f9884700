import { MalformedBytes } from '../core/errors.ts';
import { inWords } from '../core/file-errors.ts';
import type { ReadStorage } from './folder.ts';

/**
 * Reads a file that somebody else made, as far as it is no longer than what ours are.
 * @returns undefined when there is no such file
 * @throws MalformedBytes it is longer, or cannot be read
 */
export const readBounded = (
  storage: ReadStorage,
  path: string,
  maxBytes: number,
): Promise<Buffer | undefined> =>
  withFile(storage, path, async (file) => {
    // By what the system says of its length: a device has none, and is not read for ever.
    const size = await file.size();
    if (size > maxBytes) throw new MalformedBytes(`is ${size} bytes long: ${maxBytes} are expected at most`);
    return filled(file, Buffer.allocUnsafeSlow(size), 0);
  });

/** Far more than a note or two have. */
export const MAX_HEAD_BYTES = 1 << 17;

const PIECE_BYTES = 1 << 20;

/**
 * Reads a piece of a file that may be of any length.
 * @returns nothing behind its end, and of a file that is not there
 * @throws MalformedBytes it cannot be read
 */
export async function readPiece(storage: ReadStorage, path: string, position: number): Promise<Buffer> {
  const piece = await withFile(storage, path, async (file) => {
    const bytes = Math.max(0, Math.min(PIECE_BYTES, (await file.size()) - position));
    return filled(file, Buffer.allocUnsafeSlow(bytes), position);
  });
  return piece ?? Buffer.alloc(0);
}

const filled = async (file: ReadFile, into: Buffer, position: number): Promise<Buffer> =>
  into.subarray(0, await file.read(into, position));

type ReadFile = Awaited<ReturnType<ReadStorage['open']>>;

/** @returns undefined when there is no such file. @throws MalformedBytes it cannot be read */
export async function withFile<T>(
  storage: ReadStorage,
  path: string,
  read: (file: ReadFile) => Promise<T>,
): Promise<T | undefined> {
  try {
    const file = await storage.open(path, 'read');
    try {
      return await read(file);
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof MalformedBytes) throw cause;
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new MalformedBytes(`cannot be read: ${inWords(cause)}`, { cause });
  }
}
