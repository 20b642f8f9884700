import type { BundleRefusalCode } from '../trust/bundle-refused.ts';
import type { Verdict } from '../trust/decision.ts';

// What is said to and by the thread of one bundle (policy-thread.ts).

/** Policy inputs, one after the other in one piece of memory that changes hands. */
export interface ToPolicyThread {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly lengths: readonly number[];
}

/** What the bundle makes of one input. */
export type Evaluated =
  Pick<Verdict, 'allow' | 'reasons' | 'tier' | 'score' | 'resultDigest'> | { readonly failed: string };

export type FromPolicyThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly code: BundleRefusalCode; readonly problems: readonly string[] }
  | { readonly kind: 'told'; readonly results: readonly Evaluated[]; readonly tookMs: number };
