// What verifying users costs a request, with the cache of verified assertions and without it.
import t, { type Test } from 'tap';
import { base64url, sha256 } from '../../gateway/core/bytes.ts';
import type { Fields } from '../../gateway/core/fields.ts';
import type { MemberId } from '../../gateway/core/ids.ts';
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
import { allocateTable } from '../../gateway/core/shared-table.ts';
import { ReplayTable } from '../../gateway/message/replay-table.ts';
import { A } from '../../gateway/trust/proofs-fixture.ts';

const MEMBER = 'TW/GOV/A11' as MemberId; // the tests' own constants
const CERTIFICATE = base64url(sha256('certificate'));
const REQUESTS = 500;

/** Forgets at once: every request verifies anew. */
class NoCache extends TokenCache {
  override find(): undefined {
    return undefined;
  }
}

/** @returns microseconds of CPU a request */
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

async function compare(t: Test, what: string, token: string, bound: boolean): Promise<void> {
  const without = await cost(new NoCache(), token, bound);
  const cache = new TokenCache();
  const cached = await cost(cache, token, bound);
  t.comment(`${what}: ${without.toFixed(0)} µs of CPU, ${cached.toFixed(0)} µs with the cache`);
  t.ok(cached < without / 1.5, `${what}: the cache saves at least a third`);
  t.same(cache.stats, { hits: REQUESTS - 1, misses: 1 });
}

void t.test('a bound assertion that is presented again is not verified again', async (t) => {
  const lasting = { iat: NOW, exp: NOW + 3000 };
  const byCertificate = await assertion({ ...lasting, cnf: { 'x5t#S256': CERTIFICATE } });
  const byKey = await assertion({ ...lasting, cnf: { jkt: THUMBPRINT } });
  await compare(t, 'bound to a certificate', byCertificate, false);
  await compare(
    t,
    'bound to a certificate, encrypted',
    await encryptTo(SEALING.publicKey, byCertificate),
    false,
  );
  await compare(t, 'bound to a key, with a proof each time', byKey, true);
  await compare(
    t,
    'bound to a key, encrypted, with a proof each time',
    await encryptTo(SEALING.publicKey, byKey),
    true,
  );
});
