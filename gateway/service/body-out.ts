import { Readable } from 'node:stream';
import type { Outflow, OutflowEvents } from '../core/flow.ts';

/** undici reads request bodies from a Readable; this one is fed by pushes and reports its back-pressure. */
export class BodyOut implements Outflow {
  readonly readable: Readable;
  #events: OutflowEvents | undefined;
  #waitingForDrain = false;
  #ended = false;

  constructor(abort: (cause: Error) => void) {
    this.destroy = abort;
    this.readable = new Readable({
      highWaterMark: 256 * 1024,
      read: () => {
        if (!this.#waitingForDrain) return;
        this.#waitingForDrain = false;
        this.#events?.drain();
      },
    });
    this.readable.on('error', () => undefined); // the call's own error path tells everybody
    this.readable.on('end', () => this.#events?.finish());
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
    if (!this.readable.readableEnded) events?.error(cause);
    this.readable.destroy();
  }
}
