import type { Fields } from '../core/fields.ts';
import type { Inflow, Outflow } from '../core/flow.ts';

/** One service of our agency, as configured. */
export interface ServiceTarget {
  /** Scheme, host and port. */
  readonly origin: string;
  /** Path in front of what the client asked for; empty or beginning with a slash, never ending with one. */
  readonly basePath: string;
  /** Longest wait for the head of the answer, and between two pieces of its body. Milliseconds. */
  readonly timeoutMs: number;
  readonly connectMs: number;
  readonly maxConcurrent: number;
  /** PEM of the only authorities accepted for an https service. */
  readonly ca?: string;
}

export interface ServiceRequest {
  readonly method: string;
  /** Raw path and query behind the base path: the very bytes that were authorised. */
  readonly pathAndQuery: string;
  readonly fields: Fields;
  /** `whole` bodies are sent in one piece; a stream without a length is sent chunked. */
  readonly body:
    | { readonly kind: 'whole'; readonly bytes: Buffer }
    | { readonly kind: 'stream'; readonly length?: number };
}

export interface ServiceAnswer {
  readonly status: number;
  /** Header lines as they came: name, value, name, value, … */
  readonly rawHeaders: readonly string[];
  readonly length: number | undefined;
  /** False when the answer cannot have a body (HEAD, 204, 205, 304). */
  readonly hasBody: boolean;
  readonly inflow: Inflow;
}

export interface ServiceCall {
  readonly outflow: Outflow;
  /** @throws Unavailable `service.*` */
  readonly answer: Promise<ServiceAnswer>;
  abort(cause: Error): void;
}
