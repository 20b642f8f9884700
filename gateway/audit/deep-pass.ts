import { AskedRequests } from './asked-requests.ts';
import { describe, MalformedBytes } from '../core/errors.ts';
import type { CoreRecord } from '../evidence/record.ts';
import { VerifiedBatches } from '../message/message-signature.ts';
import { partClassesOf, type ExchangeRecord, type LoggedRecord } from './records.ts';
import { Step } from './report.ts';
import { isMessage, readSignedText, requireSigned, SEALED, verifyMessage } from './signatures.ts';
import type { Trust } from './trust-file.ts';

/** Sealed parts and message signatures of one log: what takes its part keys, and a signature verification a message. */
export class DeepPass {
  readonly #parts = new Step('sealed parts are those committed to');
  readonly #messages = new Step('message signatures verify');
  readonly #trust: Trust;
  /** Messages of a batch lie close together, so most of them cost no signature verification. */
  readonly #batches = new VerifiedBatches();
  readonly #requests = new AskedRequests();

  constructor(trust: Trust) {
    this.#trust = trust;
  }

  get steps(): readonly Step[] {
    return [this.#parts, this.#messages];
  }

  /** @param exchange the same record, when it is of an exchange */
  read(core: CoreRecord, exchange: ExchangeRecord | undefined, logged: LoggedRecord): void {
    const message = exchange !== undefined && isMessage(exchange) ? exchange : undefined;
    for (const partClass of partClassesOf(core)) {
      try {
        const part = logged.parts.open(core, partClass);
        if (part === 'sealed') this.#parts.leave();
        else this.#parts.checked += 1;
        if (partClass === 'meta' && message !== undefined) this.#verify(message, part, logged);
      } catch (cause) {
        if (!(cause instanceof MalformedBytes)) throw cause;
        this.#parts.find('fail', 'part', cause.message, { index: String(logged.index) });
      }
    }
    if (message !== undefined && core.parts?.meta === undefined) this.#verify(message, 'sealed', logged);
  }

  #verify(record: ExchangeRecord, meta: Buffer | 'sealed', { index, parts }: LoggedRecord): void {
    try {
      requireSigned(record);
      if (meta === 'sealed') return this.#messages.leave(SEALED.meta);
      const text = readSignedText(meta, () => parts.open(record, 'subject'));
      const { base, kept } = text;
      if (base !== undefined) verifyMessage(record, { ...text, base }, this.#trust, this.#batches);
      const known = this.#requests.read(record, kept);
      if (base === undefined) return this.#messages.leave(SEALED.subject);
      if (!known) return this.#messages.leave(SEALED.request);
      this.#messages.checked += 1;
    } catch (cause) {
      this.#messages.find('fail', 'signature', describe(cause), { index: String(index), exchange: record.x });
    }
  }
}
