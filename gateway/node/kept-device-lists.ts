import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import { Revocations } from '../device/revocations.ts';
import type { TokenKey } from '../device/token.ts';
import { replaceFile, type Storage } from '../evidence/storage.ts';

/** One list, as it was signed and as it was read. */
export interface KeptList {
  readonly text: string;
  readonly list: Revocations;
}

/** Lists that a newer one does not cover: seldom one, when an attestation service has lost its memory. */
const MAX_LISTS = 8;

/**
 * What attestation services have taken back, over a restart: a gateway that starts while a service is out of reach still
 * refuses what was revoked, and takes no older list for a newer one. Whoever can write the files can remove them, no more:
 * every list is verified when it is read.
 */
export class KeptDeviceLists {
  readonly #dir: string;
  readonly #storage: Storage;
  #writing: Promise<void> = Promise.resolve();

  constructor(dir: string, storage: Storage) {
    this.#dir = dir;
    this.#storage = storage;
  }

  /** @returns newest first; what cannot be believed any more is left out and told */
  read(issuer: string, keys: readonly TokenKey[], problem: (detail: string) => void): readonly KeptList[] {
    const path = this.#pathOf(issuer);
    const kept: KeptList[] = [];
    try {
      for (const text of readFileSync(path, 'latin1').trimEnd().split('\n').slice(0, MAX_LISTS)) {
        kept.push({ text, list: Revocations.open(text, keys) });
      }
    } catch (thrown) {
      // Nothing was kept yet, or the service has other keys now: the list it is asked for decides.
      if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT'))
        problem(`${path}: ${describe(thrown)}`);
    }
    return kept;
  }

  /** On disk when it resolves: a crash leaves the old lists or the new. @throws the system's error */
  write(issuer: string, lists: readonly KeptList[]): Promise<void> {
    const text = lists.map((each) => `${each.text}\n`).join('');
    const written = this.#writing.then(async () => {
      await this.#storage.makeDir(this.#dir);
      await replaceFile(this.#storage, this.#pathOf(issuer), text);
    });
    this.#writing = written.catch(() => undefined); // told to whoever asked for it
    return written;
  }

  /** Issuers are free text. */
  #pathOf(issuer: string): string {
    return join(this.#dir, `${base64url(sha256(issuer))}.lists`);
  }
}

/** The new list, and those before it that say more. */
export function withList(before: readonly KeptList[], next: KeptList, now: EpochMs): readonly KeptList[] {
  const more = before.filter(({ list }) => !next.list.covers(list, now));
  return [next, ...more].slice(0, MAX_LISTS);
}
