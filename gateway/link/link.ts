import type { Clock } from '../core/clock.ts';
import type { Field, Fields } from '../core/fields.ts';
import type { Inflow, Outflow } from '../core/flow.ts';
import type { RequestHead, ResponseHead } from '../core/head.ts';

/**
 * The contract of a link: how `exchange/` sees the way to another gateway. Nothing here names HTTP/2, HTTP/1.1 or
 * frames, so a faster link can be negotiated by ALPN without a change above.
 */

/** The gateway a call goes to, as the registry names it now. */
export interface LinkTarget {
  /** Registered name of the provider's gateway: the DNS name in its certificate and the authority of every request. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Base64url SHA-256 of each public key (SubjectPublicKeyInfo) that the registry lists for it. */
  readonly spki: readonly string[];
}

/** What the log writes about the connection (record field `tls`). */
export interface LinkTls {
  readonly v: string;
  readonly suite: string;
  /** Key-exchange group. `unknown` where Node cannot tell: on the accepting side, unless only one group is allowed. */
  readonly g: string;
  /** SHA-256 of the peer's certificate, base64url. */
  readonly peer: string;
}

/** One mutually authenticated TLS connection. The object's identity is the connection's: it can key a WeakMap. */
export interface LinkSession {
  /** Unique among the sessions of this process, for logs. */
  readonly id: string;
  readonly protocol: LinkProtocol;
  readonly tls: LinkTls;
  /** DER of the leaf that TLS proved the peer holds the key of. Never any other certificate of its chain. */
  readonly peerCertificate: Buffer;
  /** Address and port of the other end, for security events. Never an identity. */
  readonly remote: string;
  /** RFC 8446 §7.5 exporter with an empty context: equal at both ends, different on every connection. */
  exportKeyingMaterial(label: string, length: number): Buffer;
  /** Breaks the connection off with all that runs on it: what it was trusted for has been taken back. */
  end(cause: Error): void;
}

/** A session that we opened, as those see it who have to say something on this very one. */
export interface LinkConversation {
  readonly session: LinkSession;
  /** Registered name of the other gateway. */
  readonly name: string;
  /** False while nothing can be asked: an HTTP/1.1 connection is busy, or the session is to be closed. */
  readonly hasRoom: boolean;
  request(head: RequestHead, body: LinkBody): LinkCall;
}

export type LinkProtocol = 'troad/1' | 'h2' | 'http/1.1';

/** What is offered and accepted, the best first. HTTP/2 is the standard that other gateways speak. */
export const PROTOCOLS: readonly LinkProtocol[] = ['troad/1', 'h2', 'http/1.1'];

/**
 * `whole`: the bytes go with the head, their length announced, no trailers. `stream`: bytes follow through the
 * {@link Outflow}, and its end carries trailers.
 */
export type LinkBody = { readonly kind: 'whole'; readonly bytes: Buffer } | { readonly kind: 'stream' };

export interface LinkCall {
  readonly session: LinkSession;
  /** The request's body. Of a `whole` one only the events are left: `finish` or `error`. */
  readonly outflow: Outflow;
  /**
   * The answer's head. It may come before the request has ended; a *complete* answer then breaks the upload off.
   * @throws Unavailable `link.broken`
   */
  readonly answer: Promise<LinkAnswer>;
  /** Breaks off both directions. Harmless once both are complete. */
  abort(cause: Error): void;
}

export interface LinkAnswer {
  readonly head: ResponseHead;
  /** Must be started or destroyed. Until then at most one flow-control window waits in memory. */
  readonly inflow: Inflow;
}

export interface LinkClient {
  /**
   * Sends one request as soon as a session to the target is ready.
   * @param admit asked about the session that was chosen, before a byte goes out on it; what it throws is thrown
   * @throws Unavailable `link.unreachable` | `link.timeout` | `link.peer_rejected` | `link.broken`, before any byte of the
   *   request was sent
   */
  call(
    target: LinkTarget,
    head: RequestHead,
    body: LinkBody,
    admit?: (session: LinkSession) => void,
  ): Promise<LinkCall>;
  /** Asks `verifyPeer` again about every session; the refused ones are destroyed with the streams they carry. */
  recheck(): void;
  /** New key, certificate or trust anchors for new sessions; the old ones finish what they carry. @throws when unusable */
  renew(credentials: LinkCredentials): void;
  /** Takes no new calls, lets the running ones end, closes every session. What still runs after `limits.drainMs` is cut. */
  drain(): Promise<void>;
}

/** One request that came over the link. Only the peer's certificate was checked yet. */
export interface LinkArrival {
  readonly session: LinkSession;
  readonly rawHead: LinkRawHead;
  /** `destroy` refuses the rest of the request; an answer may still be given, and either it or `abort` must follow. */
  readonly inflow: Inflow;
  /** The head was all: no body and no trailers follow. */
  readonly endsWithHead: boolean;
  /**
   * Sends the answer's head. Called at most once. To HEAD, and with 204, 205 and 304, no content is sent. When the answer is complete and the request is not, the rest of the
   * request is refused: its sender stops uploading.
   */
  answer(head: ResponseHead, body: LinkBody): Outflow;
  /** Breaks off both directions, so that the other side sees an error. */
  abort(cause: Error): void;
  /** Called once, when the peer or the connection goes away before the answer was complete. */
  onGone(listener: (cause: Error) => void): void;
}

