import t from 'tap';
import type { MemberId } from '../core/ids.ts';
import { keyPair } from '../identity/tokens-fixture.ts';
import type { IdentityProviderRow } from './document.ts';
import { JwksCache, MAX_JWKS_BYTES, readJwks } from './jwks.ts';

const key = keyPair('ES256', 'k1');
const next = keyPair('ES256', 'k2');
const URL = 'https://idp.a11.example/jwks';
const ROW: IdentityProviderRow = {
  issuer: 'https://idp.a11.example',
  member: 'TW/GOV/A11' as MemberId, // spelled as core/ids.ts would accept it
  keys: [],
  jwks: { url: URL, algorithms: ['ES256'] },
  acr: [],
  maxLifetimeSeconds: 600,
};
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const jwkOf = ({ jwk, kid }: typeof key, more = {}) => ({ ...jwk, kid, ...more });
const document = (...keys: (typeof key)[]) =>
  bytes({ keys: keys.map((each) => jwkOf(each, { alg: 'ES256', use: 'sig' })) });

function cacheOf(answer: () => Uint8Array) {
  const at = { now: 1_000_000_000_000, setBack: 0 };
  const fetched: string[] = [];
  const problems: string[] = [];
  const cache = new JwksCache({
    fetch: async (url) => {
      fetched.push(url);
      return answer();
    },
    clock: { now: () => at.now - at.setBack, monotonic: () => at.now - 1_000_000_000_000 },
    onProblem: (detail) => problems.push(detail),
  });
  return { cache, at, fetched, problems };
}

void t.test('fetches what the registry names, and looks again in time', async (t) => {
  let keys = document(key);
  const { cache, at, fetched } = cacheOf(() => keys);
  t.throws(() => cache.key(ROW, 'k1'), { code: 'assertion.keys_stale' }, 'never fetched yet');
  await cache.refresh([ROW]);
  t.ok(cache.key(ROW, 'k1')?.publicKey.equals(key.publicKey));
  const revision = cache.revision;
  for (let i = 0; i < 50; i++) await cache.refresh([ROW]);
  t.equal(fetched.length, 1, 'once');
  at.now += 300_000;
  await cache.refresh([ROW]);
  t.equal(fetched.length, 2);
  t.equal(cache.revision, revision, 'nothing changed');
  keys = document(key, next);
  at.now += 300_000;
  await cache.refresh([ROW]);
  t.ok(cache.key(ROW, 'k2'));
  t.equal(cache.revision, revision + 1);
});

void t.test('J16 a rotation shows after the cooldown, however many unknown ids come', async (t) => {
  let keys = document(key);
  const { cache, at, fetched } = cacheOf(() => keys);
  await cache.refresh([ROW]);
  keys = document(next);
  for (let i = 0; i < 1000; i++) {
    t.equal(cache.key(ROW, 'k2'), undefined);
    await cache.refresh([ROW]);
  }
  t.equal(fetched.length, 1, 'no fetch inside the cooldown');
  at.now += 30_000;
  await cache.refresh([ROW]);
  t.equal(fetched.length, 2);
  t.ok(cache.key(ROW, 'k2'));
  t.equal(cache.key(ROW, 'k1'), undefined, 'the old key is gone');
});

void t.test('J16 a clock that is set back hides neither a new key nor the end of an old one', async (t) => {
  let answer = (): Uint8Array => document(key);
  const { cache, at } = cacheOf(() => answer());
  await cache.refresh([ROW]);
  at.setBack = 8 * 3_600_000; // it was local time, and the network says otherwise
  answer = () => document(next);
  at.now += 300_000;
  await cache.refresh([ROW]);
  t.equal(cache.key(ROW, 'k1'), undefined, 'the provider took it back');
  t.ok(cache.key(ROW, 'k2'));
  answer = () => {
    throw new Error('unreachable');
  };
  at.now += 24 * 3_600_000 + 1;
  await cache.refresh([ROW]);
  t.throws(() => cache.key(ROW, 'k2'), { code: 'assertion.keys_stale' }, 'a day is a day');
});

