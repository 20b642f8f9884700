import { closeSync, constants, fstatSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { inWords } from '../core/file-errors.ts';
import type { BundleFiles } from '../trust/bundle.ts';
import { BundleRefused, type BundleRefusalCode } from '../trust/bundle-refused.ts';

/** Each file of a bundle, and the most bytes it may have: what is larger is not read. */
const FILES = {
  'manifest.json': 1 << 20,
  'policy.wasm': 8 << 20,
  'data.json': 4 << 20,
  'release.json': 64 << 10,
} as const;

type FileName = keyof typeof FILES;

/**
 * Reads a bundle from its folder: exactly its files, each a regular one. A link could lead elsewhere at the next look,
 * and a file nobody looks at has no place in what somebody signed.
 * @throws BundleRefused `bundle.unreadable`, `bundle.file_extra`, `bundle.file_missing`
 */
export function readBundle(dir: string): BundleFiles {
  const names = attempt(dir, () => readdirSync(dir));
  const extra = names.filter((name) => !Object.hasOwn(FILES, name));
  if (extra.length > 0) throw refused('bundle.file_extra', dir, `does not belong: ${extra.join(', ')}`);
  const read = (name: FileName): Buffer => {
    const path = join(dir, name);
    if (!names.includes(name)) throw refused('bundle.file_missing', path, 'there is no such file');
    return attempt(path, () => readRegular(path, FILES[name]));
  };
  return {
    manifest: read('manifest.json'),
    wasm: read('policy.wasm'),
    data: read('data.json'),
    ...(names.includes('release.json') ? { release: read('release.json') } : {}),
  };
}

/** What is looked at is what is read: the path could lead elsewhere by then. A pipe is not waited for. */
function readRegular(path: string, maxBytes: number): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new Error('is not a regular file');
    if (stat.size > maxBytes) throw new Error(`is larger than ${maxBytes} bytes`);
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

function attempt<T>(path: string, step: () => T): T {
  try {
    return step();
  } catch (thrown) {
    throw refused('bundle.unreadable', path, inWords(thrown));
  }
}

const refused = (code: BundleRefusalCode, path: string, what: string): BundleRefused =>
  new BundleRefused(code, [`policy bundle, ${path}: ${what}`]);
