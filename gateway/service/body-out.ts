import { Readable } from 'node:stream';
import type { Outflow, OutflowEvents } from '../core/flow.ts';

const HIGH_WATER = 256 * 1024;

/** undici reads request bodies from a Readable; this one is fed by pushes and reports its back-pressure. */
export class BodyOut implements Outflow {
  #readable: Readable | undefined;
  #events: OutflowEvents | undefined;
  #waitingForDrain = false;
  #ended = false;

  constructor(abort: (cause: Error) => void) {
    this.destroy = abort;
  }

  /** For undici. Made when it is asked for: a body that goes whole needs none. */
  get readable(): Readable {
    if (this.#readable !== undefined) return this.#readable;
    const readable = new Readable({
      highWaterMark: HIGH_WATER,
      read: () => {
        if (!this.#waitingForDrain) return;
        this.#waitingForDrain = false;
        this.#events?.drain();
      },
    });
    readable.on('error', () => undefined); // the call's own error path tells everybody
    readable.on('end', () => this.#events?.finish());
    this.#readable = readable;
    return readable;
  }

  /** Nothing more is taken or sent. */
  close(): void {
    this.#readable?.destroy();
  }

  readonly destroy: (cause: Error) => void;

  attach(events: OutflowEvents): void {
    this.#events = events;
  }

  write(chunk: Buffer): boolean {
    if (this.readable.push(chunk)) return true;
    this.#waitingForDrain = true;
    return false;
  }

  end(last: Buffer | undefined): void {
    if (this.#ended || this.readable.destroyed) return;
    this.#ended = true;
    if (last !== undefined) this.readable.push(last);
    this.readable.push(null);
  }

  fail(cause: Error): void {
    const events = this.#events;
    this.#events = undefined;
    if (this.#readable?.readableEnded !== true) events?.error(cause);
    this.close();
  }
}
