import type { Clock } from '../core/clock.ts';
import type { LinkArrival, LinkLimits } from './link.ts';
import type { TlsSession } from './tls.ts';

/** An accepted connection, as the server sees it, whatever protocol it speaks. */
export interface ServerSession {
  readonly facts: TlsSession;
  /** Nothing new; closes when the last exchange ends. */
  retire(): void;
  /** Breaks off everything that runs. */
  destroy(cause: Error): void;
}

export interface ServerSessionOptions {
  readonly clock: Clock;
  readonly limits: LinkLimits;
  readonly onArrival: (arrival: LinkArrival) => void;
  /** The session was broken off by us or by the network. */
  readonly onBroken: (cause: Error) => void;
  readonly onClosed: () => void;
}

/**
 * Counts what a peer breaks off. An exchange costs us a signature check, a policy decision and a record, a reset costs
 * the peer nothing (rapid reset, CVE-2023-44487): so there is a bound per second.
 */
export class ResetMeter {
  readonly #clock: Clock;
  readonly #perSecond: number;
  #since = -Infinity;
  #count = 0;

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
  }

  /** @returns true when it is a flood */
  count(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#since >= 1000) {
      this.#since = now;
      this.#count = 0;
    }
    return ++this.#count > this.#perSecond;
  }
}
