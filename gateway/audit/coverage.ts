import type { EpochMs } from '../core/clock.ts';
import type { CoreRecord } from '../evidence/record.ts';
import type { Coverage } from './exchanges.ts';
import type { TrustedLog } from './trust-file.ts';

interface End {
  readonly at: EpochMs;
  readonly sealed: boolean;
}

/**
 * How far the logs of each gateway reach. Of a gateway that runs, each worker's log was read at a moment of its own: what
 * they say together is complete up to the earliest end only, without the millisecond of the last record there, in which more may have
 * come. A sealed log holds nothing back: it may be of a worker that was given up long ago, and counts when nothing else is there.
 */
export class CoveredUntil implements Coverage {
  /** By gateway, then by log without its epoch. */
  readonly #ends = new Map<string, Map<string, End>>();

  /** Takes the records of a log in their order, older epochs first. */
  note({ origin, gateway }: TrustedLog, { k, at }: Pick<CoreRecord, 'k' | 'at'>): void {
    const ends = this.#ends.get(gateway.name) ?? new Map<string, End>();
    this.#ends.set(gateway.name, ends);
    ends.set(origin.slice(0, origin.lastIndexOf('/')), { at, sealed: k === 'seal' });
  }

  lastAt(gateway: string): EpochMs | undefined {
    const ends = [...(this.#ends.get(gateway)?.values() ?? [])];
    if (ends.length === 0) return undefined;
    const running = ends.filter(({ sealed }) => !sealed);
    return running.length > 0
      ? Math.min(...running.map(({ at }) => at)) - 1
      : Math.max(...ends.map(({ at }) => at));
  }
}
