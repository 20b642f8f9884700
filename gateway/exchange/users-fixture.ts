/** A gateway's checks of users for tests: real keys, tokens and stores; the clock stands still until it is moved. */
import { base64url, sha256 } from '../core/bytes.ts';
import { allocateTable, SharedTable } from '../core/shared-table.ts';
import type { MemberId } from '../core/ids.ts';
import { readDecryptionKey } from '../identity/decrypt.ts';
import { DpopNonces } from '../identity/dpop-nonce.ts';
import { IdleWatch } from '../identity/idle.ts';
import { Revocations } from '../identity/revocations.ts';
import { TokenCache } from '../identity/token-cache.ts';
import { KEY, keyPair, NOW } from '../identity/tokens-fixture.ts';
import { ReplayTable } from '../message/replay-table.ts';
import type { Attestor, IdentityProvider } from '../registry/entries.ts';
import { JwksCache } from '../registry/jwks.ts';
import type { Registry } from '../registry/registry.ts';
import { Issuers } from './issuers.ts';
import { RunningUsers } from './revoke.ts';
import type { UserChecks } from './user-checks.ts';

export const SEALING = keyPair('ES256');

/** An attestation service for agency A's machines. */
export const ATTESTOR = 'attest.tw.troad.example';

/** The rows a registry would have: only what {@link Issuers} and shared signals ask for. */
export function registryOf(rows: readonly IdentityProvider[], sha = 'registry-1'): Registry {
  const attestation: Attestor = {
    issuer: ATTESTOR,
    keys: [],
    revocationKeys: [],
    row: {
      issuer: ATTESTOR,
      members: ['TW/GOV/A11' as MemberId], // the tests' own constant
      classes: ['endpoint'],
      keys: [],
      maxLifetimeSeconds: 300,
    },
  };
  const look: Pick<
    Registry,
    'identityProvider' | 'identityProvidersNamed' | 'identityProvidersOf' | 'attestor' | 'sha256'
  > = {
    sha256: base64url(sha256(sha)),
    identityProvider: (member, issuer) => rows.find((row) => row.member === member && row.issuer === issuer),
    identityProvidersNamed: (issuer) => rows.filter((row) => row.issuer === issuer),
    attestor: (issuer) => (issuer === ATTESTOR ? attestation : undefined),
    identityProvidersOf: (member) => rows.filter((row) => row.member === member),
  };
  return look as Registry; // nothing else of a registry is asked for here
}

export const provider = (member: string, issuer: string, keys = [KEY]): IdentityProvider => ({
  issuer,
  member: member as MemberId, // the tests' own constants
  keys: new Map(keys.map((key) => [key.kid, key])),
  signalKeys: new Map(keys.map((key) => [key.kid, key])),
  acr: new Map([
    ['aal2', { ial: 2, aal: 2 }],
    ['aal3', { ial: 2, aal: 3 }],
  ]),
  maxLifetimeSeconds: 3600,
  revision: 'row-1',
  row: {
    issuer,
    member: member as MemberId,
    keys: [],
    acr: [],
    maxLifetimeSeconds: 3600,
  },
});

const memory = () => allocateTable({ slots: 1024, windowMs: 360_000, seed: '', values: true });

export class TestGateway {
  readonly name: string;
  readonly users: UserChecks;
  now = NOW * 1000;
  registry: Registry;
  readonly clock = { now: (): number => this.now, monotonic: (): number => this.now };

  constructor(name: string, rows: readonly IdentityProvider[]) {
    this.name = name;
    this.registry = registryOf(rows);
    const jwks = new JwksCache({
      fetch: () => Promise.reject(new Error('nothing is fetched here')),
      clock: this.clock,
      onProblem: () => undefined,
    });
    this.users = {
      decryptionKeys: [readDecryptionKey(SEALING.privateKey)],
      cache: new TokenCache(),
      nonces: new DpopNonces(Buffer.alloc(32, 7), this.clock),
      idle: new IdleWatch(new SharedTable(memory())),
      revocations: new Revocations(),
      running: new RunningUsers(),
      assertions: new ReplayTable(memory(), 'assertion.replayed'),
      proofs: new ReplayTable(memory(), 'assertion.proof_replayed'),
      issuers: () => new Issuers(this.registry, jwks),
    };
  }
}
