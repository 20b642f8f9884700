import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import * as sdk from '@open-policy-agent/opa-wasm';
import { base64url, sha256, utf8 } from '../core/bytes.ts';
import { Denied, MalformedBytes } from '../core/errors.ts';
import type { ExchangeId, SubsystemId } from '../core/ids.ts';
import { canonicalJson } from './canonical.ts';
import { MAX_INPUT_BYTES, PolicyEngine } from './engine.ts';
import { Grant, PolicyDenied } from './grant.ts';
import { PolicyInput } from './input.ts';
import { bundleOf, functionOf, op, type ModuleSpec } from './module-fixture.ts';
import { AGREEMENT, consumerFacts, providerFacts, provedClient, shippedBundle } from './proofs-fixture.ts';

const shipped = PolicyEngine.load(shippedBundle());
const load = (spec: ModuleSpec): PolicyEngine => PolicyEngine.load(bundleOf(spec));
const decide = (engine: PolicyEngine, input = PolicyInput.forConsumer(consumerFacts())) =>
  engine.decide(input);
/** An engine whose policy answers this, whatever it is asked. */
const answering = (result: unknown): PolicyEngine => load({ answer: JSON.stringify([{ result }]) });

void t.test('grants at both gateways what the agreement says', async (t) => {
  for (const input of [PolicyInput.forConsumer(consumerFacts()), PolicyInput.forProvider(providerFacts())]) {
    const grant = shipped.decide(input);
    t.type(grant, Grant);
    t.equal(grant.allow, true);
    t.equal(grant.decisionId, input.decisionId);
    t.equal(grant.agreementId, AGREEMENT.id);
    t.equal(grant.inputBytes.toString(), input.text);
    t.strictSame(grant.inputDigest, sha256(input.text));
    t.equal(grant.entrypoint, 'troad/exchange/decision');
    t.equal(grant.bundleDigest, shipped.bundleDigest);
    t.strictSame([grant.reasons, grant.obligations], [[], {}]);
    const result = {
      allow: true,
      decision_id: input.decisionId,
      obligations: {},
      reasons: [],
      score: grant.score,
      threshold: grant.threshold,
      tier: grant.tier,
    };
    t.equal(grant.resultDigest, base64url(sha256(canonicalJson(result))));
  }
});

void t.test('a denial carries its decision', async (t) => {
  const input = PolicyInput.forConsumer(consumerFacts({ now: AGREEMENT.untilMs }));
  try {
    shipped.decide(input);
    t.fail('was allowed');
  } catch (thrown) {
    if (!(thrown instanceof PolicyDenied)) throw thrown;
    t.type(thrown, Denied);
    t.equal(thrown.code, 'policy.denied');
    t.match(thrown.message, 'admission.no_longer_in_force');
    t.strictSame(thrown.decision.reasons, ['admission.no_longer_in_force']);
    t.equal(thrown.decision.allow, false);
    t.equal(thrown.decision.agreementId, AGREEMENT.id);
    t.equal(thrown.decision.inputBytes.toString(), input.text);
    t.strictSame(shipped.replay(input.bytes), thrown.decision, 'a replay decides the same');
  }
});

const denied = (what: string, reason: string, input: () => PolicyInput): void =>
  void t.test(`denies ${what}`, async (t) => {
    t.throws(() => shipped.decide(input()), {
      name: 'Denied',
      code: 'policy.denied',
      decision: { reasons: [reason] },
    });
  });
denied('without agreement', 'admission.agreement_missing', () =>
  PolicyInput.forConsumer(consumerFacts({ agreement: undefined })),
);
denied('a system proved for another subsystem', 'admission.caller_unproved', () =>
  PolicyInput.forConsumer(
    consumerFacts({ client: provedClient('loopback', 'TW/GOV/A11/tax' as SubsystemId) }),
  ),
);
const DEMAND = { ial: 2, aal: 2, fal: 1, maxAgeSeconds: 3600, proof: 'optional' } as const;
denied('an agreement that demands an assertion', 'admission.assertion_required', () =>
  PolicyInput.forProvider(providerFacts({ agreement: { ...AGREEMENT, assertion: DEMAND } })),
);
const LEAST = { tpm: 'warning', health: 'none', residency: 'software' } as const;
denied('an agreement that demands an attested host', 'admission.node_required', () =>
  PolicyInput.forProvider(providerFacts({ agreement: { ...AGREEMENT, device: { node: LEAST } } })),
);
denied('an agreement that demands an attested device', 'admission.device_required', () =>
  PolicyInput.forProvider(providerFacts({ agreement: { ...AGREEMENT, device: { endpoint: LEAST } } })),
);

