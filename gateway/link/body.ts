import { NO_FIELDS, type Fields } from '../core/fields.ts';
import type { Inflow, Loan, Outflow, OutflowEvents, Sink } from '../core/flow.ts';

/**
 * The part of a receiving body that is the same on every transport: one outcome, delivered once, and kept for a sink
 * that starts late.
 */
export abstract class ReceivedBody implements Inflow {
  protected sink: Sink | undefined;
  #outcome: Fields | Error | undefined;
  #delivered = false;

  /** True once it is certain how the body ended. */
  get settled(): boolean {
    return this.#outcome !== undefined;
  }

  get complete(): boolean {
    return this.#outcome !== undefined && !(this.#outcome instanceof Error);
  }

  start(sink: Sink): void {
    if (this.sink !== undefined) throw new Error('a body is started once');
    this.sink = sink;
    if (this.settled) queueMicrotask(() => this.#deliver());
    else this.begin();
  }

  /** Called by the transport: the message is complete, or broke off. The first call counts. */
  settle(outcome: Fields | Error): void {
    if (this.settled) return;
    this.#outcome = outcome;
    this.#deliver();
  }

  #deliver(): void {
    if (this.sink === undefined || this.#delivered || this.#outcome === undefined) return;
    this.#delivered = true;
    if (this.#outcome instanceof Error) this.sink.error(this.#outcome);
    else this.sink.end(this.#outcome);
  }

  /** Starts delivery to `sink`. */
  protected abstract begin(): void;
  abstract pause(): void;
  abstract resume(): void;
  abstract destroy(cause: Error): void;
}

/** A body that ended with its head. */
export class EmptyBody extends ReceivedBody {
  constructor() {
    super();
    this.settle(NO_FIELDS);
  }
  protected override begin(): void {}
  override pause(): void {}
  override resume(): void {}
  override destroy(): void {}
}

/** The part of a sending body that is the same on every transport: `finish` or `error`, once, kept for a late `attach`. */
export abstract class SentBody implements Outflow {
  protected source: OutflowEvents | undefined;
  #outcome: 'finished' | Error | undefined;

  get finished(): boolean {
    return this.#outcome === 'finished';
  }

  get settled(): boolean {
    return this.#outcome !== undefined;
  }

  attach(source: OutflowEvents): void {
    if (this.source !== undefined) throw new Error('a body has one source');
    this.source = source;
    if (this.settled) queueMicrotask(() => this.#deliver());
  }

  /** Called by the transport. The first call counts. */
  settle(outcome: 'finished' | Error): void {
    if (this.settled) return;
    this.#outcome = outcome;
    this.#deliver();
  }

  #deliver(): void {
    if (this.#outcome === 'finished') this.source?.finish();
    else if (this.#outcome !== undefined) this.source?.error(this.#outcome);
  }

  /** Our own side breaks off: it knows already, so nothing more is told. */
  protected abandon(cause: Error): void {
    if (this.settled) return;
    this.source = undefined;
    this.#outcome = cause;
  }

  abstract write(chunk: Buffer, loan?: Loan): boolean;
  abstract end(last: Buffer | undefined, trailers: Fields): void;
  abstract destroy(cause: Error): void;
}

/** Where an answer goes when its receiver has left: nowhere, and the sender is told. */
export class GoneBody extends SentBody {
  constructor(cause: Error) {
    super();
    this.settle(cause);
  }
  override write(): boolean {
    return false;
  }
  override end(): void {}
  override destroy(): void {}
}

/**
 * @throws Error when there are no trailers: a streamed message without its closing fields counts as broken off, so
 *   sending one is a mistake of ours
 */
export function requireClosing(trailers: Fields): void {
  if (trailers.length === 0) throw new Error('a streamed message ends with trailers');
}

/** Trailers as an object for Node. @throws Error when there are none */
export function closingFields(trailers: Fields): Record<string, string> {
  requireClosing(trailers);
  return Object.fromEntries(trailers);
}
