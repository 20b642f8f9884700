import type { Fields } from '../core/fields.ts';
import type { RequestHead } from '../core/head.ts';

/** The request that components resolve against: the canonical head, raw. A `RequestHead` with `kind` is one. */
export interface RequestView {
  readonly kind: 'request';
  readonly method: string;
  readonly authority: string;
  /** Raw absolute path; the empty one counts as `/` (RFC 9421 §2.2.6). */
  readonly path: string;
  /** Raw query with its `?`; empty when there is none (`@query` is then `?`, §2.2.7). */
  readonly query: string;
  readonly fields: Fields;
  /** Never merged with `fields` (§2.1.4). */
  readonly trailers?: Fields;
}

export interface ResponseView {
  readonly kind: 'response';
  readonly status: number;
  readonly fields: Fields;
  readonly trailers?: Fields;
  /** The request as its reader knows it, for `;req` (§2.4). */
  readonly request?: RequestView;
}

export type MessageView = RequestView | ResponseView;

/** A head as components resolve against it. Written out: this is done for every message, and a spread costs a call. */
export const requestView = (head: RequestHead, fields = head.fields): RequestView => ({
  kind: 'request',
  method: head.method,
  authority: head.authority,
  path: head.path,
  query: head.query,
  fields,
});