// --- What the SDK would let pass (each shown on the SDK first, then on the engine)

const { loadPolicySync } = (sdk as unknown as { readonly default: typeof sdk }).default;
const wasm = readFileSync(new URL('../../policies/bundle/policy.wasm', import.meta.url));
const bare = loadPolicySync(wasm);
const MALFORMED = [
  {
    result: {
      allow: false,
      decision_id: '',
      obligations: {},
      reasons: ['admission.input_malformed'],
      score: 0,
      threshold: 100,
      tier: 'none',
    },
  },
];

void t.test('trap: malformed bytes are evaluated as if there were no input', async (t) => {
  const cut = new Uint8Array(utf8('{"decision_id":"x","now_ms":')).buffer;
  t.strictSame(bare.evaluate(cut, 'troad/exchange/decision'), MALFORMED, 'the SDK does not say so');
  t.throws(() => shipped.replay(new Uint8Array(cut)), MalformedBytes);
  t.throws(() => shipped.evaluate('{"decision_id":"x","now_ms":'), { code: 'policy.failed' });
});

void t.test('trap: null and undefined are no input', async (t) => {
  for (const nothing of [null, undefined, 0, '', false]) {
    t.strictSame(bare.evaluate(nothing, 'troad/exchange/decision'), MALFORMED);
  }
  for (const text of ['null', '0', '""', 'false', '[]', '']) {
    t.throws(() => shipped.evaluate(text), { name: 'Unavailable', code: 'policy.failed' }, text);
    t.throws(() => shipped.replay(utf8(text)), MalformedBytes, text);
  }
});

void t.test('trap: a Buffer is evaluated as an object of numbers', async (t) => {
  const { bytes } = PolicyInput.forConsumer(consumerFacts());
  t.strictSame(bare.evaluate(bytes, 'troad/exchange/decision'), MALFORMED);
  t.equal(shipped.replay(bytes).allow, true);
  t.equal(shipped.replay(new Uint8Array(bytes)).allow, true);
});

void t.test('trap: a policy that allows when it sees no input gives no grant', async (t) => {
  // What `allow if not input.blocked` answers to an input it never got: an allow that echoes nothing.
  const open = { decision_id: '', allow: true, reasons: [], obligations: {} };
  t.throws(() => decide(answering(open)), { name: 'Unavailable', code: 'policy.undefined' });
  const { decision_id: _, ...silent } = open;
  t.throws(() => decide(answering(silent)), { code: 'policy.undefined' });
});

void t.test('trap: the SDK throws strings and bare objects', async (t) => {
  const engine = load({ body: op.abort });
  t.throws(() => decide(engine), {
    name: 'Unavailable',
    code: 'policy.failed',
    message: /object insert conflict/,
  });
});

void t.test('an allow without any agreement is not understood', async (t) => {
  const input = PolicyInput.forConsumer(consumerFacts({ agreement: undefined }));
  const engine = answering({ decision_id: input.decisionId, allow: true, reasons: [], obligations: {} });
  t.throws(() => engine.decide(input), { code: 'policy.undefined' });
});

// --- C7

const EMPTY = { reasons: [], obligations: {}, score: 50, threshold: 50, tier: 'medium' };
void t.test('O01, O02: no answer but one complete answer is a grant', async (t) => {
  const input = PolicyInput.forConsumer(consumerFacts());
  const good = { ...EMPTY, decision_id: input.decisionId, allow: true };
  t.type(answering(good).decide(input), Grant, 'the good answer is one');
  const answers = [
    '[]',
    'null',
    '{}',
    JSON.stringify([{ result: good }, { result: good }]),
    ...['true', 1, [], {}, null].map((allow) => JSON.stringify([{ result: { ...good, allow } }])),
    JSON.stringify([{ result: { ...good, extra: 1 } }]),
    JSON.stringify([{ result: { ...good, decision_id: 'another' } }]),
    JSON.stringify([{ result: { ...good, obligations: { read_only: false } } }]),
    JSON.stringify([{ result: { ...good, allow: false, reasons: ['test.unknown'] } }]),
    JSON.stringify([{ result: true }]),
  ];
  for (const answer of answers) {
    t.throws(() => load({ answer }).decide(input), { name: 'Unavailable', code: 'policy.undefined' }, answer);
  }
  const no = answering({ ...good, allow: false, reasons: ['test.no'] });
  t.throws(() => no.decide(input), { code: 'policy.denied', decision: { reasons: ['test.no'] } });
  t.throws(
    () => load({ answer: '[{"result":' }).decide(input),
    { code: 'policy.failed' },
    'an answer cut short',
  );
});

