import t from 'tap';
import { bound, CONNECTION, KEYS, token } from '../../conformance/builders/ear.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';
import { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import { DeviceRegister } from '../device/register.ts';
import * as tokens from '../identity/tokens-fixture.ts';
import { VerifiedToken } from '../identity/token.ts';
import { UserAssertion } from '../identity/user-assertion.ts';
import { canonicalJson } from './canonical.ts';
import { PolicyInput } from './input.ts';
import * as proofs from './proofs-fixture.ts';
import { ThreatIntel } from './threat.ts';

const { AGREEMENT, A, B, CLIENT, NOW, SERVICE, USUAL } = proofs;
const seconds = Math.floor(NOW / 1000);
const lifetime = { issuedAt: seconds, expiresAt: seconds + 180 };
const checks = { keys: KEYS, register: new DeviceRegister() };
const endpoint = (id: string): EndpointDevice =>
  EndpointDevice.verify(
    { token: token({ ...lifetime, audience: A, id, device: id.repeat(43) }), binding: bound() },
    CONNECTION,
    A,
    checks,
    NOW,
  );
const node = NodeDevice.verify(
  { token: token({ ...lifetime, class: 'node', gateway: B, audience: 'TW' }), binding: bound() },
  CONNECTION,
  B,
  'TW',
  checks,
  NOW,
);
const feeds = (publishedAt: number): ThreatIntel =>
  new ThreatIntel({
    configured: true,
    exploited: Float64Array.of(),
    cvss: undefined,
    epss: undefined,
    publishedAt,
  });

const certificate = 'A'.repeat(43);
async function verified(claims: object = {}, issuer = tokens.issuerWith()): Promise<VerifiedToken> {
  const jws = await tokens.assertion({ cnf: { 'x5t#S256': certificate }, ...claims });
  const expected = { ...tokens.EXPECTED, member: issuer.member };
  return VerifiedToken.verify(jws, expected, tokens.directoryOf(issuer));
}
function proved(verifiedToken: VerifiedToken, encrypted = false): UserAssertion {
  const once = { claim: () => undefined };
  return UserAssertion.prove(
    verifiedToken,
    { proof: undefined, certificate, encrypted },
    {
      request: {
        method: 'GET',
        path: '/',
        origin: undefined,
        isNonce: undefined,
        assertionSha256: () => Buffer.alloc(32),
      },
      now: tokens.NOW,
      revocations: { requireValid: () => undefined },
      assertions: once,
      proofs: once,
    },
  );
}
const issuer = (changes: Parameters<typeof tokens.issuerWith>[1]) => tokens.issuerWith([tokens.KEY], changes);
const usual = await verified();
const users = [
  proved(usual),
  proved(usual, true),
  proved(await verified({ auth_time: tokens.NOW - 61 })),
  proved(await verified({ acr: 'aal2' })),
  proved(await verified({ amr: ['hwk', 'fpt'] })),
  proved(await verified({ cnf: undefined })),
  proved(await verified({}, issuer({ acr: new Map([['aal3', { ial: 1, aal: 3 }]]) }))),
  proved(await verified({ iss: 'https://other.example' }, issuer({ issuer: 'https://other.example' }))),
  proved(await verified({}, issuer({ member: 'TW/GOV/A12' as MemberId }))),
];

/** An hour older within a second. */
const TURNING = feeds(NOW + 1 - 3_600_000);
const { request } = proofs.consumerFacts();
const { route } = request;
/** Each differs from the first in one thing, as little as can be. */
const consumers = [
  {},
  { now: NOW + 900 },
  { now: AGREEMENT.untilMs },
  { agreement: undefined },
  { agreement: { ...AGREEMENT, class: 'personal' } },
  { client: proofs.provedClient('https') },
  { client: proofs.provedClient('loopback', `${CLIENT}2` as SubsystemId) },
  { endpoint: endpoint('1') },
  { endpoint: endpoint('2') },
  { node },
  { request: { ...request, method: 'PUT' } },
  { request: { ...request, client: `${CLIENT}2` as SubsystemId } },
  ...[0, 1].map((length) => ({ request: { ...request, length } })),
  ...['', '/', '/people/8', '/"\\', '/é'].map((rest) => ({
    request: { ...request, route: { ...route, rest } },
  })),
  { request: { ...request, route: { ...route, service: `${SERVICE}2` as ServiceId } } },
  { signals: { ...USUAL, address: 'new' } },
  { signals: { ...USUAL, device: 'new' } },
  { signals: { ...USUAL, device: 'known' } },
  { signals: { ...USUAL, hour: 'unusual' } },
  { signals: { ...USUAL, hour: null } },
  { signals: { ...USUAL, rate_percent: 25 } },
  { signals: { ...USUAL, rate_percent: null } },
  { signals: { ...USUAL, refusals: 1 } },
  { signals: { ...USUAL, volume_percent: 25 } },
  { signals: { ...USUAL, volume_percent: null } },
  { threat: TURNING },
  { threat: TURNING, now: NOW + 1 },
  { threat: feeds(NOW - 7_200_000) },
  ...users.map((one) => ({ user: one })),
] as const;
const { exchange } = proofs.consumerFacts();
const signed = proofs.signedRequest({ length: 1 });
const ASK = [
  ...consumers.map((facts) => () => PolicyInput.forConsumer(proofs.consumerFacts({ exchange, ...facts }))),
  () => PolicyInput.forProvider(proofs.providerFacts({ signed })),
  () =>
    PolicyInput.forProvider(
      proofs.providerFacts({ signed, peer: proofs.provedPeer('TW/GOV/A12' as MemberId) }),
    ),
];

/** So many others that none of before is left. */
let others = 1000;
function forget(): void {
  for (let i = 0; i <= 512; i += 1) {
    others += 1;
    PolicyInput.forConsumer(proofs.consumerFacts({ request: { ...request, length: others } }));
  }
}

void t.test('what was written before is found, and nothing is taken for another', async (t) => {
  const fresh = ASK.map((ask) => {
    forget();
    return ask().text;
  });
  t.equal(new Set(fresh).size, ASK.length, 'all differ');
  for (const text of fresh) t.equal(text, canonicalJson(JSON.parse(text)));
  forget();
  for (const round of ['one after the other', 'once more'])
    t.strictSame(
      ASK.map((ask) => ask().text),
      fresh,
      round,
    );
  const questions = ASK.map((ask) => ask().question);
  t.strictSame(
    ASK.map((ask, i) => ask().question === questions[i]),
    ASK.map(() => true),
    'each one found',
  );
  t.strictSame(
    ASK.map((ask) => ask().bytes.toString()),
    fresh,
    'and in bytes',
  );
});

void t.test('another request of the same user asks the same', async (t) => {
  const ask = () => PolicyInput.forConsumer(proofs.consumerFacts({ user: proved(usual) })).question;
  t.equal(ask(), ask());
});

void t.test('many others do not stay', async (t) => {
  const ask = () => PolicyInput.forConsumer(proofs.consumerFacts()).question;
  const first = ask();
  t.equal(ask(), first);
  forget();
  t.not(ask(), first);
});
