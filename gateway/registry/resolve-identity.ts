import { base64url, sha256 } from '../core/bytes.ts';
import { MalformedBytes, quoted } from '../core/errors.ts';
import type { MemberId } from '../core/ids.ts';
import { readPublicJwk, thumbprintOf, type TokenKey } from '../identity/jwk.ts';
import type { AcrLevel } from '../identity/levels.ts';
import type { IdentityKeyRow, IdentityProviderRow, RegistryDocument } from './document.ts';
import type { IdentityProvider } from './entries.ts';
import type { Problems } from './problems.ts';

/** Identity providers by the member whose users they speak about, then by issuer; and all rows of an issuer. */
export interface IdentityProviders {
  readonly identityProviders: ReadonlyMap<MemberId, ReadonlyMap<string, IdentityProvider>>;
  readonly byIssuer: ReadonlyMap<string, readonly IdentityProvider[]>;
}

/** Reads the keys, and reports everything that does not fit together. */
export function resolveIdentityProviders(
  document: RegistryDocument,
  members: { has(id: MemberId): boolean },
  problems: Problems,
): IdentityProviders {
  const identityProviders = new Map<MemberId, Map<string, IdentityProvider>>();
  const byIssuer = new Map<string, IdentityProvider[]>();
  /** Thumbprint → issuer: with a shared key one issuer could speak as the other. */
  const holders = new Map<string, string>();
  for (const [i, row] of (document.identityProviders ?? []).entries()) {
    const path = `/identityProviders/${i}`;
    if (!members.has(row.member)) problems.add(`${path}/member`, 'unknown member');
    if (row.keys.length === 0 && row.jwks === undefined) problems.add(`${path}/keys`, 'no keys and no jwks');
    if (row.jwks?.algorithms.length === 0) problems.add(`${path}/jwks/algorithms`, 'none');
    const provider: IdentityProvider = Object.freeze({
      issuer: row.issuer,
      member: row.member,
      keys: readKeys(row, row.keys, `${path}/keys`, holders, problems),
      signalKeys: readKeys(row, row.signalKeys ?? row.keys, `${path}/signalKeys`, holders, problems),
      acr: readAcr(row, path, problems),
      maxLifetimeSeconds: row.maxLifetimeSeconds,
      revision: base64url(sha256(JSON.stringify(row))),
      row,
    });
    const ofMember = identityProviders.get(row.member) ?? new Map<string, IdentityProvider>();
    identityProviders.set(row.member, ofMember);
    if (ofMember.has(row.issuer))
      problems.add(`${path}/issuer`, `${quoted(row.issuer)} is there twice for ${row.member}`);
    ofMember.set(row.issuer, provider);
    const named = byIssuer.get(row.issuer);
    if (named === undefined) byIssuer.set(row.issuer, [provider]);
    else named.push(provider);
  }
  return { identityProviders, byIssuer };
}

function readKeys(
  row: IdentityProviderRow,
  rows: readonly IdentityKeyRow[],
  path: string,
  holders: Map<string, string>,
  problems: Problems,
): ReadonlyMap<string, TokenKey> {
  const keys = new Map<string, TokenKey>();
  for (const [j, { kid, alg, jwk }] of rows.entries()) {
    const at = `${path}/${j}`;
    try {
      const { jwk: read, publicKey } = readPublicJwk(alg, jwk);
      const thumbprint = thumbprintOf(read);
      const holder = holders.get(thumbprint) ?? row.issuer;
      if (holder !== row.issuer) problems.add(`${at}/jwk`, `the key is also that of ${quoted(holder)}`);
      holders.set(thumbprint, row.issuer);
      if (keys.has(kid)) problems.add(`${at}/kid`, `${quoted(kid)} is there twice`);
      keys.set(kid, Object.freeze({ kid, algorithm: alg, publicKey }));
    } catch (thrown) {
      if (!(thrown instanceof MalformedBytes)) throw thrown;
      problems.add(`${at}/jwk`, quoted(thrown.message, 160));
    }
  }
  return keys;
}

function readAcr(row: IdentityProviderRow, path: string, problems: Problems): ReadonlyMap<string, AcrLevel> {
  const levels = new Map<string, AcrLevel>();
  for (const [j, { value, ial, aal }] of row.acr.entries()) {
    if (levels.has(value)) problems.add(`${path}/acr/${j}/value`, `${quoted(value)} is there twice`);
    levels.set(value, Object.freeze({ ial, aal }));
  }
  return levels;
}