void t.test('O03: traps, aborts and calls to the host fail closed', async (t) => {
  const table = [
    ['a trap', op.trap, /unreachable/],
    ['an abort', op.abort, /aborted/],
    ['a builtin', op.builtin, /called builtin 0/],
    ['an answer outside the memory', [0x41, 0x7f], /./],
  ] as const;
  for (const [what, body, message] of table) {
    t.throws(() => decide(load({ body })), { name: 'Unavailable', code: 'policy.failed', message }, what);
  }
});

void t.test('O05: memory has an end, and so has the input', async (t) => {
  const engine = load({ body: op.hoard });
  t.throws(() => decide(engine), { code: 'policy.failed' });
  t.throws(() => decide(engine), { code: 'policy.failed' }, 'and again, on a fresh instance');
  const paths = [`/${'x'.repeat(MAX_INPUT_BYTES)}`];
  const large = PolicyInput.forConsumer(consumerFacts({ agreement: { ...AGREEMENT, paths } }));
  t.throws(() => shipped.decide(large), { code: 'policy.failed', message: /characters/ });
  t.throws(() => shipped.replay(large.bytes), {
    name: 'MalformedBytes',
    message: /policy input of \d+ bytes/,
  });
  t.type(decide(shipped), Grant, 'and goes on');
});

void t.test('O06: after a throw nothing is left of the instance', async (t) => {
  const input = PolicyInput.forConsumer(consumerFacts());
  const good = JSON.stringify([{ result: { ...EMPTY, decision_id: input.decisionId, allow: true } }]);
  // The first evaluation leaves a mark in the memory; one that finds the mark traps.
  const engine = load({ body: [...op.trapTheSecondTime, ...op.answer], answer: good });
  t.type(engine.decide(input), Grant);
  t.throws(() => engine.evaluate(input.text), { code: 'policy.failed' }, 'the same instance: marked');
  t.ok(engine.evaluate(input.text), 'a fresh one: no mark');
});

void t.test('O08, O13: modules this gateway does not run are refused on loading', async (t) => {
  const table: readonly (readonly [what: string, spec: ModuleSpec, message: RegExp])[] = [
    ['randomness', { builtins: '{"rand.intn":0}' }, /wants builtins of the host: rand\.intn/],
    ['a clock', { builtins: '{"time.now_ns":0,"http.send":1}' }, /time\.now_ns, http\.send/],
    ['a harmless builtin of the SDK', { builtins: '{"sprintf":0}' }, /sprintf/],
    ['builtins that are no object', { builtins: '[]' }, /builtins is not an object/],
    ['another ABI', { abi: [2, 3] }, /ABI is not 1\.3/],
    ['an older ABI', { abi: [1, 2] }, /ABI is not 1\.3/],
    ['a newer ABI', { abi: [1, 4] }, /ABI is not 1\.3/],
    ['another entrypoint', { entrypoints: '{"test/other":0}' }, /has no entrypoint test\/decision/],
    ['no entrypoint', { sections: { 11: [0] } }, /entrypoints|JSON/],
    ['data outside its memory', { memory: [0x00, 0], sections: { 11: [1, 0, 0x41, 0x80, 0x80, 0x80, 0x04, 0x0b, 1, 0] } }, /./],
    ['an import of the wrong type', { imports: [['env', 'memory', functionOf('makes')]] }, /imports function env\.memory/],
  ]; // prettier-ignore
  for (const [what, spec, message] of table)
    t.throws(() => load(spec), { name: 'ConfigError', message }, what);
});

