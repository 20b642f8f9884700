import { readFileSync, statSync } from 'node:fs';
import { requireFile } from '../core/file-errors.ts';

/** Bytes of a file that a person named. @throws ConfigError it is none; the error of the operating system */
export function contentOf(path: string): Buffer {
  requireFile(path, statSync(path));
  return readFileSync(path);
}
