import type { Ceiling, RelayTerms } from './relay.ts';

/** A request's body. What is wrong with it is the sender's doing. */
export const uploadTerms = (
  length: number | undefined,
  maxBytes: number,
  idleMs: number,
  ceiling: Ceiling,
): RelayTerms => ({
  length,
  maxBytes,
  idleMs,
  ceiling,
  tooLarge: 'message.too_large',
  wrongLength: 'message.length_mismatch',
  stalled: 'message.stalled',
});

/** A service's answer on its way to the link. What is wrong with it is the provider's service's doing. */
export const serviceTerms = (
  length: number | undefined,
  maxBytes: number,
  idleMs: number,
  ceiling: Ceiling,
): RelayTerms => ({
  length,
  maxBytes,
  idleMs,
  ceiling,
  tooLarge: 'service.malformed',
  wrongLength: 'service.broken',
  stalled: 'response.stalled',
});

/** A peer's answer on its way to the client: its bounds are the signed ones. */
export const answerTerms = (length: number | undefined, idleMs: number, ceiling: Ceiling): RelayTerms => ({
  length,
  maxBytes: Number.MAX_SAFE_INTEGER,
  idleMs,
  ceiling,
  tooLarge: 'response.digest',
  wrongLength: 'response.digest',
  stalled: 'response.stalled',
});