void t.test('O14: the same bytes give the same result, over and over, on any instance', async (t) => {
  const { bytes } = PolicyInput.forConsumer(consumerFacts());
  const no = PolicyInput.forProvider(providerFacts({ agreement: undefined })).bytes;
  const first = [shipped.replay(bytes), shipped.replay(no)];
  const digests = new Set<string>();
  for (let i = 0; i < 1000; i++) {
    const engine = i % 100 === 0 ? PolicyEngine.load(shippedBundle()) : shipped;
    for (const input of [bytes, no]) digests.add(engine.replay(input).resultDigest);
  }
  t.strictSame(
    [...digests],
    first.map(({ resultDigest }) => resultDigest),
  );
});

// --- Like questions are evaluated once

const ID = (letter: string) => letter.repeat(22) as ExchangeId; // canonical base64url for letters like A
const asked = (id: string, facts: Parameters<typeof consumerFacts>[0] = {}) =>
  PolicyInput.forConsumer(consumerFacts({ exchange: ID(id), ...facts }));

void t.test(
  'what was asked in the same second, but for its id, is answered without evaluation',
  async (t) => {
    const good = JSON.stringify([{ result: { ...EMPTY, decision_id: ID('A'), allow: true } }]);
    // The module always echoes A, and a second evaluation traps: whoever gets its own id was not answered by it.
    const engine = load({ body: [...op.trapTheSecondTime, ...op.answer], answer: good });
    t.equal(engine.decide(asked('A')).decisionId, ID('A'));
    const second = engine.decide(asked('Q'));
    t.equal(second.decisionId, ID('Q'));
    t.equal(second.inputBytes.toString(), asked('Q').text, 'its own input is what the log gets');
    const { now } = consumerFacts();
    t.equal(
      engine.decide(asked('g', { now: now - (now % 1000) + 999 })).decisionId,
      ID('g'),
      'the same second',
    );
    t.throws(() => engine.decide(asked('A', { now: now + 1000 })), { code: 'policy.failed' }, 'the next one');
  },
);

void t.test('any other difference is another question', async (t) => {
  const { request } = consumerFacts();
  const others = [
    { request: { ...request, method: 'PUT' } },
    { request: { ...request, length: 7 } },
    { request: { ...request, route: { ...request.route, rest: '/other' } } },
    { agreement: undefined },
    { agreement: { ...AGREEMENT, enabledByProvider: false } },
  ];
  const first = asked('A');
  t.type(shipped.decide(first), Grant);
  for (const facts of others) {
    const input = asked('A', facts);
    t.not(input.question, first.question);
    const fresh = PolicyEngine.load(shippedBundle()).replay(input.bytes);
    let decision;
    try {
      ({ decision } = shipped.decide(input));
    } catch (thrown) {
      t.type(thrown, PolicyDenied);
      if (thrown instanceof PolicyDenied) ({ decision } = thrown);
    }
    t.equal(decision?.resultDigest, fresh.resultDigest, 'as an engine that remembers nothing decides');
  }
});

void t.test('what is no answer is not kept: it is asked again', async (t) => {
  for (const answer of ['[]', JSON.stringify([{ result: { ...EMPTY, decision_id: ID('B') } }])]) {
    const engine = load({ body: [...op.trapTheSecondTime, ...op.answer], answer });
    t.throws(() => engine.decide(asked('A')), { code: 'policy.undefined' });
    t.throws(() => engine.decide(asked('A')), { code: 'policy.failed' }, 'evaluated, which traps');
  }
});

void t.test('denials are remembered too, each with the digest of its own result', async (t) => {
  const denial = (id: string, engine: PolicyEngine) => {
    try {
      engine.decide(asked(id, { agreement: undefined }));
    } catch (thrown) {
      if (thrown instanceof PolicyDenied) return thrown.decision;
    }
    throw new Error('not denied');
  };
  const digests = ['A', 'Q', 'g'].map((id) => denial(id, shipped).resultDigest);
  t.equal(new Set(digests).size, 3);
  t.same(
    digests,
    ['A', 'Q', 'g'].map((id) => denial(id, PolicyEngine.load(shippedBundle())).resultDigest),
    'as engines that remember nothing say',
  );
});

// --- Properties of the policy, on the compiled module

