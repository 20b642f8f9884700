import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EpochMs } from '../gateway/core/clock.ts';
import { Authority } from './authority.ts';
import { readPrivateKey, writePrivateKey } from './keys.ts';

/**
 * The authority whose keys and certificates lie in a folder; made there when it has none.
 * @param name goes into the subjects of a new one
 */
export async function openAuthority(dir: string, name: string, now: () => EpochMs): Promise<Authority> {
  const at = (file: string): string => join(dir, file);
  if (existsSync(at('issuing.pem'))) {
    return Authority.fromParts(
      {
        rootPem: await readFile(at('root.pem'), 'utf8'),
        rootKey: readPrivateKey(at('root.key')),
        issuingPem: await readFile(at('issuing.pem'), 'utf8'),
        issuingKey: readPrivateKey(at('issuing.key')),
      },
      now,
    );
  }
  const authority = await Authority.create(name, now);
  const { parts } = authority;
  await writePrivateKey(at('root.key'), parts.rootKey);
  await writePrivateKey(at('issuing.key'), parts.issuingKey);
  await writeFile(at('root.pem'), parts.rootPem);
  await writeFile(at('issuing.pem'), parts.issuingPem); // last: its presence means that all is there
  return authority;
}
