import type { Adapter, AdapterPayload } from 'oidc-provider';
import type { EpochMs } from '../../core/clock.ts';

/** By model and id. */
export type Entries = Map<string, Entry>;

/** Signs somebody out everywhere: sessions, and codes that were not redeemed yet. */
export function forgetAccount(entries: Entries, accountId: string): void {
  for (const [key, { payload }] of entries) if (payload.accountId === accountId) entries.delete(key);
}

interface Entry {
  readonly payload: AdapterPayload;
  readonly until: EpochMs;
}

/** A sandbox serves a handful of people; the oldest entries go first. */
const MAX_ENTRIES = 2000;

/** Where the provider keeps sessions, codes and grants: in memory, so a restart signs everybody out. */
export function memoryStore(now: () => EpochMs, entries: Entries): (model: string) => Adapter {
  const live = (key: string): AdapterPayload | undefined => {
    const entry = entries.get(key);
    if (entry === undefined || entry.until > now()) return entry?.payload;
    entries.delete(key);
    return undefined;
  };
  return (model) => {
    const find = (wanted: (payload: AdapterPayload) => boolean): AdapterPayload | undefined => {
      for (const [key, { payload }] of entries) {
        if (key.startsWith(`${model}:`) && wanted(payload)) return live(key);
      }
      return undefined;
    };
    return {
      upsert: async (id, payload, expiresInSeconds) => {
        const key = `${model}:${id}`;
        entries.delete(key); // to the end of the order of insertion
        entries.set(key, { payload, until: now() + (expiresInSeconds ?? 86_400) * 1000 });
        for (const oldest of entries.keys()) {
          if (entries.size <= MAX_ENTRIES) break;
          entries.delete(oldest);
        }
      },
      find: async (id) => live(`${model}:${id}`),
      findByUid: async (uid) => find((payload) => payload.uid === uid),
      findByUserCode: async (code) => find((payload) => payload.userCode === code),
      consume: async (id) => {
        const payload = live(`${model}:${id}`);
        if (payload !== undefined) payload.consumed = Math.floor(now() / 1000);
      },
      destroy: async (id) => {
        entries.delete(`${model}:${id}`);
      },
      revokeByGrantId: async (grantId) => {
        for (const [key, { payload }] of entries) if (payload.grantId === grantId) entries.delete(key);
      },
    };
  };
}