void t.test('J16 a machine that slept for two days asks again before it believes', async (t) => {
  const { cache, at } = cacheOf(() => document(key));
  await cache.refresh([ROW]);
  at.setBack -= 2 * 24 * 3_600_000; // only the wall clock went on
  t.throws(() => cache.key(ROW, 'k1'), { code: 'assertion.keys_stale' });
  await cache.refresh([ROW]);
  t.ok(cache.key(ROW, 'k1'));
});

const broken: readonly (readonly [what: string, answer: () => Uint8Array])[] = [
  [
    'does not answer',
    () => {
      throw new Error('unreachable');
    },
  ],
  ['answers HTML', () => Buffer.from('<!doctype html><title>login</title>')],
  ['answers a list', () => bytes([])],
  ['answers no keys', () => bytes({})],
  ['answers 10,000 keys', () => bytes({ keys: Array.from({ length: 10_000 }, () => ({ kty: 'EC' })) })],
  ['answers two keys of one id', () => document(key, { ...next, kid: 'k1' })],
  ['answers a private key', () => bytes({ keys: [jwkOf(key, { alg: 'ES256', d: 'AAAA' })] })],
  ['answers too much', () => Buffer.alloc(MAX_JWKS_BYTES + 1, 0x20)],
];
for (const [what, answer] of broken) {
  void t.test(`J16 while the URL ${what}, the last good keys serve for a day, then none`, async (t) => {
    let good = true;
    const { cache, at, fetched, problems } = cacheOf(() => (good ? document(key) : answer()));
    await cache.refresh([ROW]);
    good = false;
    at.now += 300_000;
    await cache.refresh([ROW]);
    t.ok(cache.key(ROW, 'k1'));
    t.equal(problems.length, 1);
    t.equal(fetched.length, 2);
    await cache.refresh([ROW]);
    t.equal(fetched.length, 2, 'not at once again');
    at.now += 30_000;
    await cache.refresh([ROW]);
    t.equal(fetched.length, 3, 'but sooner than when all is well');
    at.now += 24 * 3_600_000;
    t.throws(() => cache.key(ROW, 'k1'), { name: 'Unavailable', code: 'assertion.keys_stale' });
    good = true;
    await cache.refresh([ROW]);
    t.ok(cache.key(ROW, 'k1'), 'and it recovers');
  });
}

void t.test('a URL that left the registry takes its keys along', async (t) => {
  const { cache } = cacheOf(() => document(key));
  await cache.refresh([ROW]);
  await cache.refresh([]);
  t.throws(() => cache.key(ROW, 'k1'), { code: 'assertion.keys_stale' });
});

void t.test('without a URL nothing is fetched', async (t) => {
  const { cache, fetched } = cacheOf(() => document(key));
  const { jwks: _, ...row } = ROW;
  await cache.refresh([row]);
  t.equal(cache.key(row, 'k1'), undefined);
  t.same(fetched, []);
});

void t.test('keys for other algorithms are passed over', async (t) => {
  const rsa = keyPair('RS256', 'r');
  const set = bytes({
    keys: [
      jwkOf(key, { x5c: ['MIIB'], key_ops: ['verify'] }),
      { ...rsa.jwk, kid: 'r', alg: 'RS256' },
      { kty: 'oct', k: 'AAAA', kid: 'o', alg: 'HS256' },
      jwkOf(next, { use: 'enc' }),
      { kty: 'future', kid: 'f' },
    ],
  });
  t.same([...readJwks(set, ['ES256']).keys()], ['k1']);
  t.same([...readJwks(set, ['ES256', 'RS256']).keys()], ['k1', 'r'], 'RS256 only where it was agreed');
  t.same([...readJwks(set, ['PS256', 'RS256']).keys()], ['r'], 'what the key says');
  const unnamed = bytes({ keys: [{ ...rsa.jwk, kid: 'r' }] });
  t.equal(readJwks(unnamed, ['PS256', 'RS256']).size, 0, 'two could be meant: none is');
  t.equal(readJwks(unnamed, ['PS256']).get('r')?.algorithm, 'PS256');
  const pqc = keyPair('ML-DSA-65', 'm');
  t.equal(
    readJwks(bytes({ keys: [{ ...pqc.jwk, kid: 'm' }] }), ['ML-DSA-65']).get('m')?.algorithm,
    'ML-DSA-65',
  );
});
