import type { MemberId } from '../core/ids.ts';
import type { SignalIssuers } from '../identity/security-event.ts';
import type { Issuer, IssuerDirectory } from '../identity/token.ts';
import type { IdentityProvider } from '../registry/entries.ts';
import type { JwksCache } from '../registry/jwks.ts';
import type { Registry } from '../registry/registry.ts';

/** Identity providers as one registry and the keys fetched for it have them. */
export class Issuers implements IssuerDirectory {
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
}

/** Who may end what, by shared signals: the registry alone says so. */
export const signalIssuersOf = (registry: Registry): SignalIssuers => ({
  signalKeys(issuer) {
    const rows = registry.identityProvidersNamed(issuer);
    return rows.length === 0 ? undefined : rows.flatMap(({ signalKeys }) => [...signalKeys.values()]);
  },
  maySpeakOfDevices(issuer, attestor) {
    const members = registry.attestor(attestor)?.row.members ?? [];
    return registry.identityProvidersNamed(issuer).some(({ member }) => members.includes(member));
  },
});

const issuerOf = (provider: IdentityProvider, jwks: JwksCache): Issuer => ({
  issuer: provider.issuer,
  member: provider.member,
  acr: provider.acr,
  maxLifetimeSeconds: provider.maxLifetimeSeconds,
  // The registry's own keys first: a fetched one cannot take the place of one that was signed for.
  key: (kid) => provider.keys.get(kid) ?? jwks.key(provider.row, kid),
});
