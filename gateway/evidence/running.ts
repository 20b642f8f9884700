import { PassingMap } from '../core/passing.ts';
import type { ExchangeRecord } from './exchange-facts.ts';
import type { RecordDraft } from './record.ts';
import { fitsHead, type RunningExchange } from './segment.ts';

/** More than any gateway carries at once: a caller that never ends its exchanges must not fill the memory. */
const MAX_RUNNING = 65_536;

/** Which exchanges have begun in the log and not ended. Their records are taken even when no new ones are. */
export class RunningExchanges {
  /**
   * By id, for each end: one gateway may stand at both ends of an exchange. The id as it is: V8 would hash, flatten and
   * compare a key put together for each look.
   */
  readonly #atConsumer = new PassingMap<string, RunningExchange>();
  readonly #atProvider = new PassingMap<string, RunningExchange>();

  constructor(running: Iterable<RunningExchange> = []) {
    for (const exchange of running) this.#at(exchange.role).set(exchange.x, exchange);
  }

  /** To be told every record in the order of the log. */
  note(record: RecordDraft | ExchangeRecord): void {
    switch (record.k) {
      case 'open':
      case 'req.final': {
        const { x, role, me, peer, out } = record;
        const running = this.#at(role);
        if (out !== 'ok') running.delete(x);
        else if (!running.has(x)) {
          const exchange = peer === undefined ? { x, role, me } : { x, role, me, peer };
          // What was read back is typed by promise only.
          if (fitsHead(exchange)) running.set(x, exchange);
        }
        if (this.#atConsumer.size + this.#atProvider.size > MAX_RUNNING) this.#dropOldest();
        return;
      }
      case 'res.final':
      case 'deny':
      case 'abort':
      case 'sig.bad':
        this.#at(record.role).delete(record.x);
        return;
      // A replay names the id of the exchange it imitates: that one goes on.
      default:
    }
  }

  /** True when the record belongs to an exchange that has begun. */
  covers(record: RecordDraft | ExchangeRecord): boolean {
    return 'x' in record && record.k !== 'replay.seen' && this.#at(record.role).has(record.x);
  }

  list(): RunningExchange[] {
    return [...this.#atConsumer.values(), ...this.#atProvider.values()];
  }

  /** A log may hold any role: what a gateway that signs nonsense wrote is read back, and is for the auditor to tell. */
  #at(role: RunningExchange['role']): PassingMap<string, RunningExchange> {
    return role === 'p' ? this.#atProvider : this.#atConsumer;
  }

  /** Of the end that fills the memory: the other one's few still run. */
  #dropOldest(): void {
    const fuller = this.#atConsumer.size > this.#atProvider.size ? this.#atConsumer : this.#atProvider;
    const { oldest } = fuller;
    if (oldest !== undefined) fuller.delete(oldest);
  }
}
