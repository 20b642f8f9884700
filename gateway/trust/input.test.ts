import fc from 'fast-check';
import t from 'tap';
import { bound, CONNECTION, CONTENT, ISSUER, KEYS, token } from '../../conformance/builders/ear.ts';
import type { ServiceId, SubsystemId } from '../core/ids.ts';
import { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import type { Weaknesses } from '../device/ear.ts';
import { DeviceRegister } from '../device/register.ts';
import { canonicalJson } from './canonical.ts';
import { PolicyInput } from './input.ts';
import {
  AGREEMENT,
  A,
  B,
  CLIENT,
  NOW,
  SERVICE,
  USUAL,
  consumerFacts,
  providerFacts,
  provedClient,
  signedRequest,
} from './proofs-fixture.ts';
import { ThreatIntel } from './threat.ts';

void t.test("the consumer's gateway lays down what it proved", async (t) => {
  const facts = consumerFacts();
  const input = PolicyInput.forConsumer(facts);
  t.strictSame(JSON.parse(input.text), {
    decision_id: facts.exchange,
    now_ms: NOW - (NOW % 1000),
    role: 'consumer',
    request: {
      method: 'GET',
      path: '/people/7',
      client: CLIENT,
      service: SERVICE,
      provider_member: 'TW/GOV/B07',
      content_length: null,
    },
    peer: null,
    client_system: { subsystem: CLIENT, method: 'loopback' },
    agreement: {
      id: AGREEMENT.id,
      consumer: CLIENT,
      service: SERVICE,
      methods: ['GET', 'POST'],
      paths: ['/', '/people/*'],
      from_ms: AGREEMENT.fromMs,
      until_ms: AGREEMENT.untilMs,
      enabled_by_provider: true,
      enabled_by_consumer: true,
      assertion: 'none',
      class: 'general',
      device: 'none',
    },
    assertion: null,
    device: null,
    node: null,
    signals: USUAL,
    threat: null,
  });
  const personal = PolicyInput.forConsumer(consumerFacts({ agreement: { ...AGREEMENT, class: 'personal' } }));
  t.match(JSON.parse(personal.text), { agreement: { class: 'personal' } });
  t.equal(input.decisionId, facts.exchange);
  t.equal(input.agreementId, AGREEMENT.id);
  t.equal(input.bytes.toString(), input.text);
  t.equal(input.bytes, input.bytes, 'made once');
});

void t.test("the provider's gateway lays down what the peer signed", async (t) => {
  const facts = providerFacts({ signed: signedRequest({ method: 'POST', length: 7 }), agreement: undefined });
  const input = PolicyInput.forProvider(facts);
  t.match(JSON.parse(input.text), {
    decision_id: facts.signed.exchange.id,
    role: 'provider',
    request: { method: 'POST', path: '/people/7', client: CLIENT, content_length: 7 },
    peer: { gateway: A, member: 'TW/GOV/A11' },
    client_system: null,
    agreement: null,
  });
  t.equal(input.agreementId, undefined);
});

const SHOWN = {
  binding: 'bound',
  device: CONTENT.device,
  expires_at_ms: NOW + 180_000 - (NOW % 1000),
  health: { os: 2, antivirus: 2, applications: 36, configuration: 2 },
  health_tier: 'warning',
  issued_at_ms: NOW - (NOW % 1000),
  issuer: ISSUER,
  policy: CONTENT.policyId,
  tpm_tier: 'affirming',
};
const seconds = Math.floor(NOW / 1000);
const checks = { keys: KEYS, register: new DeviceRegister() };
const fresh = {
  issuedAt: seconds,
  expiresAt: seconds + 180,
  health: { ...CONTENT.health, applications: 36 },
} as const;
const endpointToken = token({ ...fresh, audience: A });
const endpoint = EndpointDevice.verify(
  { token: endpointToken, binding: bound() },
  CONNECTION,
  A,
  checks,
  NOW,
);
const nodeOf = (gateway: string): NodeDevice =>
  NodeDevice.verify(
    { token: token({ ...fresh, class: 'node', gateway, audience: 'TW' }), binding: bound() },
    CONNECTION,
    gateway,
    'TW',
    { ...checks, register: new DeviceRegister() },
    NOW,
  );
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;

void t.test('what was attested of machines, and what is demanded of them', async (t) => {
  const agreement = { ...AGREEMENT, device: { node: LEAST } };
  const signed = signedRequest({ device: `result="${endpointToken}", binding="x"` });
  for (const input of [
    PolicyInput.forConsumer(consumerFacts({ endpoint, node: nodeOf(B), agreement })),
    PolicyInput.forProvider(providerFacts({ endpoint, signed, node: nodeOf(A), agreement })),
  ]) {
    const document = JSON.parse(input.text);
    t.strictSame(document.device, SHOWN);
    t.strictSame(document.node, SHOWN);
    t.strictSame(document.agreement.device, { endpoint: null, node: LEAST });
    t.equal(input.text, canonicalJson(document), 'RFC 8785');
  }
});

void t.test('a machine whose component is attacked by now falls, and the decision says so', async (t) => {
  const log4j = 202_100_044_228;
  const tables = {
    configured: true,
    exploited: Float64Array.of(log4j),
    cvss: { cves: Float64Array.of(log4j), values: Uint16Array.of(100) },
    epss: undefined,
    publishedAt: NOW - 7_200_000,
  };
  const machine = (cves: Weaknesses | undefined): EndpointDevice =>
    EndpointDevice.verify(
      { token: token({ ...fresh, audience: A, cves }), binding: bound() },
      CONNECTION,
      A,
      { ...checks, register: new DeviceRegister() },
      NOW,
    );
  const input = (cves: Weaknesses | undefined, node?: NodeDevice, threat = new ThreatIntel(tables)) => {
    const { text } = PolicyInput.forConsumer(consumerFacts({ endpoint: machine(cves), node, threat }));
    const document = JSON.parse(text);
    t.equal(text, canonicalJson(document), 'RFC 8785');
    return document;
  };
  const none = { os: [], applications: [] };
  t.match(input({ ...none, os: [log4j] }), {
    device: { health: { ...SHOWN.health, os: 96 }, health_tier: 'contraindicated', tpm_tier: 'affirming' },
    threat: { age_hours: 2, cvss_tenths: 100, epss_permille: null, kev: 1 },
  });
  t.match(input({ ...none, applications: [log4j] }), { device: { health: { os: 2, applications: 96 } } });
  t.match(input(none), { device: SHOWN, threat: { cvss_tenths: 0, kev: 0 } }, 'nothing known against it');
  t.match(input(undefined), { device: SHOWN, threat: { cvss_tenths: null, kev: 0 } }, 'it does not say');
  const unsaid = input({ ...none, os: [log4j] }, nodeOf(B));
  t.match(unsaid, { node: SHOWN, threat: { cvss_tenths: 100, kev: 1 } }, 'one falls for itself');
  t.match(input({ ...none, os: [log4j] }, undefined, new ThreatIntel()), {
    device: SHOWN,
    threat: null,
  });
});

void t.test('V6: machines of another message or peer are refused', async (t) => {
  const relayed = signedRequest({ device: `result="${token({ ...fresh, audience: A, id: 'other' })}"` });
  const own = { endpoint, signed: signedRequest({ device: `result="${endpointToken}", binding="x"` }) };
  const other = (device: string, connection = CONNECTION): EndpointDevice =>
    EndpointDevice.verify(
      {
        token: token({ ...fresh, audience: A, device, certificate: connection.certificateSha256 }),
        binding: bound(connection),
      },
      connection,
      A,
      { ...checks, register: new DeviceRegister() },
      NOW,
    );
  const otherDevice = other('E'.repeat(43));
  const otherKey = other(CONTENT.device, { ...CONNECTION, certificateSha256: 'F'.repeat(43) });
  const newer = other(CONTENT.device);
  t.ok(PolicyInput.forProvider(providerFacts({ ...own, renewed: newer })), 'its own newer one is taken');
  for (const [change, message] of [
    [{ endpoint }, 'another device'],
    [{ endpoint, signed: relayed }, 'another device'],
    [{ signed: relayed }, 'another device'],
    ...[
      `result="${endpointToken}`,
      `result="${endpointToken}x"`,
      `result="x${endpointToken}"`,
      `Result="${endpointToken}"`,
    ].map((device) => [{ endpoint, signed: signedRequest({ device }) }, 'another device'] as const),
    [{ node: nodeOf(B) }, 'the host of another gateway'],
    [{ renewed: endpoint }, 'renewed by another device'],
    [{ ...own, renewed: otherDevice }, 'renewed by another device'],
    [{ ...own, renewed: otherKey }, 'renewed by another device'],
  ] as const) {
    t.throws(() => PolicyInput.forProvider(providerFacts(change)), { message: new RegExp(message) }, message);
  }
});

void t.test('how a client was proved is handed on as it was', async (t) => {
  const client = provedClient('https', 'TW/GOV/A11/tax' as SubsystemId);
  const { client_system: system } = JSON.parse(PolicyInput.forConsumer(consumerFacts({ client })).text);
  t.strictSame(system, { subsystem: 'TW/GOV/A11/tax', method: 'https' });
});

void t.test('the text is RFC 8785 whatever it is about', async (t) => {
  const text = fc.string({ unit: 'grapheme' });
  const terms = fc.record({
    methods: fc.array(text),
    paths: fc.array(text),
    id: text,
    assertion: fc.oneof(
      fc.constant('none' as const),
      fc.record({
        ial: fc.constantFrom(0, 1, 2, 3),
        aal: fc.constantFrom(0, 1, 2, 3),
        fal: fc.constantFrom(0, 1, 2, 3),
        maxAgeSeconds: fc.maxSafeNat(),
        proof: fc.constantFrom('required', 'optional'),
      }),
    ),
    fromMs: fc.maxSafeNat(),
    enabledByConsumer: fc.boolean(),
  });
  fc.assert(
    fc.property(terms, text, fc.option(fc.maxSafeNat(), { nil: undefined }), (changed, path, length) => {
      const request = { method: 'GET', route: { service: SERVICE, rest: path }, client: CLIENT, length };
      for (const agreement of [{ ...AGREEMENT, ...changed }, undefined]) {
        const input = PolicyInput.forConsumer(consumerFacts({ request, agreement }));
        t.equal(input.text, canonicalJson(JSON.parse(input.text)));
      }
    }),
    { numRuns: 100 },
  );
  const provided = PolicyInput.forProvider(providerFacts());
  t.equal(provided.text, canonicalJson(JSON.parse(provided.text)));
});

void t.test('V6: facts about another message than the signed one are refused', async (t) => {
  const route = { service: SERVICE, rest: '/people/7' };
  const table = [
    [{ route: { ...route, rest: '/people/8' } }, 'route of another path'],
    [{ route: { ...route, rest: '' } }, 'route of another path'],
    [{ route: { ...route, service: 'TW/GOV/B07/housing/files' as ServiceId } }, 'route of another path'],
    [{ route: { service: `${SERVICE}/people` as ServiceId, rest: '/7/' } }, 'route of another path'],
    [{ client: 'TW/GOV/A11/tax' as SubsystemId }, 'another client'],
    [{ signed: signedRequest({ from: 'gw.c01.tw.troad.example' }) }, 'signed by another than the peer'],
  ] as const;
  for (const [change, message] of table) {
    t.throws(() => PolicyInput.forProvider(providerFacts(change)), { message: new RegExp(message) }, message);
  }
});

void t.test('times that JSON could not carry are refused', async (t) => {
  for (const time of [NaN, Infinity, 0.5, 2 ** 53]) {
    t.throws(() => PolicyInput.forConsumer(consumerFacts({ now: time })), /no integer/);
    t.throws(
      () => PolicyInput.forConsumer(consumerFacts({ agreement: { ...AGREEMENT, untilMs: time } })),
      /no integer/,
    );
    t.throws(
      () => PolicyInput.forConsumer(consumerFacts({ agreement: { ...AGREEMENT, fromMs: time } })),
      /no integer/,
    );
  }
});

void t.test('the time is a whole second, except where an agreement begins or ends within it', async (t) => {
  const second = NOW - (NOW % 1000);
  const seen = (now: number, fromMs: number, untilMs: number): unknown => {
    const agreement = { ...AGREEMENT, fromMs, untilMs };
    const document: unknown = JSON.parse(PolicyInput.forConsumer(consumerFacts({ now, agreement })).text);
    return typeof document === 'object' && document !== null && 'now_ms' in document && document.now_ms;
  };
  t.equal(seen(second, 0, second + 5000), second);
  t.equal(seen(second + 999, 0, second + 5000), second);
  t.equal(seen(second + 499, 0, second + 500), second, 'not ended yet');
  t.equal(seen(second + 500, 0, second + 500), second + 500, 'ended');
  t.equal(seen(second + 900, second + 500, second + 5000), second + 500, 'begun');
  t.equal(seen(second + 900, second + 500, second + 600), second + 600, 'begun and ended');
});
