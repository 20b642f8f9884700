import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder for nobody but us, and those above it that are missing. Node's `recursive` never returns where a folder
 * is there and lets nothing be made in it with ENOENT, as /proc does.
 * @throws the error of the operating system
 */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    const above = dirname(path);
    if (code !== 'ENOENT' || above === path || existsSync(above)) throw cause;
    makeFolder(above);
    makeFolder(path);
  }
}
