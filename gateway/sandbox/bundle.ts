import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The default policy bundle that comes with the program: `policies/bundle` beside it, installed or in a checkout. */
export function bundleDir(): string {
  for (let dir = dirname(fileURLToPath(import.meta.url)); dir !== dirname(dir); dir = dirname(dir)) {
    const bundle = join(dir, 'policies', 'bundle');
    if (existsSync(bundle)) return bundle;
  }
  throw new Error('policies/bundle is missing from this installation');
}

/** The bundle of the scenario policies, `policies/examples`. */
export const examplesDir = (): string => join(dirname(bundleDir()), 'examples', 'bundle');
