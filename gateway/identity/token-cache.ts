import type { EpochSeconds } from '../core/clock.ts';
import type { VerifiedToken } from './token.ts';

/** A cached result is looked at for no longer than this, however long its token lives. Seconds. */
const WINDOW_S = 60;

/**
 * Everything a verification depends on. A result that was found under one value of any of these says nothing under
 * another, so all of them are the key.
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

/**
 * Results of verifying bound assertions, which come again and again. Only what needs no look at the clock, the sender or
 * the sign-outs is kept; those are checked each time. The key ends with the minute, so that an entry ends with it too.
 */
export class TokenCache {
  readonly #capacity: number;
  /** By all other inputs, and then by what was presented: no hash of ours is sooner than the map's. */
  #young = new Map<string, Map<string, VerifiedToken>>();
  #old: ReadonlyMap<string, ReadonlyMap<string, VerifiedToken>> = new Map();
  #size = 0;
  readonly stats = { hits: 0, misses: 0 };

  /** @param capacity entries in each of two generations */
  constructor(capacity = 10_000) {
    this.#capacity = capacity;
  }

  find(inputs: TokenInputs): VerifiedToken | undefined {
    const { presented } = inputs;
    const scope = scopeOf(inputs);
    const found = this.#young.get(scope)?.get(presented) ?? this.#old.get(scope)?.get(presented);
    if (found === undefined) this.stats.misses += 1;
    else this.stats.hits += 1;
    return found;
  }

  /** Assertions that nothing binds are used once: keeping them would only keep them. */
  keep(inputs: TokenInputs, token: VerifiedToken): void {
    if (token.claims.binding.kind === 'none') return;
    if (this.#size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#size = 0;
    }
    const scope = scopeOf(inputs);
    let tokens = this.#young.get(scope);
    if (tokens === undefined) this.#young.set(scope, (tokens = new Map()));
    // A copy: the text may be a window on all that came with it.
    tokens.set(Buffer.from(inputs.presented, 'latin1').toString('latin1'), token);
    this.#size += 1;
  }
}

const scopeOf = ({ encrypted, member, audience, revision, now }: TokenInputs): string =>
  `${encrypted ? 'e' : 's'} ${member} ${audience} ${revision} ${Math.floor(now / WINDOW_S)}`;
