import { PassingMap } from '../core/passing.ts';
import type { ExchangeRecord } from './exchange-facts.ts';
import type { RecordDraft } from './record.ts';
import type { RunningExchange } from './segment.ts';

/** More than any gateway carries at once: a caller that never ends its exchanges must not fill the memory. */
const MAX_RUNNING = 65_536;

/** Which exchanges have begun in the log and not ended. Their records are taken even when no new ones are. */
export class RunningExchanges {
  readonly #byKey = new PassingMap<string, RunningExchange>();

  constructor(running: Iterable<RunningExchange> = []) {
    for (const exchange of running) this.#byKey.set(keyOf(exchange), exchange);
  }

  /** To be told every record in the order of the log. */
  note(record: RecordDraft | ExchangeRecord): void {
    switch (record.k) {
      case 'open':
      case 'req.final': {
        const { x, role, me, peer, out } = record;
        const key = keyOf(record);
        if (out !== 'ok') this.#byKey.delete(key);
        else if (!this.#byKey.has(key))
          this.#byKey.set(key, peer === undefined ? { x, role, me } : { x, role, me, peer });
        if (this.#byKey.size > MAX_RUNNING) this.#dropOldest();
        return;
      }
      case 'res.final':
      case 'deny':
      case 'abort':
      case 'sig.bad':
        this.#byKey.delete(keyOf(record));
        return;
      // A replay names the id of the exchange it imitates: that one goes on.
      default:
    }
  }

  /** True when the record belongs to an exchange that has begun. */
  covers(record: RecordDraft | ExchangeRecord): boolean {
    return 'x' in record && record.k !== 'replay.seen' && this.#byKey.has(keyOf(record));
  }

  list(): RunningExchange[] {
    return this.#byKey.values();
  }

  #dropOldest(): void {
    const oldest = this.#byKey.oldest;
    if (oldest !== undefined) this.#byKey.delete(oldest);
  }
}

/** One gateway may stand at both ends of an exchange. */
const keyOf = ({ x, role }: Pick<RunningExchange, 'x' | 'role'>): string => role + x;
