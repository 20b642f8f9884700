import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { makeInstance, pinned, WELFARE } from '../../conformance/builders/instance.ts';
import type { AttestorRow, RegistryDocument } from './document.ts';
import { loadRegistry, openRegistry, signRegistry } from './load.ts';
import { signPayload } from './signature.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const { document, rootKeys, consumer, provider } = await makeInstance(NOW);
const trust = pinned(rootKeys.privateKey);
const jwkOf = (curve = 'P-256'): Record<string, string> => {
  const { x = '', y = '' } = generateKeyPairSync('ec', { namedCurve: curve }).publicKey.export({
    format: 'jwk',
  });
  return { kty: 'EC', crv: curve, x, y };
};
const key = { kid: 'a1', jwk: jwkOf() };
const lists = { kid: 'a2', jwk: jwkOf() };
const ROW: AttestorRow = {
  issuer: 'attest.tw.troad.example',
  members: [consumer.member, provider.member],
  classes: ['endpoint', 'node'],
  keys: [key],
  maxLifetimeSeconds: 180,
  revocations: { url: 'https://attest.tw.troad.example:8443', keys: [lists] },
};
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;
const [agreement] = document.agreements;
if (agreement === undefined) throw new Error('the builder makes agreements');
const load = async (changed: RegistryDocument) =>
  loadRegistry(Buffer.from(await signRegistry(changed, [rootKeys.privateKey])), trust, NOW);

void t.test('keys are looked up by what they may speak about', async (t) => {
  const other: AttestorRow = {
    issuer: 'attest.a11.tw.troad.example',
    members: [consumer.member],
    classes: ['endpoint'],
    keys: [{ kid: 'b1', jwk: jwkOf() }],
    maxLifetimeSeconds: 60,
  };
  const registry = await load({
    ...document,
    attestors: [ROW, other],
    agreements: [{ ...agreement, device: { endpoint: LEAST } }, ...document.agreements.slice(1)],
  });
  const kids = (...[kind, member]: Parameters<typeof registry.attestorKeys>) =>
    registry.attestorKeys(kind, member).map(({ kid, maxLifeSeconds }) => [kid, maxLifeSeconds]);
  t.strictSame(kids('endpoint', consumer.member), [['a1', 180], ['b1', 60]]); // prettier-ignore
  t.strictSame(kids('node', consumer.member), [['a1', 180]]);
  t.strictSame(kids('endpoint', provider.member), [['a1', 180]], 'b1 does not speak about these');
  t.strictSame(
    registry.attestors.map(({ issuer, revocationKeys }) => [issuer, revocationKeys.map(({ kid }) => kid)]),
    [
      [ROW.issuer, ['a2']],
      [other.issuer, ['b1']],
    ],
  );
  t.equal(registry.attestor(ROW.issuer)?.row.maxLifetimeSeconds, 180);
  t.strictSame(registry.agreementsFor(WELFARE, agreement.service)[0]?.device, { endpoint: LEAST });
});

void t.test('a registry without attestation services speaks about no device', async (t) => {
  const registry = await load(document);
  t.strictSame([registry.attestors, registry.attestorKeys('node', consumer.member)], [[], []]);
});

type Change = Readonly<Record<string, unknown>>;
const withRow = (change: Change): unknown => ({ ...document, attestors: [{ ...ROW, ...change }] });
const withDemand = (device: unknown): unknown => ({ ...document, agreements: [{ ...agreement, device }] });
const nearMisses: readonly (readonly [what: string, document: unknown, problem: RegExp])[] = [
  ['an unknown member of a row', withRow({ trusted: true }), /\/attestors\/0\/trusted: unknown key/],
  ['an issuer with a blank', withRow({ issuer: 'a b' }), /\/attestors\/0\/issuer: /],
  ['an unknown agency', withRow({ members: ['TW/GOV/C01'] }), /\/members\/0: unknown member/],
  ['nobody to speak about', withRow({ members: [] }), /\/members: none/],
  ['no class', withRow({ classes: [] }), /\/classes: none/],
  ['a class nobody knows', withRow({ classes: ['phone'] }), /\/classes\/0: expected "endpoint" or "node"/],
  ['no keys', withRow({ keys: [] }), /\/keys: none/],
  ['a life of ten minutes', withRow({ maxLifetimeSeconds: 600 }), /\/maxLifetimeSeconds: more than 300/],
  ['a life of a second', withRow({ maxLifetimeSeconds: 1 }), /\/maxLifetimeSeconds: /],
  ['a private key', withRow({ keys: [{ ...key, jwk: { ...key.jwk, d: 'AAAA' } }] }), /\/jwk\/d: unknown key/],
  ['a key of another curve', withRow({ keys: [{ kid: 'x', jwk: jwkOf('P-384') }] }), /\/keys\/0\/jwk: jwk: /],
  ['a point off the curve', withRow({ keys: [{ ...key, jwk: { ...key.jwk, y: key.jwk['x'] } }] }), /not a public key/],
  ['a kid twice', withRow({ keys: [key, { kid: 'a1', jwk: jwkOf() }] }), /\/keys\/1\/kid: .*twice/],
  ['a list over http', withRow({ revocations: { url: 'http://attest' } }), /\/revocations\/url: expected an https URL/],
  ['an issuer twice', { ...document, attestors: [ROW, ROW] }, /\/attestors\/1\/issuer: .*twice/],
  ['one key of two services', { ...document, attestors: [ROW, { ...ROW, issuer: 'x' }] }, /\/jwk: the key is also that of/],
  [
    'one kid of two services',
    { ...document, attestors: [ROW, { ...ROW, issuer: 'x', keys: [{ kid: 'a1', jwk: jwkOf() }], revocations: undefined }] },
    /\/kid: a1 is also that of|\/kid: "a1" is also that of/,
  ],
  ['a demand in a word', withDemand('attested'), /\/agreements\/0\/device: expected "none"/],
  ['no demand', withDemand(undefined), /\/device: expected "none"/],
  ['a demand of nothing', withDemand({}), /\/device: expected "endpoint", "node" or both/],
  ['a demand left half', withDemand({ node: { tpm: 'affirming' } }), /\/device\/node\/health: /],
  ['a tier nobody knows', withDemand({ node: { ...LEAST, tpm: 'good' } }), /\/device\/node\/tpm: /],
  ['a residency nobody knows', withDemand({ endpoint: { ...LEAST, residency: 'cloud' } }), /\/residency: /],
  ['a demand nobody knows', withDemand({ endpoint: { ...LEAST, age: 1 } }), /\/endpoint\/age: unknown key/],
]; // prettier-ignore
for (const [what, changed, problem] of nearMisses) {
  void t.test(`refuses ${what}`, async (t) => {
    const signed = await signPayload(Buffer.from(JSON.stringify(changed)), [rootKeys.privateKey]);
    await t.rejects(openRegistry(Buffer.from(signed), trust), { name: 'ConfigError', message: problem });
  });
}
