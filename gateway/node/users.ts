import { createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { GatewayConfig } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { ConfigError, describe } from '../core/errors.ts';
import type { SeenExchange } from '../evidence/contract.ts';
import { Issuers } from '../exchange/issuers.ts';
import { RunningUsers } from '../exchange/revoke.ts';
import type { UserChecks } from '../exchange/user-checks.ts';
import { SKEW_S, UNBOUND_LIFETIME_S } from '../identity/claims.ts';
import { readDecryptionKey, type DecryptionKey } from '../identity/decrypt.ts';
import { DpopNonces } from '../identity/dpop-nonce.ts';
import { PROOF_WINDOW_MS } from '../identity/dpop.ts';
import { IdleWatch } from '../identity/idle.ts';
import { Revocations } from '../identity/revocations.ts';
import { TokenCache } from '../identity/token-cache.ts';
import { ReplayStore } from '../message/replay.ts';
import type { JwksCache } from '../registry/jwks.ts';
import type { Registry } from '../registry/registry.ts';

/** As long as an assertion that nothing binds can pass the clock: what a restart has to read back. */
export const ASSERTION_WINDOW_MS = (UNBOUND_LIFETIME_S + 2 * SKEW_S) * 1000;

/** @param seen exchanges of the last {@link ASSERTION_WINDOW_MS}: what they used up stays used up */
export function openUsers(
  config: GatewayConfig,
  clock: Clock,
  registry: () => Registry,
  jwks: JwksCache,
  seen: readonly SeenExchange[],
): UserChecks {
  const assertions = new ReplayStore(clock, ASSERTION_WINDOW_MS, 1_000_000, 'assertion.replayed');
  const proofs = new ReplayStore(clock, PROOF_WINDOW_MS, 1_000_000, 'assertion.proof_replayed');
  for (const { role, once = [] } of seen) {
    for (const id of once) {
      // Which of the two it was does not matter: a hash of one is never the hash of the other.
      assertions.remember(role, id);
      proofs.remember(role, id);
    }
  }
  let current: Issuers | undefined;
  let of: Registry | undefined;
  return {
    decryptionKeys: config.keys.assertion.map(({ file }) => decryptionKey(file)),
    cache: new TokenCache(),
    nonces: new DpopNonces(randomBytes(32), clock),
    idle: new IdleWatch(),
    revocations: new Revocations(),
    running: new RunningUsers(),
    assertions,
    proofs,
    issuers: () => {
      const inForce = registry();
      if (current === undefined || of !== inForce) current = new Issuers(inForce, jwks);
      of = inForce;
      return current;
    },
  };
}

function decryptionKey(file: string): DecryptionKey {
  try {
    return readDecryptionKey(createPrivateKey(readFileSync(file)));
  } catch (cause) {
    throw new ConfigError([`/keys/assertion: ${file}: ${describe(cause)}`]);
  }
}
