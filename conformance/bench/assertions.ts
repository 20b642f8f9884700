/**
 * What verifying users costs a request, with the cache of verified assertions and without it, at the gateway the user's
 * system talks to. Both take turns, so that what else the machine does falls on both alike.
 *
 *     node conformance/bench/assertions.ts [rounds [requests]]
 */
import { base64url, sha256 } from '../../gateway/core/bytes.ts';
import type { Fields } from '../../gateway/core/fields.ts';
import type { MemberId } from '../../gateway/core/ids.ts';
import { allocateTable } from '../../gateway/core/shared-table.ts';
import { presentedUser } from '../../gateway/exchange/users.ts';
import { provider, SEALING, TestGateway } from '../../gateway/exchange/users-fixture.ts';
import { TokenCache } from '../../gateway/identity/token-cache.ts';
import {
  assertion,
  encryptTo,
  ISSUER,
  NOW,
  ORIGIN,
  PATH,
  proofFor,
  THUMBPRINT,
} from '../../gateway/identity/tokens-fixture.ts';
import { ReplayTable } from '../../gateway/message/replay-table.ts';
import { A } from '../../gateway/trust/proofs-fixture.ts';
import { median } from './stats.ts';

const ROUNDS = Number(process.argv[2] ?? 5);
const REQUESTS = Number(process.argv[3] ?? 500);
const MEMBER = 'TW/GOV/A11' as MemberId; // a constant of this file
const CERTIFICATE = base64url(sha256('certificate'));

/** Forgets at once: every request verifies anew. */
class NoCache extends TokenCache {
  override find(): undefined {
    return undefined;
  }
}

/** @returns microseconds of CPU a request, and how often the cache had it */
async function cost(cache: TokenCache, token: string, bound: boolean): Promise<number> {
  const gateway = new TestGateway(A, [provider(MEMBER, ISSUER)]);
  const proofs = new ReplayTable(
    allocateTable({ slots: 1 << 14, windowMs: 90_000, seed: '' }),
    'assertion.proof_replayed',
  );
  const checked = { name: gateway.name, clock: gateway.clock, users: { ...gateway.users, cache, proofs } };
  const nonce = gateway.users.nonces.current;
  const requests: Fields[] = [];
  for (let i = 0; i < REQUESTS; i++) {
    requests.push([
      ['t-road-assertion', token],
      ...(bound ? [['dpop', await proofFor(token, { nonce })] as const] : []),
    ]);
  }
  const ask = (fields: Fields) =>
    presentedUser(
      { fields, method: 'GET', origin: ORIGIN, target: { path: PATH, query: '' } },
      bound ? undefined : CERTIFICATE,
      MEMBER,
      checked,
    );
  const warm = REQUESTS / 5;
  for (const fields of requests.slice(0, warm)) await ask(fields);
  const before = process.cpuUsage();
  for (const fields of requests.slice(warm)) await ask(fields);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / (REQUESTS - warm);
}

async function compare(what: string, token: string, bound: boolean): Promise<void> {
  const rounds: (readonly [without: number, cached: number])[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const cache = new TokenCache();
    rounds.push([await cost(new NoCache(), token, bound), await cost(cache, token, bound)]);
    if (cache.stats.misses !== 1)
      throw new Error(`${what}: the cache was asked ${cache.stats.misses} times in vain`);
  }
  const [without, cached] = [median(rounds.map(([each]) => each)), median(rounds.map(([, each]) => each))];
  const saved = median(rounds.map(([a, b]) => b / a));
  process.stdout.write(
    `${what.padEnd(46)} ${without.toFixed(0)} µs verified, ${cached.toFixed(0)} µs from the cache, × ${saved.toFixed(2)}\n`,
  );
}

const lasting = { iat: NOW, exp: NOW + 3000 };
const byCertificate = await assertion({ ...lasting, cnf: { 'x5t#S256': CERTIFICATE } });
const byKey = await assertion({ ...lasting, cnf: { jkt: THUMBPRINT } });
await compare('bound to a certificate', byCertificate, false);
await compare('bound to a certificate, encrypted', await encryptTo(SEALING.publicKey, byCertificate), false);
await compare('bound to a key, a proof each time', byKey, true);
await compare(
  'bound to a key, encrypted, a proof each time',
  await encryptTo(SEALING.publicKey, byKey),
  true,
);
