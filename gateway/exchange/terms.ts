import type { RelayTerms } from './relay.ts';

/** A request's body. What is wrong with it is the sender's doing. */
export const uploadTerms = (length: number | undefined, maxBytes: number, idleMs: number): RelayTerms => ({
  length,
  maxBytes,
  idleMs,
  tooLarge: 'message.too_large',
  wrongLength: 'message.length_mismatch',
  stalled: 'message.stalled',
});

/** A service's answer on its way to the link. What is wrong with it is the provider's service's doing. */
export const serviceTerms = (length: number | undefined, maxBytes: number, idleMs: number): RelayTerms => ({
  length,
  maxBytes,
  idleMs,
  tooLarge: 'service.malformed',
  wrongLength: 'service.broken',
  stalled: 'response.stalled',
});

/** A peer's answer on its way to the client: its bounds are the signed ones. */
export const answerTerms = (length: number | undefined, idleMs: number): RelayTerms => ({
  length,
  maxBytes: Number.MAX_SAFE_INTEGER,
  idleMs,
  tooLarge: 'response.digest',
  wrongLength: 'response.digest',
  stalled: 'response.stalled',
});
