import { withoutPort } from '../core/address.ts';
import type { LinkArrival } from '../link/link.ts';
import type { Arrival } from './arrival.ts';

/** A request of a client system, or of a peer gateway: who connected to us stands in it. */
export type Incoming = Arrival | LinkArrival;

/** Longer names of programs are cut: a client writes what it likes, and as much. */
const MAX_AGENT = 256;

/** What a record under `extra_logging` says more, in its sealed part. Absent means not known, never "empty". */
export interface ExtraFacts {
  /** Of whoever connected: the client system, or the peer gateway. */
  readonly address?: string;
  /** As the client wrote it: no evidence of anything. */
  readonly userAgent?: string;
  /** Content bytes that went on. */
  readonly requestBytes?: number;
  readonly answerBytes?: number;
  /** From the request's first byte that we saw to its last. */
  readonly requestMs?: number;
  /** From there to the end of the exchange. */
  readonly answerMs?: number;
}

/** What `extra_logging` makes one exchange note, from the first decision that demands it to the end. */
export class ExtraLog {
  readonly #incoming: Incoming;
  #told = false;
  #requestMs: number | undefined;

  constructor(incoming: Incoming) {
    this.#incoming = incoming;
  }

  /** The request is complete. @param elapsedMs since the exchange began, here and below */
  requestComplete(elapsedMs: number): void {
    this.#requestMs = elapsedMs;
  }

  /** For the record that is written now: where the request came from, in the first one only. */
  origin(): ExtraFacts | undefined {
    if (this.#told) return undefined;
    this.#told = true;
    const userAgent = agentOf(this.#incoming);
    return { address: addressOf(this.#incoming), ...(userAgent === undefined ? {} : { userAgent }) };
  }

  /** For the last record. */
  end(sent: { readonly req: number; readonly res: number }, elapsedMs: number): ExtraFacts {
    const requestMs = this.#requestMs;
    return {
      ...this.origin(),
      requestBytes: sent.req,
      answerBytes: sent.res,
      ...(requestMs === undefined
        ? {}
        : { requestMs: Math.round(requestMs), answerMs: Math.round(elapsedMs - requestMs) }),
    };
  }
}

/** Of whoever connected to us, without port. */
export const addressOf = (incoming: Incoming): string =>
  isOfPeer(incoming) ? withoutPort(incoming.session.remote) : incoming.connection.remote;

/** By a member that no client's request has a use for: an object may well have more than its interface says. */
const isOfPeer = (incoming: Incoming): incoming is LinkArrival => 'rawHead' in incoming;

/** Clients' only: it is left behind on the way, and a message on the link that has one is refused. */
function agentOf(incoming: Incoming): string | undefined {
  if (isOfPeer(incoming)) return undefined;
  const { rawHeaders } = incoming;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === 'user-agent') return rawHeaders[i + 1]?.slice(0, MAX_AGENT);
  }
  return undefined;
}
