import type { RequestHead } from '../core/head.ts';
import type { LinkBody, LinkCall } from './link.ts';
import type { TlsSession } from './tls.ts';

/** A ready connection to one peer, as the pool sees it, whatever protocol it speaks. */
export interface ClientSession {
  readonly facts: TlsSession;
  /** Exchanges that run now. */
  readonly active: number;
  /** How busy it is, to choose between sessions: 1 for an exchange that others have to wait for. */
  readonly load: number;
  /** False when nothing new can start, ever. */
  readonly usable: boolean;
  /** How many more may start. 0 when it is to be closed or already gone. */
  readonly room: number;
  /** @throws Error when the head is not sendable; nothing was sent then */
  request(head: RequestHead, body: LinkBody): LinkCall;
  /** Nothing new; closes when the last exchange ends. */
  retire(): void;
  /** Breaks off everything that runs. */
  destroy(cause: Error): void;
}

export interface SessionWatcher {
  /** An exchange ended. */
  onFree(): void;
  /** Nothing new can start. Comes once. `cause` when the session did not end in order. */
  onUnusable(cause: Error | undefined): void;
  /** The connection is closed. Comes once, last. */
  onClosed(): void;
}
