import t from 'tap';
import { makeInstance, pinned, WELFARE } from '../../conformance/builders/instance.ts';
import { keyPair } from '../identity/tokens-fixture.ts';
import type { AgreementRow, IdentityProviderRow, RegistryDocument } from './document.ts';
import { loadRegistry, signRegistry } from './load.ts';
import { signPayload } from './signature.ts';
import { openRegistry } from './load.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const { document, rootKeys, consumer, provider } = await makeInstance(NOW);
const trust = pinned(rootKeys.privateKey);
const key = keyPair('ES256');
const rsa = keyPair('RS256');
const ROW: IdentityProviderRow = {
  issuer: 'https://idp.a11.example',
  member: consumer.member,
  keys: [{ kid: key.kid, alg: 'ES256', jwk: key.jwk }],
  acr: [
    { value: 'urn:troad:aal2', ial: 2, aal: 2 },
    { value: 'urn:troad:aal3', ial: 2, aal: 3 },
  ],
  maxLifetimeSeconds: 600,
  signalKeys: [{ kid: rsa.kid, alg: 'RS256', jwk: rsa.jwk }],
};
const DEMAND = { ial: 2, aal: 3, fal: 2, maxAgeSeconds: 900, proof: 'required' } as const;
const [agreement] = document.agreements;
if (agreement === undefined) throw new Error('the builder makes agreements');
const FULL: RegistryDocument = {
  ...document,
  identityProviders: [ROW],
  agreements: [{ ...agreement, assertion: DEMAND }, ...document.agreements.slice(1)],
};
const registry = await loadRegistry(Buffer.from(await signRegistry(FULL, [rootKeys.privateKey])), trust, NOW);

void t.test('an issuer is looked up together with the member it speaks for', async (t) => {
  const found = registry.identityProvider(consumer.member, ROW.issuer);
  t.equal(found?.keys.get(key.kid)?.algorithm, 'ES256');
  t.ok(found?.keys.get(key.kid)?.publicKey.equals(key.publicKey));
  t.equal(found?.signalKeys.get(rsa.kid)?.algorithm, 'RS256');
  t.equal(found?.keys.get(rsa.kid), undefined, 'a key for signals signs no assertions');
  t.same(found?.acr.get('urn:troad:aal3'), { ial: 2, aal: 3 });
  t.equal(registry.identityProvider(provider.member, ROW.issuer), undefined, 'J17');
  for (const issuer of [`${ROW.issuer}/`, 'https://IDP.a11.example', '__proto__', ''])
    t.equal(registry.identityProvider(consumer.member, issuer), undefined, issuer);
  t.equal(registry.identityProvidersOf(consumer.member).length, 1);
  t.same(registry.identityProvidersOf(provider.member), []);
  t.equal(registry.identityProvidersNamed(ROW.issuer).length, 1);
  t.same(registry.agreementsFor(WELFARE, agreement.service)[0]?.assertion, DEMAND);
});

void t.test('a registry without identity providers is a registry', async (t) => {
  const plain = await loadRegistry(
    Buffer.from(await signRegistry(document, [rootKeys.privateKey])),
    trust,
    NOW,
  );
  t.equal(plain.identityProvider(consumer.member, ROW.issuer), undefined);
});

void t.test('every change of a row is another revision', async (t) => {
  const changed = { ...FULL, identityProviders: [{ ...ROW, maxLifetimeSeconds: 601 }] };
  const later = await loadRegistry(
    Buffer.from(await signRegistry(changed, [rootKeys.privateKey])),
    trust,
    NOW,
  );
  t.not(
    later.identityProvider(consumer.member, ROW.issuer)?.revision,
    registry.identityProvider(consumer.member, ROW.issuer)?.revision,
  );
});

void t.test('one issuer may speak for several members; its keys are its own', async (t) => {
  const both = { ...FULL, identityProviders: [ROW, { ...ROW, member: provider.member }] };
  const shared = await loadRegistry(Buffer.from(await signRegistry(both, [rootKeys.privateKey])), trust, NOW);
  t.equal(shared.identityProvidersNamed(ROW.issuer).length, 2);
});