type Path = readonly (string | number)[];
function* pathsOf(value: unknown, at: Path = []): Generator<Path> {
  if (at.length > 0) yield at;
  if (typeof value !== 'object' || value === null) return;
  const entries: Iterable<[string | number, unknown]> = Array.isArray(value)
    ? value.entries()
    : Object.entries(value);
  for (const [key, member] of entries) yield* pathsOf(member, [...at, key]);
}

/** A deep copy with one place replaced, or left out. */
function changed(value: unknown, [key, ...rest]: Path, to: unknown): unknown {
  if (key === undefined) return to;
  if (Array.isArray(value))
    return value
      .flatMap((item, i) => (i === key ? [changed(item, rest, to)] : [item]))
      .filter((i) => i !== undefined);
  const members = Object.entries(value ?? {});
  return Object.fromEntries(
    members
      .map(([name, member]) => [name, name === key ? changed(member, rest, to) : member])
      .filter(([, m]) => m !== undefined),
  );
}

function allowed(document: unknown): boolean {
  try {
    return shipped.replay(utf8(canonicalJson(document))).allow;
  } catch (thrown) {
    t.match(thrown, { code: 'policy.undefined' }); // no decision_id to echo
    return false;
  }
}

const documents: readonly unknown[] = [
  PolicyInput.forConsumer(consumerFacts()),
  PolicyInput.forProvider(providerFacts()),
].map(({ text }) => JSON.parse(text));

void t.test('leaving out any one field refuses', async (t) => {
  for (const document of documents) {
    t.equal(allowed(document), true);
    // Methods and patterns that are not needed for this request may go.
    const spare = new Set(['agreement/methods/1', 'agreement/paths/0']);
    for (const path of pathsOf(document)) {
      t.equal(allowed(changed(document, path, undefined)), spare.has(path.join('/')), path.join('/'));
    }
  }
});

void t.test('leaving out fields never turns a denial into an allow', async () => {
  const paths = [...pathsOf(documents[0])];
  const doors = fc.record({
    now: fc.constantFrom(AGREEMENT.fromMs - 1, AGREEMENT.fromMs, AGREEMENT.untilMs - 1, AGREEMENT.untilMs),
    agreement: fc.constantFrom(
      undefined,
      { ...AGREEMENT, enabledByProvider: false },
      { ...AGREEMENT, enabledByConsumer: false },
      { ...AGREEMENT, device: { endpoint: LEAST, node: LEAST } },
      { ...AGREEMENT, methods: ['PUT'] },
      { ...AGREEMENT, paths: [] },
    ),
  });
  fc.assert(
    fc.property(doors, fc.subarray(paths), (facts, gone) => {
      const { text } = PolicyInput.forConsumer(consumerFacts(facts));
      const left = gone.reduce(
        (document, path) => changed(document, path, undefined),
        JSON.parse(text) as unknown,
      );
      return !allowed(left);
    }),
    { numRuns: 300 },
  );
});

void t.test('no other value in any one field is as good as the right one', async () => {
  // Where more than one value is right.
  const free =
    /^(?:(?:signals|threat)\/\w+|decision_id|request\/content_length|peer\/gateway|agreement\/(?:class|id|from_ms|until_ms)|now_ms)$/;
  const odd = fc.oneof(
    fc.constantFrom<unknown>(null, true, false, 0, '', '*', '**', 'none', [], {}, [null], ['*'], ['**'], 'consumer', 'provider'),
    fc.string(),
    fc.maxSafeInteger(),
    fc.array(fc.string()),
  ); // prettier-ignore
  fc.assert(
    fc.property(fc.constantFrom(...documents), fc.nat(), odd, (document, at, value) => {
      const paths = [...pathsOf(document)].filter((path) => !free.test(path.join('/')));
      const path = paths[at % paths.length] ?? [];
      const other = changed(document, path, value);
      if (canonicalJson(other) === canonicalJson(document) || !allowed(other)) return true;
      // The agreement names the root too, and an empty path is the root.
      if (path.join('/') === 'request/path' && (value === '' || value === '/')) return true;
      // Only a wider or spare agreement may still allow.
      return path[0] === 'agreement' && (path[1] === 'methods' || path[1] === 'paths');
    }),
    { numRuns: 1500 },
  );
});
