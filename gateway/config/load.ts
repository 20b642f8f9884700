import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ConfigError } from '../core/errors.ts';
import { naming, requireFile } from '../core/file-errors.ts';
import type { GatewayConfig } from './config.ts';
import type { FileDoor } from './files.ts';
import { parseConfig } from './parse.ts';

/** The real file system. */
export const disk: FileDoor = {
  stat(path) {
    const stat = statSync(path);
    return { mode: stat.mode, kind: stat.isFile() ? 'file' : stat.isDirectory() ? 'folder' : 'other' };
  },
  read(path) {
    requireFile(path, statSync(path));
    return readFileSync(path);
  },
};

/**
 * Reads, checks and freezes the configuration of a gateway. Paths in it are relative to its folder.
 * @throws ConfigError with every problem found, each as `/path/of/file.yaml: /setting (line n): what is wrong`
 */
export function loadConfig(file: string): GatewayConfig {
  const path = resolve(file);
  return naming(path, () => parseConfig(textOf(disk.read(path)), dirname(path), disk));
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigError(['is not text in UTF-8: save it as UTF-8  不是 UTF-8 文字，請以 UTF-8 儲存']);
  }
}
