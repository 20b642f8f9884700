import type { GatewayConfig } from '../../config/config.ts';
import { readIdentity } from '../../node/key-files.ts';
import { addressOf, nonceSecretOf } from '../../node/replicas.ts';
import { pollTokensOf } from '../../node/signals.ts';
import { decryptionKeysOf } from '../../node/users.ts';
import type { Report } from './finding.ts';

/** Files around users that a start reads, where the configuration names any. */
export async function checkUsers(
  report: Report,
  config: Pick<GatewayConfig, 'keys' | 'signals' | 'replicas'>,
): Promise<void> {
  const { keys, signals, replicas } = config;
  if (keys.assertion.length > 0)
    await report.check('assertion key', 'make a P-256 key (docs/identity.md), and tell the provider', () => {
      for (const { kid } of decryptionKeysOf(config)) report.ok('assertion key', `P-256, id ${kid}`);
    });
  const { push, poll } = signals;
  const { tls } = push ?? {};
  if (tls !== undefined)
    await report.check('signals certificate', 'set the certificate and the key that belong together', () => {
      readIdentity('/signals/push', tls);
      report.ok('signals certificate', 'matches its key');
    });
  if (poll.some(({ tokenFile }) => tokenFile !== undefined))
    await report.check('signals token', 'write the token that the identity provider gave out', () => {
      pollTokensOf(poll);
      report.ok('signals token', 'can be sent');
    });
  if (replicas !== undefined)
    await report.check('replicas', 'correct the file; it is the same for all replicas', () => {
      nonceSecretOf(config);
      addressOf(replicas);
      report.ok('replicas', 'secret, password and authorities can be read');
    });
}
