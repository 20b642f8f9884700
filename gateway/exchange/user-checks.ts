import type { DecryptionKey } from '../identity/decrypt.ts';
import type { DpopNonces } from '../identity/dpop-nonce.ts';
import type { IdleWatch } from '../identity/idle.ts';
import type { Revocations } from '../identity/revocations.ts';
import type { TokenCache } from '../identity/token-cache.ts';
import type { ReplayTable } from '../message/replay-table.ts';
import type { Issuers } from './issuers.ts';
import type { RunningUsers } from './revoke.ts';

/** What verifying users needs beside the registry, wired in `node.ts`. */
export interface UserChecks {
  readonly decryptionKeys: readonly DecryptionKey[];
  readonly cache: TokenCache;
  readonly nonces: DpopNonces;
  readonly idle: IdleWatch;
  readonly revocations: Revocations;
  readonly running: RunningUsers;
  /** Ids of assertions that nothing binds, and of proofs. */
  readonly assertions: ReplayTable;
  readonly proofs: ReplayTable;
  /** Identity providers as the registry in force and the keys fetched for it have them. */
  readonly issuers: () => Issuers;
}
