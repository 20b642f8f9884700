import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { SandboxReady } from '../sandbox/sandbox.ts';

/** The running sandbox of a folder. @throws Error when none runs there */
export async function readReady(dir: string): Promise<SandboxReady> {
  const { readyFile } = await import('../sandbox/sandbox.ts');
  const text = await readFile(readyFile(resolve(dir)), 'utf8').catch(() => {
    throw new Error(`no sandbox is running in ${dir}: troad sandbox --dir ${dir}`);
  });
  return JSON.parse(text) as SandboxReady; // written by the sandbox itself
}