type Change = Readonly<Record<string, unknown>>;
const withRow = (change: Change): unknown => ({ ...FULL, identityProviders: [{ ...ROW, ...change }] });
const withKey = (change: Change): unknown => withRow({ keys: [{ ...ROW.keys[0], ...change }] });
const withDemand = (assertion: unknown): unknown => ({
  ...FULL,
  agreements: [{ ...agreement, assertion }],
});
const nearMisses: readonly (readonly [what: string, document: unknown, problem: RegExp])[] = [
  ['an unknown member of a row', withRow({ trusted: true }), /\/identityProviders\/0\/trusted: unknown key/],
  [
    'an issuer that is http',
    withRow({ issuer: 'http://idp.a11.example' }),
    /\/issuer: expected an https URL/,
  ],
  ['an issuer with a query', withRow({ issuer: 'https://idp.a11.example?x' }), /\/issuer: /],
  ['an issuer with a user', withRow({ issuer: 'https://a@idp.a11.example' }), /\/issuer: /],
  ['an issuer that is a list', withRow({ issuer: [ROW.issuer] }), /\/issuer: /],
  ['an unknown member', withRow({ member: 'TW/GOV/C01' }), /\/member: unknown member/],
  ['no keys and no URL', withRow({ keys: [] }), /\/keys: no keys and no jwks/],
  ['a lifetime of two hours', withRow({ maxLifetimeSeconds: 7200 }), /\/maxLifetimeSeconds: more than 3600/],
  ['no lifetime', withRow({ maxLifetimeSeconds: undefined }), /\/maxLifetimeSeconds: /],
  ['an algorithm nobody has', withKey({ alg: 'HS256' }), /\/keys\/0\/alg: /],
  ['alg none', withKey({ alg: 'none' }), /\/keys\/0\/alg: /],
  ['a key of another algorithm', withKey({ alg: 'EdDSA' }), /\/keys\/0\/jwk: jwk: /],
  ['a private key', withKey({ jwk: { ...key.jwk, d: 'AAAA' } }), /\/keys\/0\/jwk\/d: unknown key/],
  ['a symmetric key', withKey({ jwk: { kty: 'oct', k: 'AAAA' } }), /\/keys\/0\/jwk\/k: unknown key/],
  [
    'a point off the curve',
    withKey({ jwk: { ...key.jwk, y: key.jwk['x'] } }),
    /\/keys\/0\/jwk: jwk: not a public key/,
  ],
  [
    'RSA of 1024 bits',
    withKey({ alg: 'RS256', jwk: { kty: 'RSA', n: `${'_'.repeat(170)}w`, e: 'AQAB' } }),
    /\/keys\/0\/jwk: /,
  ],
  ['a kid with a blank', withKey({ kid: 'a b' }), /\/keys\/0\/kid: /],
  [
    'a kid twice',
    withRow({ keys: [ROW.keys[0], { ...ROW.keys[0], jwk: keyPair('ES256').jwk }] }),
    /\/keys\/1\/kid: .*twice/,
  ],
  ['an acr twice', withRow({ acr: [ROW.acr[0], ROW.acr[0]] }), /\/acr\/1\/value: .*twice/],
  ['an acr with a quote', withRow({ acr: [{ value: 'a"b', ial: 1, aal: 1 }] }), /\/acr\/0\/value: /],
  ['an acr with a blank', withRow({ acr: [{ value: 'a b', ial: 1, aal: 1 }] }), /\/acr\/0\/value: /],
  ['level 4', withRow({ acr: [{ value: 'a', ial: 2, aal: 4 }] }), /\/acr\/0\/aal: expected 0, 1, 2 or 3/],
  ['a level in text', withRow({ acr: [{ value: 'a', ial: '2', aal: 2 }] }), /\/acr\/0\/ial: /],
  [
    'jwks over http',
    withRow({ jwks: { url: 'http://idp.a11.example/jwks', algorithms: ['ES256'] } }),
    /\/jwks\/url: /,
  ],
  [
    'jwks for no algorithm',
    withRow({ jwks: { url: 'https://idp.a11.example/jwks', algorithms: [] } }),
    /\/jwks\/algorithms: none/,
  ],
  [
    'one issuer twice for a member',
    { ...FULL, identityProviders: [ROW, ROW] },
    /\/identityProviders\/1\/issuer: .*twice/,
  ],
  [
    'one key of two issuers',
    {
      ...FULL,
      identityProviders: [ROW, { ...ROW, issuer: 'https://idp.b07.example', member: provider.member }],
    },
    /\/identityProviders\/1\/keys\/0\/jwk: the key is also that of/,
  ],
  ['a demand in a word', withDemand('aal2'), /\/agreements\/0\/assertion: expected "none"/],
  ['no demand', withDemand(undefined), /\/assertion: /],
  ['a demand of nothing', withDemand({}), /\/assertion\/ial: /],
  ['a demand without proof', withDemand({ ...DEMAND, proof: undefined }), /\/assertion\/proof: /],
  ['a demand of level 4', withDemand({ ...DEMAND, aal: 4 }), /\/assertion\/aal: /],
  [
    'a demand of a day',
    withDemand({ ...DEMAND, maxAgeSeconds: 86_400 }),
    /\/assertion\/maxAgeSeconds: more than 43200/,
  ],
  ['a demand of no time at all', withDemand({ ...DEMAND, maxAgeSeconds: 0 }), /\/assertion\/maxAgeSeconds: /],
  ['a demand nobody knows', withDemand({ ...DEMAND, trust: 1 }), /\/assertion\/trust: unknown key/],
];
for (const [what, changed, problem] of nearMisses) {
  void t.test(`refuses ${what}`, async (t) => {
    const signed = await signPayload(Buffer.from(JSON.stringify(changed)), [rootKeys.privateKey]);
    await t.rejects(openRegistry(Buffer.from(signed), trust), { name: 'ConfigError', message: problem });
  });
}

void t.test('a demand is read whole', async (t) => {
  const none: AgreementRow['assertion'] = 'none';
  t.same(
    registry.agreementsFor(WELFARE, document.agreements[1]?.service ?? agreement.service)[0]?.assertion,
    none,
  );
});
