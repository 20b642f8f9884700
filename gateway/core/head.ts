import type { Fields } from './fields.ts';

/** The one canonical request head that policy, signature, log and service read. Built from raw bytes, never normalised. */
export interface RequestHead {
  /** As received; methods are case-sensitive (RFC 9110 §9.1). */
  readonly method: string;
  /** Lower-case host name, with a port only where it is not the default. On the link: the name of the provider's gateway. */
  readonly authority: string;
  /** Raw absolute path, percent-encoding untouched. */
  readonly path: string;
  /** Raw query with its leading `?`; empty when the target has none. */
  readonly query: string;
  readonly fields: Fields;
}

export interface ResponseHead {
  readonly status: number;
  readonly fields: Fields;
}
