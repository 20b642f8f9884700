import type { EpochSeconds } from '../core/clock.ts';
import type { VerifiedToken } from './token.ts';

/** A cached result is looked at for no longer than this, however long its token lives. Seconds. */
const WINDOW_S = 60;

/**
 * Everything a verification depends on. A result that was found under one value of any of these says nothing under
 * another, so all of them are the key.
 */
export interface TokenInputs {
  /** SHA-256 of the assertion as presented, base64url. */
  readonly presented: string;
  readonly encrypted: boolean;
  /** Whose users, and for which gateway. */
  readonly member: string;
  readonly audience: string;
  /** Of the registry and of fetched keys: another one whenever a key, an `acr`, a lifetime or an issuer changes. */
  readonly revision: string;
  readonly now: EpochSeconds;
}

/**
 * Results of verifying bound assertions, which come again and again. Only what needs no look at the clock, the sender or
 * the sign-outs is kept; those are checked each time. The key ends with the minute, so that an entry ends with it too.
 */
export class TokenCache {
  readonly #capacity: number;
  #young = new Map<string, VerifiedToken>();
  #old = new Map<string, VerifiedToken>();
  readonly stats = { hits: 0, misses: 0 };

  /** @param capacity entries in each of two generations */
  constructor(capacity = 10_000) {
    this.#capacity = capacity;
  }

  find(inputs: TokenInputs): VerifiedToken | undefined {
    const key = keyOf(inputs);
    const found = this.#young.get(key) ?? this.#old.get(key);
    if (found === undefined) this.stats.misses += 1;
    else this.stats.hits += 1;
    return found;
  }

  /** Assertions that nothing binds are used once: keeping them would only keep them. */
  keep(inputs: TokenInputs, token: VerifiedToken): void {
    if (token.claims.binding.kind === 'none') return;
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(keyOf(inputs), token);
  }
}

const keyOf = ({ presented, encrypted, member, audience, revision, now }: TokenInputs): string =>
  `${presented} ${encrypted ? 'e' : 's'} ${member} ${audience} ${revision} ${Math.floor(now / WINDOW_S)}`;
