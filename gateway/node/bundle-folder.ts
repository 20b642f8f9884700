import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BundleFiles } from '../trust/bundle.ts';

/** @throws the system's error when a file is not there or cannot be read */
export function readBundle(dir: string): BundleFiles {
  const read = (file: string): Buffer => readFileSync(join(dir, file));
  return { manifest: read('manifest.json'), wasm: read('policy.wasm'), data: read('data.json') };
}
