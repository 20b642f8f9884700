import { join } from 'node:path';
import type { GatewayConfig } from '../config/config.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { signalIssuersOf } from '../exchange/issuers.ts';
import { Signals } from '../exchange/signals.ts';
import type { Revocations } from '../identity/revocations.ts';
import type { SignalIssuers } from '../identity/security-event.ts';
import type { RegistryFile } from '../registry/file.ts';
import { SignalPoll } from '../server/signal-poll.ts';
import { SignalPush } from '../server/signal-push.ts';
import type { Emit } from '../telemetry/events.ts';
import { clock } from './clock.ts';
import { fewLines } from './few-lines.ts';
import type { Workers } from './workers.ts';
import { readIdentity, readToken } from './key-files.ts';

/** Reads what was ended before a restart. @param workers where exchanges run, once there are any. @throws ConfigError */
export function keptSignals(
  config: GatewayConfig,
  registryFile: RegistryFile,
  revocations: Revocations,
  workers: () => Workers | undefined,
  emit: Emit,
): Promise<Signals> {
  const issuers = (): SignalIssuers => {
    const { current } = registryFile;
    current.requireFresh(clock.now());
    return signalIssuersOf(current);
  };
  return Signals.open({
    name: config.node.name,
    clock,
    users: { issuers, revocations, running: { end: (ending) => workers()?.end(ending) ?? 0 } },
    storage: nodeStorage(),
    file: join(config.log.dir, '..', 'signals.json'),
    onEvent: (outcome) => emit('identity.signal', outcome),
  });
}

/** Those of the providers that are polled, in their order. @throws ConfigError */
export const pollTokensOf = (poll: GatewayConfig['signals']['poll']): (string | undefined)[] =>
  poll.map(({ tokenFile }, i) =>
    tokenFile === undefined ? undefined : readToken(`/signals/poll/${i}/tokenFile`, tokenFile),
  );

/**
 * Opens the ways in for shared signals, in the main thread: it verifies each event, and every worker carries it out.
 * @returns closes them
 * @throws ConfigError; the system's error when the address cannot be used
 */
export async function openSignals(
  { signals: { push, poll } }: GatewayConfig,
  take: (set: string) => Promise<void>,
  emit: Emit,
): Promise<() => Promise<void>> {
  // Whoever reaches the listener can have something refused, at any rate.
  const onProblem = fewLines((detail) => emit('identity.problem', { detail }), clock);
  const tokens = pollTokensOf(poll);
  const door =
    push === undefined
      ? undefined
      : await SignalPush.listen({
          host: push.host,
          port: push.port,
          ...(push.tls === undefined ? {} : { tls: readIdentity('/signals/push', push.tls) }),
          take,
          onProblem,
        });
  const polls = poll.map(
    ({ url, pauseMs }, i) => new SignalPoll({ url, token: tokens[i], pauseMs, take, onProblem }),
  );
  return async () => {
    await Promise.all([door?.close(), ...polls.map((each) => each.close())]);
  };
}
