import { hkdfSync, randomBytes } from 'node:crypto';
import type { GatewayConfig, ReplicasConfig } from '../config/config.ts';
import { ConfigError } from '../core/errors.ts';
import { inWords } from '../core/file-errors.ts';
import { SharedTable } from '../core/shared-table.ts';
import { PROOF_WINDOW_MS } from '../identity/dpop.ts';
import { REPLAY_WINDOW_MS } from '../message/profile.ts';
import { SharedStore } from '../replicas/shared-store.ts';
import { SignalRelay } from '../replicas/signal-relay.ts';
import type { StoreAddress } from '../replicas/store-connection.ts';
import type { Emit } from '../telemetry/events.ts';
import { clock } from './clock.ts';
import { ASSERTION_WINDOW_MS, type SharedMemory } from './shared-memory.ts';
import { readAuthorities, readSecret } from './key-files.ts';

const LEAST_SECRET = 32;

/** One worker's way to what the replicas have in common; undefined where there are none. */
export function openSharedStore(
  { node, replicas }: GatewayConfig,
  { messages, assertions, proofs }: SharedMemory,
  emit: Emit,
): SharedStore | undefined {
  if (replicas === undefined) return undefined;
  const tables = [messages, assertions, proofs].map((memory) => new SharedTable(memory));
  return new SharedStore({
    address: addressOf(replicas),
    gateway: node.name,
    windowMs: { message: REPLAY_WINDOW_MS, assertion: ASSERTION_WINDOW_MS, proof: PROOF_WINDOW_MS },
    random: () => randomBytes(16).toString('base64url'),
    monotonic: () => clock.monotonic(),
    hasTaken: () => tables.some(({ size }) => size > 0),
    onTrouble: (detail) => {
      if (detail === undefined) emit('replicas.available', {});
      else emit('replicas.unavailable', { detail });
    },
  });
}

/**
 * The main thread's: security events that one replica takes reach all.
 * @throws ConfigError the store cannot be reached: sessions that have ended would not be known
 */
export async function openSignalRelay(
  { node, replicas }: GatewayConfig,
  take: (set: string) => Promise<void>,
  emit: Emit,
): Promise<SignalRelay | undefined> {
  if (replicas === undefined) return undefined;
  const { store } = replicas;
  const address = addressOf(replicas);
  try {
    return await SignalRelay.open({
      address,
      gateway: node.name,
      now: () => clock.now(),
      take,
      onProblem: (detail) => emit('identity.problem', { detail }),
    });
  } catch (cause) {
    throw new ConfigError([`/replicas/store: ${store.host}:${store.port}: ${inWords(cause)}`]);
  }
}

/** What nonces are made with: of all replicas the same. @throws ConfigError */
export function nonceSecretOf({ replicas }: Pick<GatewayConfig, 'replicas'>): Buffer {
  if (replicas === undefined) return randomBytes(32); // new at every start: clients then make one more round trip
  const secret = readSecret('/replicas/secretFile', replicas.secretFile, LEAST_SECRET);
  return Buffer.from(hkdfSync('sha256', secret, '', 'troad dpop nonces', 32));
}

/** @throws ConfigError a file of it is not what it should be */
export const addressOf = ({ store, user, passwordFile, ca, timeoutMs }: ReplicasConfig): StoreAddress => ({
  host: store.host,
  port: store.port,
  database: store.database,
  tls: store.tls ? { ca: ca === undefined ? undefined : readAuthorities('/replicas/ca', ca) } : undefined,
  user,
  password: passwordFile === undefined ? undefined : readSecret('/replicas/passwordFile', passwordFile, 1),
  timeoutMs,
});
