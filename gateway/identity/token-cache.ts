import type { EpochSeconds } from '../core/clock.ts';
import { KnownTexts } from '../core/known-texts.ts';
import type { VerifiedToken } from './token.ts';

/** A cached result is looked at for no longer than this, however long its token lives. Seconds. */
const WINDOW_S = 60;

/**
 * Everything a verification depends on. A result that was found under one value of any of these says nothing under
 * another, so all of them are compared.
 */
export interface TokenInputs {
  /** The assertion as presented. */
  readonly presented: string;
  readonly encrypted: boolean;
  /** Whose users, and for which gateway. */
  readonly member: string;
  readonly audience: string;
  /** Of the registry and of fetched keys: another one whenever a key, an `acr`, a lifetime or an issuer changes. */
  readonly revision: string;
  readonly now: EpochSeconds;
}

interface Kept extends Omit<TokenInputs, 'presented' | 'now'> {
  readonly token: VerifiedToken;
}

const windowOf = (now: EpochSeconds): number => Math.floor(now / WINDOW_S);

/**
 * Results of verifying bound assertions, which come again and again. Only what needs no look at the clock, the sender or
 * the sign-outs is kept; those are checked each time. What was found in one minute says nothing in the next.
 */
export class TokenCache {
  readonly #capacity: number;
  /** Of one minute: 20,000 post-quantum assertions are 300 MiB, and not to be held a moment longer than they serve. */
  #kept: KnownTexts<Kept>;
  #window = NaN;
  readonly stats = { hits: 0, misses: 0 };

  /** @param capacity assertions at most */
  constructor(capacity = 20_000) {
    this.#capacity = capacity;
    this.#kept = new KnownTexts(capacity);
  }

  find({ presented, encrypted, member, audience, revision, now }: TokenInputs): VerifiedToken | undefined {
    const kept = this.#kept.find(presented);
    const isSame =
      kept?.encrypted === encrypted &&
      this.#window === windowOf(now) &&
      kept.member === member &&
      kept.audience === audience &&
      kept.revision === revision;
    if (!isSame) {
      this.stats.misses += 1;
      return undefined;
    }
    this.stats.hits += 1;
    return kept.token;
  }

  /** Assertions that nothing binds are used once: keeping them would only keep them. */
  keep({ presented, encrypted, member, audience, revision, now }: TokenInputs, token: VerifiedToken): void {
    if (token.claims.binding.kind === 'none') return;
    const window = windowOf(now);
    if (window !== this.#window) this.#kept = new KnownTexts(this.#capacity);
    this.#window = window;
    this.#kept.keep(presented, { encrypted, member, audience, revision, token });
  }
}
