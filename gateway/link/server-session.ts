import type { Clock } from '../core/clock.ts';
import type { LinkArrival, LinkLimits } from './link.ts';
import { Rate } from './rate.ts';
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
 * What a peer may break off. An exchange costs us a signature check, a policy decision and a record, a reset costs the
 * peer nothing (rapid reset, CVE-2023-44487): so there is a bound. A peer whose clients all leave at once is below it,
 * also when a stall of the network makes their resets come together.
 */
export const resetRate = (clock: Clock, limits: LinkLimits): Rate =>
  new Rate(clock, limits.resetsPerSecond, 2 * limits.streamsPerSession);
