import type { EpochMs } from '../core/clock.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { RefusalCode } from '../core/refusals.ts';

/** The name says it all. */
interface NoFields {
  readonly [field: string]: never;
}

interface Exchange {
  readonly exchange: ExchangeId;
  /** `c`: we are the consumer's gateway, `p`: the provider's. */
  readonly role: 'c' | 'p';
  readonly peer: string | undefined;
  readonly client: string | undefined;
  readonly service: string | undefined;
  readonly status: number | undefined;
  readonly elapsedMs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
}

interface Session {
  readonly side: LinkSide;
  readonly session: string;
  /** SHA-256 of the peer's certificate, base64url. */
  readonly certificate: string;
  readonly protocol: string;
  readonly suite: string;
  /** Key-exchange group. */
  readonly group: string;
}

/** `client`: we connected, `server`: the peer did. */
export type LinkSide = 'client' | 'server';

/**
 * Everything the gateway writes to the operator's log. The event's name is the grep key; all that varies is a field.
 * Ids, codes, counts, times: never a path, a query, a header value, a body, or who the user was. `detail` is bounded,
 * one line, and shows foreign text only quoted.
 */
export interface GatewayEvents {
  'gateway.started': {
    readonly gateway: string;
    readonly member: string;
    readonly workers: number;
    readonly software: string;
    readonly runtime: string;
    readonly openssl: string;
    readonly listeners: Readonly<Record<string, string>>;
  };
  'gateway.ready': NoFields;
  'gateway.not_ready': { readonly reasons: readonly string[] };
  'gateway.stopping': { readonly reason: string; readonly inFlight: number };
  'gateway.stopped': { readonly elapsedMs: number };
  'gateway.fatal': { readonly detail: string };
  /** A worker ended unasked, or was ended. What it carried is broken off. */
  'worker.lost': { readonly worker: number; readonly detail: string };
  /** Another one took its place, after so long. */
  'worker.replaced': { readonly worker: number; readonly elapsedMs: number };
  /** A certificate or key came into use without a restart: SHA-256 of the certificate, or the id of the message key. */
  'credentials.loaded': {
    readonly setting: string;
    readonly fingerprint: string;
    readonly expiresAt: EpochMs;
  };
  /** New files are not good: what was in use stays in use. */
  'credentials.problem': { readonly detail: string };
  /** The files hold what is in use. */
  'credentials.unchanged': NoFields;
  'exchange.completed': Exchange;
  /** Before anything was forwarded. */
  'exchange.refused': Exchange & { readonly code: RefusalCode };
  /** After something may have been. */
  'exchange.aborted': Exchange & { readonly code: RefusalCode };
  /** What the operator needs to find the cause of a refusal that is ours or a dependency's. */
  'exchange.trouble': { readonly exchange: ExchangeId; readonly code: RefusalCode; readonly detail: string };
  'link.session_opened': Session;
  'link.session_closed': Session;
  'link.session_broken': Session & { readonly detail: string };
  /** Refused before anyone was identified. Rate-limited by address. */
  'security.refused': { readonly code: RefusalCode; readonly address: string; readonly detail: string };
  /** How many more there were in one window of time than were written. */
  'security.suppressed': {
    readonly refusals: number;
    readonly addresses: number;
    readonly most: readonly { readonly address: string; readonly refusals: number }[];
  };
  'evidence.opened': {
    readonly origin: string;
    readonly size: string;
    readonly tornBytes: number;
    readonly unfinished: number;
  };
  'evidence.available': NoFields;
  'evidence.unavailable': { readonly detail: string };
  'evidence.disputed': { readonly peer: string; readonly detail: string };
  'registry.loaded': { readonly version: number; readonly expiresAt: EpochMs };
  'registry.problem': { readonly detail: string };
  /** Keys of an identity provider could not be fetched, or a security event was not taken. */
  'identity.problem': { readonly detail: string };
  /** An attestation service has taken something back. */
  'device.revocations': { readonly issuer: string; readonly sequence: number; readonly devices: number };
  /** This service vouches for TPMs that are programs, which protect nothing from their hosts: for laboratories only. */
  'device.lab': { readonly issuer: string };
  /** An attestation service that is asked for revocations has not answered for so long, and answers again. */
  'device.feed_silent': { readonly issuer: string; readonly seconds: number };
  'device.feed_heard': { readonly issuer: string };
  /** The device agent, a peer's host or an attestation service does not do its part. */
  'device.problem': { readonly detail: string };
  /** An identity provider has ended sessions, or might have. */
  'identity.signal': {
    readonly issuer: string;
    readonly type: string;
    readonly exchanges: number;
    readonly elapsedMs: number;
  };
  'replicas.available': NoFields;
  /** The store that the replicas share: without it nothing is admitted. */
  'replicas.unavailable': { readonly detail: string };
  /** `version` is 0 for a bundle nobody released. */
  'policy.loaded': { readonly bundle: string; readonly revision: string; readonly version: number };
  'policy.problem': { readonly detail: string };
  'threat.loaded': { readonly file: string; readonly entries: number; readonly publishedAt: EpochMs };
  /** A threat feed cannot be read, or is old. */
  'threat.problem': { readonly detail: string };
  /** Whoever reads this log did not keep up. */
  'log.dropped': { readonly lines: number };
}

export type Level = 'info' | 'warn' | 'error' | 'fatal';

/** `warn`: somebody should look some time. `error`: exchanges fail because of us. `fatal`: the process ends. */
export const EVENT_LEVELS = {
  'gateway.started': 'info',
  'gateway.ready': 'info',
  'gateway.not_ready': 'error',
  'gateway.stopping': 'info',
  'gateway.stopped': 'info',
  'gateway.fatal': 'fatal',
  'worker.lost': 'error',
  'worker.replaced': 'info',
  'credentials.loaded': 'info',
  'credentials.problem': 'error',
  'credentials.unchanged': 'info',
  'exchange.completed': 'info',
  'exchange.refused': 'info',
  'exchange.aborted': 'warn',
  'exchange.trouble': 'warn',
  'link.session_opened': 'info',
  'link.session_closed': 'info',
  'link.session_broken': 'warn',
  'security.refused': 'warn',
  'security.suppressed': 'warn',
  'evidence.opened': 'info',
  'evidence.available': 'info',
  'evidence.unavailable': 'error',
  'evidence.disputed': 'error',
  'registry.loaded': 'info',
  'registry.problem': 'error',
  'identity.problem': 'warn',
  'device.revocations': 'info',
  'device.lab': 'warn',
  'device.feed_silent': 'error',
  'device.feed_heard': 'info',
  'device.problem': 'warn',
  'identity.signal': 'info',
  'replicas.available': 'info',
  'replicas.unavailable': 'error',
  'policy.loaded': 'info',
  'policy.problem': 'error',
  'threat.loaded': 'info',
  'threat.problem': 'warn',
  'log.dropped': 'warn',
} as const satisfies Record<keyof GatewayEvents, Level>;

export type Emit = <E extends keyof GatewayEvents>(event: E, fields: GatewayEvents[E]) => void;
