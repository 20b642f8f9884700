import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GatewayConfig } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { Signals } from '../exchange/signals.ts';
import type { UserChecks } from '../exchange/user-checks.ts';
import { SignalPoll } from '../server/signal-poll.ts';
import { SignalPush } from '../server/signal-push.ts';
import type { Emit } from '../telemetry/events.ts';

/**
 * Reads what was ended before a restart, then opens the ways in for shared signals.
 * @returns closes them
 * @throws ConfigError
 */
export async function openSignals(
  config: GatewayConfig,
  clock: Clock,
  users: UserChecks,
  emit: Emit,
): Promise<() => Promise<void>> {
  const { push, poll } = config.signals;
  const onProblem = (detail: string): void => emit('identity.problem', { detail });
  const signals = await Signals.open({
    name: config.node.name,
    clock,
    users,
    storage: nodeStorage(),
    file: join(config.log.dir, '..', 'signals.json'),
    onEvent: (outcome) => emit('identity.signal', outcome),
  });
  const take = (set: string): Promise<void> => signals.take(set);
  const door =
    push === undefined
      ? undefined
      : await SignalPush.listen({
          host: push.host,
          port: push.port,
          ...(push.tls === undefined
            ? {}
            : { tls: { cert: readFileSync(push.tls.cert), key: readFileSync(push.tls.key) } }),
          take,
          onProblem,
        });
  const polls = poll.map(
    ({ url, tokenFile, pauseMs }) =>
      new SignalPoll({
        url,
        token: tokenFile === undefined ? undefined : readFileSync(tokenFile, 'utf8').trim(),
        pauseMs,
        take,
        onProblem,
      }),
  );
  return async () => {
    await Promise.all([door?.close(), ...polls.map((each) => each.close())]);
  };
}
