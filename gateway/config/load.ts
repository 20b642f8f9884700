import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigError, describe } from '../core/errors.ts';
import type { GatewayConfig } from './config.ts';
import type { FileDoor } from './files.ts';
import { parseConfig } from './parse.ts';

/** The real file system. */
export const disk: FileDoor = {
  stat(path) {
    const stat = statSync(path);
    return { mode: stat.mode, kind: stat.isFile() ? 'file' : stat.isDirectory() ? 'folder' : 'other' };
  },
  read: (path) => readFileSync(path),
};

/**
 * Reads, checks and freezes the configuration of a gateway. Paths in it are relative to its folder.
 * @throws ConfigError with every problem found
 */
export function loadConfig(file: string): GatewayConfig {
  const path = resolve(file);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(disk.read(path));
  } catch (error) {
    throw new ConfigError([`${path}: ${describe(error)}`]);
  }
  return parseConfig(text, dirname(path), disk);
}
