import type { MemberId } from '../core/ids.ts';
import type { TokenKey } from '../identity/jwk.ts';
import type { SignalIssuers } from '../identity/security-event.ts';
import type { Issuer, IssuerDirectory } from '../identity/token.ts';
import type { IdentityProvider } from '../registry/entries.ts';
import type { JwksCache } from '../registry/jwks.ts';
import type { Registry } from '../registry/registry.ts';

/** Identity providers as one registry and the keys fetched for it have them. */
export class Issuers implements IssuerDirectory, SignalIssuers {
  readonly #registry: Registry;
  readonly #jwks: JwksCache;

  constructor(registry: Registry, jwks: JwksCache) {
    this.#registry = registry;
    this.#jwks = jwks;
  }

  /** Names the state of every key, level and lifetime: what was verified under one is verified anew under another. */
  get revision(): string {
    return `${this.#registry.sha256} ${this.#jwks.revision}`;
  }

  issuerFor(member: MemberId, issuer: string): Issuer | undefined {
    const provider = this.#registry.identityProvider(member, issuer);
    return provider === undefined ? undefined : issuerOf(provider, this.#jwks);
  }

  isIssuer(issuer: string): boolean {
    return this.#registry.identityProvidersNamed(issuer).length > 0;
  }

  signalKeys(issuer: string): ReadonlyMap<string, TokenKey> | undefined {
    return signalKeysOf(this.#registry, issuer);
  }
}

/** Keys for shared signals come from the registry alone. @returns undefined when nobody of that name is in it */
export function signalKeysOf(registry: Registry, issuer: string): ReadonlyMap<string, TokenKey> | undefined {
  const rows = registry.identityProvidersNamed(issuer);
  return rows.length === 0 ? undefined : new Map(rows.flatMap(({ signalKeys }) => [...signalKeys]));
}

const issuerOf = (provider: IdentityProvider, jwks: JwksCache): Issuer => ({
  issuer: provider.issuer,
  member: provider.member,
  acr: provider.acr,
  maxLifetimeSeconds: provider.maxLifetimeSeconds,
  // The registry's own keys first: a fetched one cannot take the place of one that was signed for.
  key: (kid) => provider.keys.get(kid) ?? jwks.key(provider.row, kid),
});
