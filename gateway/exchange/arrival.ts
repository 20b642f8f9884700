import type { Inflow, Outflow } from '../core/flow.ts';
import type { ResponseHead } from '../core/head.ts';

/** What the front listener hands to the message path: one well-framed request of a client system, nothing decided yet. */
export interface Arrival {
  readonly connection: ClientConnection;
  readonly method: string;
  /** Request target, raw, as it stood in the request line (or `:path`). */
  readonly target: string;
  /** Header lines in order, duplicates kept: name (as received), value, name, value, … */
  readonly rawHeaders: readonly string[];
  /** Content-Length, `chunked` when the end is marked in the body, or 0 for none. */
  readonly length: number | 'chunked';
  /** Starting it sends `100 Continue` when the client waits for that: nobody uploads before being admitted. */
  readonly inflow: Inflow;
  /**
   * Sends the answer's head and gives the way for its body. Called at most once.
   * `length` undefined = chunked. `none` = HEAD, 204, 205, 304: no body; `length` is then only announced.
   */
  answer(head: ResponseHead, body: AnswerBody): Outflow;
  /** Ends the connection with an error, whatever was sent so far. */
  abort(cause: Error): void;
  /** Called when the client goes away before the answer was finished. */
  onGone(listener: (cause: Error) => void): void;
}

export type AnswerBody =
  | { readonly kind: 'whole'; readonly bytes: Buffer }
  | { readonly kind: 'stream'; readonly length?: number }
  | { readonly kind: 'none'; readonly length?: number };

export interface ClientConnection {
  readonly tls: boolean;
  /** True when both ends of the connection have loopback addresses. */
  readonly loopback: boolean;
  readonly remote: string;
  /** DER of the leaf certificate that TLS proved, if the client showed one. */
  readonly certificate?: Buffer;
  /** RFC 9266 value of the connection, beside a certificate; absent before TLS 1.3. */
  readonly exporter?: Buffer;
  /** Breaks the connection off with all that runs on it: what it was opened with has been taken back. */
  end(cause: Error): void;
  /** Called when the connection is closed. */
  onClosed(listener: () => void): void;
}

/** The message path as listeners see it. Never throws: every outcome is answered or aborted inside. */
export type Consume = (arrival: Arrival) => void;
