import { open } from 'node:fs/promises';

/** Names of files are on disk when their folder is. */
export async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r');
  await folder.sync();
  await folder.close();
}
