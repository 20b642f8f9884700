import { basename, dirname, join, resolve } from 'node:path';
import { bundleDir, examplesDir } from '../../sandbox/bundle.ts';

/**
 * Where the bundles that decided may lie: as told, in the stores that gateways keep beside their logs, with the program.
 * @param logs folders of logs, or of one worker's below it
 */
export function placesOfBundles(told: readonly string[], logs: readonly string[]): readonly string[] {
  const stores = logs.map((log) => {
    const folder = resolve(log);
    return join(dirname(/^w\d+$/.test(basename(folder)) ? dirname(folder) : folder), 'policies');
  });
  return [...new Set([...told, ...stores, bundleDir(), examplesDir()])];
}
