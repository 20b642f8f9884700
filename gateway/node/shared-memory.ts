import type { Clock, EpochMs } from '../core/clock.ts';
import { allocateTable, SharedTable, type SharedTableMemory } from '../core/shared-table.ts';
import type { SeenExchange } from '../evidence/contract.ts';
import { SKEW_S, UNBOUND_LIFETIME_S } from '../identity/claims.ts';
import { PROOF_WINDOW_MS } from '../identity/dpop.ts';
import { LONGEST_IDLE_MS } from '../identity/idle.ts';
import { REPLAY_WINDOW_MS } from '../message/profile.ts';
import { ReplayTable } from '../message/replay-table.ts';

/** As long as an assertion that nothing binds can pass the clock: what a restart has to read back. */
export const ASSERTION_WINDOW_MS = (UNBOUND_LIFETIME_S + 2 * SKEW_S) * 1000;

/** Ids of two minutes: 7,600 messages a second. */
const MESSAGES = 1 << 20;
const ASSERTIONS = 1 << 19;
const SESSIONS = 1 << 17;

/** What the workers of a process have in common. Memory is taken as it is used. */
export interface SharedMemory {
  readonly messages: SharedTableMemory;
  readonly assertions: SharedTableMemory;
  readonly proofs: SharedTableMemory;
  readonly sessions: SharedTableMemory;
  /** Of the nonces that gateways hand out: one that any worker gave is good at all. */
  readonly nonceSecret: Uint8Array;
}

/** @param nonceSecret 32 bytes */
export function allocateShared(random: (bytes: number) => Buffer, nonceSecret: Uint8Array): SharedMemory {
  const seed = (): string => random(16).toString('base64');
  return {
    messages: allocateTable({ slots: MESSAGES, windowMs: REPLAY_WINDOW_MS, seed: seed() }),
    assertions: allocateTable({ slots: ASSERTIONS, windowMs: ASSERTION_WINDOW_MS, seed: seed() }),
    proofs: allocateTable({ slots: ASSERTIONS, windowMs: PROOF_WINDOW_MS, seed: seed() }),
    sessions: allocateTable({ slots: SESSIONS, windowMs: LONGEST_IDLE_MS, values: true, seed: seed() }),
    nonceSecret,
  };
}

/**
 * Begins new generations when it is time. For the one thread that owns the memory. From one call to the next as much time
 * goes by as the slower of both clocks says: what a wall clock that is ahead for a moment calls expired is valid again once
 * it is set right, and so is, set back, what is long ago.
 */
export function tender(memory: SharedMemory, clock: Clock): () => void {
  const { messages, assertions, proofs, sessions } = memory;
  const tables = [messages, assertions, proofs, sessions].map((each) => new SharedTable(each));
  let [wall, monotonic] = [clock.now(), clock.monotonic()];
  let passed = 0;
  const tend = (): void => {
    const [wallNow, monotonicNow] = [clock.now(), clock.monotonic()];
    passed += Math.min(wallNow - wall, monotonicNow - monotonic);
    [wall, monotonic] = [wallNow, monotonicNow];
    for (const table of tables) table.tend(passed);
  };
  tend();
  return tend;
}

/** What keeps anything from being used twice. */
export interface Once {
  readonly messages: ReplayTable;
  readonly assertions: ReplayTable;
  readonly proofs: ReplayTable;
}

export const onceOf = ({ messages, assertions, proofs }: SharedMemory): Once => ({
  messages: new ReplayTable(messages),
  assertions: new ReplayTable(assertions, 'assertion.replayed'),
  proofs: new ReplayTable(proofs, 'assertion.proof_replayed'),
});

/**
 * What was seen before a restart counts as seen: a copy of an old message must not pass because we forgot.
 * @param seen exchanges of the last {@link ASSERTION_WINDOW_MS}
 * @throws Unavailable `gateway.overloaded` there were more than there is room for
 */
export function rememberSeen(once: Once, seen: readonly SeenExchange[], now: EpochMs): void {
  for (const { role, peer, x, at, once: ids = [] } of seen) {
    if (role === 'p' && peer !== undefined && now - at <= REPLAY_WINDOW_MS) once.messages.remember(peer, x);
    for (const id of ids) {
      // Which of the two it was does not matter: a hash of one is never the hash of the other.
      once.assertions.remember(role, id);
      once.proofs.remember(role, id);
    }
  }
}
