import { refusalCodeOf } from '../core/errors.ts';
import type { RefusalCode } from '../core/refusals.ts';

/** What a transport says when its other end is gone, whatever made it go. */
const CONSEQUENCES: ReadonlySet<RefusalCode> = new Set([
  'link.broken',
  'response.receiver_gone',
  'gateway.internal',
]);

/**
 * Why an exchange ended: when the receiver left first, the broken transports behind it are its doing; when something
 * else failed first, the receiver's going is only what we did to it.
 */
export function rootCause(thrown: unknown, gone: Error | undefined): unknown {
  return gone !== undefined && CONSEQUENCES.has(refusalCodeOf(thrown)) ? gone : thrown;
}
