import fc from 'fast-check';
import t from 'tap';
import type { ServiceId, SubsystemId } from '../core/ids.ts';
import { canonicalJson } from './canonical.ts';
import { PolicyInput } from './input.ts';
import {
  AGREEMENT,
  A,
  CLIENT,
  NOW,
  SERVICE,
  consumerFacts,
  providerFacts,
  provedClient,
  signedRequest,
} from './proofs-fixture.ts';

void t.test("the consumer's gateway lays down what it proved", async (t) => {
  const facts = consumerFacts();
  const input = PolicyInput.forConsumer(facts);
  t.strictSame(JSON.parse(input.text), {
    decision_id: facts.exchange,
    now_ms: NOW,
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
      device: 'none',
    },
    assertion: null,
    device: null,
    node: null,
  });
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
