import type { GatewayConfig } from '../config/config.ts';
import { naming } from '../core/file-errors.ts';
import { SharedTable } from '../core/shared-table.ts';
import { Issuers } from '../exchange/issuers.ts';
import { RunningUsers } from '../exchange/revoke.ts';
import type { UserChecks } from '../exchange/user-checks.ts';
import { readDecryptionKey, type DecryptionKey } from '../identity/decrypt.ts';
import { DpopNonces } from '../identity/dpop-nonce.ts';
import { IdleWatch, type ActivityElsewhere } from '../identity/idle.ts';
import { Revocations, type Revocation } from '../identity/revocations.ts';
import { TokenCache } from '../identity/token-cache.ts';
import type { JwksCache } from '../registry/jwks.ts';
import type { Registry } from '../registry/registry.ts';
import { clock } from './clock.ts';
import { readPrivateKey } from './key-files.ts';
import { onceOf, type SharedMemory } from './shared-memory.ts';

/**
 * @param ended what identity providers have ended so far
 * @param elsewhere the other replicas
 * @throws ConfigError
 */
export function openUsers(
  config: GatewayConfig,
  registry: () => Registry,
  jwks: JwksCache,
  shared: SharedMemory,
  ended: readonly Revocation[],
  elsewhere: ActivityElsewhere | undefined,
): UserChecks {
  const { assertions, proofs } = onceOf(shared);
  const revocations = new Revocations();
  revocations.restore(ended);
  let current: Issuers | undefined;
  let of: Registry | undefined;
  return {
    decryptionKeys: decryptionKeysOf(config),
    cache: new TokenCache(),
    nonces: new DpopNonces(Buffer.from(shared.nonceSecret), clock),
    idle: new IdleWatch(new SharedTable(shared.sessions), elsewhere),
    revocations,
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

/** @throws ConfigError */
export const decryptionKeysOf = ({ keys }: Pick<GatewayConfig, 'keys'>): DecryptionKey[] =>
  keys.assertion.map(({ file }, i) => {
    const setting = `/keys/assertion/${i}`;
    const key = readPrivateKey(setting, file);
    return naming(`${setting}: ${file}`, () => readDecryptionKey(key));
  });
