import { MalformedBytes, Unavailable } from '../core/errors.ts';
import type { Inflow } from '../core/flow.ts';
import { gather } from './gather.ts';

/** Bytes of what gateways tell each other beside exchanges: a greeting, a renewal, a checkpoint. */
const MAX_BYTES = 16 * 1024;
/** A peer that answers such a thing at all answers at once. */
export const PATIENCE_MS = 4_000;

/**
 * Text of a note of a peer.
 * @param what for messages: `greeting`
 * @throws MalformedBytes too long; Denied `message.stalled`
 */
export async function readNote(inflow: Inflow, what: string): Promise<string> {
  const body = await gather(inflow, undefined, {
    maxBytes: MAX_BYTES,
    waitMs: PATIENCE_MS,
    idleMs: PATIENCE_MS,
    stalled: 'message.stalled',
  });
  if (body.kind === 'whole') return body.bytes.toString('utf8');
  body.inflow.destroy(new Unavailable('link.broken', `${what} too long`));
  throw new MalformedBytes(`${what}: too long`);
}
