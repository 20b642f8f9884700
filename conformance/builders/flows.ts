import { NO_FIELDS, type Fields } from '../../gateway/core/fields.ts';
import type { Inflow, Outflow, OutflowEvents, Sink } from '../../gateway/core/flow.ts';

/** An inflow that a test plays by hand. */
export class ScriptedInflow implements Inflow {
  sink: Sink | undefined;
  paused = false;
  destroyed: Error | undefined;

  start(sink: Sink): void {
    this.sink = sink;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  destroy(cause: Error): void {
    this.destroyed = cause;
  }
  data(...chunks: readonly (string | Buffer)[]): void {
    for (const chunk of chunks) this.sink?.data(Buffer.from(chunk));
  }
  end(trailers: Fields = NO_FIELDS): void {
    this.sink?.end(trailers);
  }
  error(cause: Error): void {
    this.sink?.error(cause);
  }
}

/** An outflow that remembers what a receiver would have got. */
export class RecordingOutflow implements Outflow {
  readonly received: Buffer[] = [];
  events: OutflowEvents | undefined;
  trailers: Fields | undefined;
  destroyed: Error | undefined;
  /** What `write` answers. */
  roomy = true;
  /** `finish` comes by itself at the end. */
  readonly #finishes: boolean;

  constructor(finishes = true) {
    this.#finishes = finishes;
  }
  attach(events: OutflowEvents): void {
    this.events = events;
  }
  write(chunk: Buffer): boolean {
    this.received.push(chunk);
    return this.roomy;
  }
  end(last: Buffer | undefined, trailers: Fields): void {
    if (last !== undefined) this.received.push(last);
    this.trailers = trailers;
    if (this.#finishes) queueMicrotask(() => this.events?.finish());
  }
  destroy(cause: Error): void {
    this.destroyed = cause;
  }
  get text(): string {
    return Buffer.concat(this.received).toString();
  }
  /** The receiver was told that the message is complete. */
  get complete(): boolean {
    return this.trailers !== undefined;
  }
}
