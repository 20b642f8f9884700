import { lstatSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from '../core/errors.ts';
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
  const extra = names.filter((name) => !(name in FILES));
  if (extra.length > 0) throw refused('bundle.file_extra', dir, `does not belong: ${extra.join(', ')}`);
  const read = (name: FileName): Buffer => {
    const path = join(dir, name);
    if (!names.includes(name)) throw refused('bundle.file_missing', path, 'there is no such file');
    const stat = attempt(path, () => lstatSync(path));
    if (!stat.isFile()) throw refused('bundle.unreadable', path, 'is not a regular file');
    if (stat.size > FILES[name])
      throw refused('bundle.unreadable', path, `is larger than ${FILES[name]} bytes`);
    return attempt(path, () => readFileSync(path));
  };
  return {
    manifest: read('manifest.json'),
    wasm: read('policy.wasm'),
    data: read('data.json'),
    ...(names.includes('release.json') ? { release: read('release.json') } : {}),
  };
}

function attempt<T>(path: string, step: () => T): T {
  try {
    return step();
  } catch (thrown) {
    throw refused('bundle.unreadable', path, describe(thrown));
  }
}

const refused = (code: BundleRefusalCode, path: string, what: string): BundleRefused =>
  new BundleRefused(code, [`policy bundle, ${path}: ${what}`]);