/** A request head before anyone judged it. Names are in lower case, duplicates and order are as received. */
export interface LinkRawHead {
  readonly method: string;
  readonly authority: string;
  /** Raw path and query. */
  readonly path: string;
  /** Without the fields that framed it (`host`, `connection`, `keep-alive`, `transfer-encoding`, `content-length`). */
  readonly fields: readonly Field[];
  /** The same in canonical form. @throws Denied `header.*` */
  readonly canonical: () => Fields;
  /** Announced length of the content; the transport enforces it. */
  readonly length: number | undefined;
}

export interface LinkServer {
  /** Starts to accept connections. Resolves with the port in use. */
  listen(at: { readonly host: string; readonly port: number; readonly reusePort?: boolean }): Promise<number>;
  /** Sessions open now, for the metrics. */
  readonly sessions: number;
  recheck(): void;
  /** As the client's; peers are asked to come anew, and what runs on their sessions ends there. @throws when unusable */
  renew(credentials: LinkCredentials): void;
  /** Accepts nothing more, lets running exchanges end, closes. What still runs after `limits.drainMs` is cut. */
  drain(): Promise<void>;
}

/** PEM. */
export interface LinkCredentials {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  readonly ca: string | Buffer | readonly (string | Buffer)[];
}

interface LinkOptions {
  readonly credentials: LinkCredentials;
  readonly clock: Clock;
  /** Offer and accept X25519MLKEM768 only. */
  readonly requireHybrid?: boolean;
  readonly limits?: Partial<LinkLimits>;
  /** Security events: refused peers, floods, sessions lost. Before anyone is identified: rate-limit them. */
  readonly onEvent?: (event: LinkEvent) => void;
}

export interface LinkClientOptions extends LinkOptions {
  /** 0 ≤ x < 1, spreads reconnects. */
  readonly random: () => number;
  /** Asked on every new session before its first byte of content, and by `recheck`. @throws Denied `peer.*` */
  readonly verifyPeer: (leafDer: Buffer, target: LinkTarget) => void;
  /** Speaks first on every new session, before any exchange. Must not reject. */
  readonly greet?: (conversation: LinkConversation) => Promise<void>;
  /** In order of preference. Default: all, as in {@link PROTOCOLS}. */
  readonly protocols?: readonly LinkProtocol[];
}

export interface LinkServerOptions extends LinkOptions {
  readonly verifyPeer: (leafDer: Buffer) => void;
  /** Must not throw; what it throws breaks the exchange off. */
  readonly onArrival: (arrival: LinkArrival) => void;
  readonly protocols?: readonly LinkProtocol[];
}

export type LinkEvent =
  | { readonly kind: 'session.opened' | 'session.closed'; readonly session: LinkSession }
  /** No session came to be: TLS failed, or `verifyPeer` refused. */
  | { readonly kind: 'peer.refused'; readonly remote: string; readonly cause: Error }
  /** The session was broken off: flood, dead peer, peer no longer acceptable. */
  | { readonly kind: 'session.broken'; readonly session: LinkSession; readonly cause: Error };

export interface LinkLimits {
  /** h2 sessions to one peer. */
  readonly sessionsPerPeer: number;
  /** HTTP/1.1 connections to one peer; each carries one exchange at a time. */
  readonly connectionsPerPeer: number;
  /**
   * Another session is opened when each open one carries this many exchanges. Of small ones in binary frames it takes
   * eight times as many, because they gain from each other's company; one body under way is enough.
   */
  readonly spreadAt: number;
  /** After so many a session is replaced: HTTP/2 numbers streams with 31 bits and a busy pair uses them up in days. */
  readonly exchangesPerSession: number;
  /** Calls that may wait for a session to one peer. */
  readonly waitingPerPeer: number;
  /** TCP, TLS and the other side's greeting together; also the longest wait for a free session. Milliseconds. */
  readonly connectMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** A session is asked for a sign of life this often, and is dead when none comes in time. */
  readonly pingEveryMs: number;
  readonly pingTimeoutMs: number;
  /** A session without exchanges is closed by the accepting side after this time. */
  readonly idleMs: number;
  readonly drainMs: number;
  /** Exchanges at once in one session that we accept. */
  readonly streamsPerSession: number;
  /** Bytes of one message that the other side may send before we read them: the bound of memory per stalled stream. */
  readonly streamWindow: number;
  /** Same for one session; must exceed `streamWindow`, or one stalled stream would stop the others. */
  readonly sessionWindow: number;
  readonly fields: number;
  /** Names, values and 32 bytes a field (RFC 9113 §6.5.2). */
  readonly headBytes: number;
  /** Connections the server holds at once. */
  readonly connections: number;
  /**
   * Exchanges that a peer may break off per second in one session, and twice `streamsPerSession` at once: everybody may
   * leave, and everybody who came in their place. More is a flood.
   */
  readonly resetsPerSecond: number;
  /** Exchanges that we break off per second in one session, and at once. What is over that runs out unread. */
  readonly cancelsPerSecond: number;
}

export const DEFAULT_LIMITS: LinkLimits = Object.freeze({
  sessionsPerPeer: 2,
  connectionsPerPeer: 32,
  spreadAt: 16,
  exchangesPerSession: 2 ** 29,
  waitingPerPeer: 1024,
  connectMs: 5_000,
  backoffMinMs: 100,
  backoffMaxMs: 5_000,
  pingEveryMs: 15_000,
  pingTimeoutMs: 5_000,
  idleMs: 1_800_000,
  drainMs: 30_000,
  streamsPerSession: 256,
  streamWindow: 512 * 1024,
  sessionWindow: 8 * 1024 * 1024,
  fields: 100,
  headBytes: 32 * 1024,
  connections: 2048,
  resetsPerSecond: 100,
  cancelsPerSecond: 50,
});
