import type { HostClaims } from './health.ts';

/** Asked for anew from here on, behind what is there. */
const RENEW_MS = 300_000;
/** How old what a host says of itself may be in evidence. */
const KEPT_MS = 600_000;

/**
 * What the host says of itself. Asking its package manager takes seconds, on a busy machine half a minute: a renewal of
 * a result that waited for it would come after the end of the former one.
 */
export function keptClaims(
  collect: () => Promise<HostClaims>,
  monotonic: () => number,
): () => Promise<HostClaims> {
  let kept: { readonly claims: HostClaims; readonly at: number } | undefined;
  let asked: Promise<HostClaims> | undefined;
  const renew = async (): Promise<HostClaims> => {
    const at = monotonic(); // before: never older than it is said to be
    try {
      const claims = await collect();
      kept = { claims, at };
      return claims;
    } finally {
      asked = undefined;
    }
  };
  return () => {
    const age = kept === undefined ? Infinity : monotonic() - kept.at;
    if (age > RENEW_MS) {
      asked ??= renew();
      asked.catch(() => undefined); // told to whoever waits for it
    }
    return kept !== undefined && age <= KEPT_MS ? Promise.resolve(kept.claims) : (asked ?? renew());
  };
}
