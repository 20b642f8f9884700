// Properties of the score, on the compiled module.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import t from 'tap';
import { utf8 } from '../gateway/core/bytes.ts';
import { Bundle } from '../gateway/trust/bundle.ts';
import { canonicalJson } from '../gateway/trust/canonical.ts';
import type { Verdict } from '../gateway/trust/decision.ts';
import { PolicyEngine } from '../gateway/trust/engine.ts';
import { POLICIES } from './opa.ts';

const read = (path: string): Buffer => readFileSync(join(POLICIES, path));
const engine = PolicyEngine.load(
  Bundle.parse({
    manifest: read('bundle/manifest.json'),
    wasm: read('bundle/policy.wasm'),
    data: read('bundle/data.json'),
  }),
);

const TIERS = ['affirming', 'warning', 'none', 'contraindicated'];
/** AR4SI values of each tier, the best first. */
const CLAIMS = [2, 32, 0, 96];
const BINDINGS = ['bound', 'software'];

/** Every input that the score weighs, with its values from best to worst. */
const LADDERS: Readonly<Record<string, readonly unknown[]>> = {
  'client_system/method': ['mtls', 'loopback', 'https'],
  'assertion/aal': [3, 2, 1, 0],
  'assertion/ial': [2, 1, 0],
  'assertion/bound_by': ['dpop', 'none'],
  'assertion/auth_time_ms': [90_000_000, 86_400_000, 70_000_000, 1],
  'device/tpm_tier': TIERS,
  'device/binding': BINDINGS,
  'device/health_tier': TIERS,
  'device/health/antivirus': CLAIMS,
  'device/health/applications': CLAIMS,
  'device/health/configuration': CLAIMS,
  'device/health/os': CLAIMS,
  'node/tpm_tier': TIERS,
  'node/binding': BINDINGS,
  'node/health_tier': TIERS,
  'threat/age_hours': [0, 48, 49, null],
  'threat/kev': [0, 1, 7],
  'threat/cvss_tenths': [0, 39, 40, 70, 98, null],
  'threat/epss_permille': [0, 9, 10, 100, 999, null],
  'signals/address': ['known', 'new'],
  'signals/device': ['known', 'new', null],
  'signals/hour': ['usual', 'unusual', null],
  'signals/rate_percent': [0, 100, 151, 301, 501, 1001, 100_000, null],
  'signals/refusals': [0, 1, 3, 6, 11, 1000],
  'signals/volume_percent': [0, 151, 301, 501, 1001, null],
};
const FIELDS = Object.keys(LADDERS);

/** A step on each ladder. */
type State = Readonly<Record<string, number>>;
const states = (longest = Infinity): fc.Arbitrary<State> =>
  fc.record(
    Object.fromEntries(
      FIELDS.map((field) => [field, fc.nat(Math.min((LADDERS[field] ?? []).length - 1, longest))]),
    ),
  );

const MACHINE = {
  device: 'd1',
  expires_at_ms: 200_000_000,
  issued_at_ms: 1,
  issuer: 'https://attestor.example',
  policy: 'p1',
};

/** The input of a state. @param gone fields to leave out, or objects whose place is null */
function documentOf(state: State, gone: readonly string[] = []): object {
  const base: Record<string, Record<string, unknown>> = {
    agreement: {
      assertion: { aal: 0, fal: 0, ial: 0, max_age_seconds: 1_000_000, proof: 'optional' },
      class: 'sensitive',
      consumer: 'TW/GOV/A11/welfare',
      device: 'none',
      enabled_by_consumer: true,
      enabled_by_provider: true,
      from_ms: 0,
      id: 'TW-1',
      methods: ['*'],
      paths: ['**'],
      service: 'TW/GOV/B07/housing/echo',
      until_ms: 200_000_000,
    },
    assertion: { acr: 'aal3', amr: ['hwk'], fal: 3, issuer: 'https://idp.example', member: 'TW/GOV/A11' },
    client_system: { subsystem: 'TW/GOV/A11/welfare' },
    device: { ...MACHINE, health: {} },
    node: { ...MACHINE, health: { antivirus: 2, applications: 2, configuration: 2, os: 2 } },
    request: {
      client: 'TW/GOV/A11/welfare',
      content_length: null,
      method: 'GET',
      path: '/',
      provider_member: 'TW/GOV/B07',
      service: 'TW/GOV/B07/housing/echo',
    },
    signals: {},
    threat: {},
  };
  for (const [field, step] of Object.entries(state)) {
    if (gone.includes(field)) continue;
    const [first = '', second = '', third] = field.split('/');
    const owner = base[first] ?? {};
    const value = LADDERS[field]?.[step];
    if (third === undefined) owner[second] = value;
    else Object.assign(owner[second] ?? {}, { [third]: value });
  }
  const whole = gone.filter((field) => Object.hasOwn(base, field)).map((field) => [field, null]);
  return {
    ...base,
    decision_id: 'AAECAwQFBgcICQoLDA0ODw',
    now_ms: 90_000_000,
    peer: null,
    role: 'consumer',
    ...Object.fromEntries(whole),
  };
}

const verdictOf = (document: object): Verdict => engine.replay(utf8(canonicalJson(document)));
const scoreOf = (state: State, gone: readonly string[] = []): number =>
  verdictOf(documentOf(state, gone)).score;

const BEST: State = Object.fromEntries(FIELDS.map((field) => [field, 0]));

void t.test('the best of all inputs has the best score, the worst the worst', async (t) => {
  t.match(verdictOf(documentOf(BEST)), { allow: true, score: 100, tier: 'high' });
  const worst = Object.fromEntries(FIELDS.map((field) => [field, (LADDERS[field] ?? []).length - 1]));
  t.match(
    verdictOf(documentOf(worst)),
    { allow: false, score: 11, tier: 'low' },
    'HTTPS, and that there is an address',
  );
});

void t.test('every input counts', async (t) => {
  for (const field of FIELDS) {
    // The best of two kinds of identity counts: the system's shows only without the user's.
    const gone = field === 'client_system/method' ? ['assertion'] : [];
    const ladder = LADDERS[field] ?? [];
    const scores = ladder.map((_, step) => scoreOf({ ...BEST, [field]: step }, gone));
    t.ok((scores[0] ?? 0) > (scores.at(-1) ?? 100), `${field}: ${scores.join(' ')}`);
    t.strictSame(
      scores,
      scores.toSorted((a, b) => b - a),
      `${field} falls`,
    );
  }
});

void t.test('worsening any one input never raises the score, nor turns a denial into an allow', async () => {
  fc.assert(
    fc.property(states(), fc.constantFrom(...FIELDS), fc.nat(6), (state, field, by) => {
      const step = state[field] ?? 0;
      const worse = Math.min(step + by, (LADDERS[field] ?? []).length - 1);
      const before = verdictOf(documentOf(state));
      const after = verdictOf(documentOf({ ...state, [field]: worse }));
      return after.score <= before.score && (before.allow || !after.allow);
    }),
    { numRuns: 1000 },
  );
});

void t.test('a missing input is never better than its worst value', async () => {
  fc.assert(
    fc.property(states(), fc.constantFrom(...FIELDS), (state, field) => {
      const worst = { ...state, [field]: (LADDERS[field] ?? []).length - 1 };
      const without = verdictOf(documentOf(state, [field]));
      return without.score <= scoreOf(worst) && !without.allow;
    }),
    { numRuns: 600 },
  );
});

void t.test('nor is a missing document: no user, no machine, no host, no feeds', async () => {
  const places = ['assertion', 'device', 'node', 'threat', 'client_system', 'signals'];
  fc.assert(
    fc.property(states(), fc.constantFrom(...places), (state, place) => {
      const inside = FIELDS.filter((field) => field.startsWith(`${place}/`));
      const worst = Object.fromEntries(inside.map((field) => [field, (LADDERS[field] ?? []).length - 1]));
      return scoreOf(state, [place]) <= scoreOf({ ...state, ...worst });
    }),
    { numRuns: 400 },
  );
});

void t.test('a step-up that is asked for would change the denial', async (t) => {
  let seen = 0;
  fc.assert(
    fc.property(states(2), (state) => {
      const { allow, obligations } = verdictOf(documentOf(state));
      const { step_up: stepUp } = obligations;
      if (stepUp === undefined) return true;
      seen += 1;
      const aal = (LADDERS['assertion/aal'] ?? []).indexOf(stepUp.aal);
      return (
        !allow && verdictOf(documentOf({ ...state, 'assertion/aal': aal, 'assertion/auth_time_ms': 0 })).allow
      );
    }),
    { numRuns: 800 },
  );
  t.ok(seen > 20, `${seen} of them`);
});

void t.test(
  'O14: identical bytes in, identical bytes out, in 10,000 runs and in several workers',
  async (t) => {
    // Stable over runs of this test, too: what a seed gives is the library's promise.
    const inputs = fc
      .sample(states(), { numRuns: 100, seed: 7 })
      .map((state) => canonicalJson(documentOf(state)));
    const answers = (): string => {
      const hash = createHash('sha256');
      for (const input of inputs) hash.update(JSON.stringify(engine.evaluate(input)));
      return hash.digest('hex');
    };
    const digests = new Set<string>();
    for (let run = 0; run < 100; run++) digests.add(answers());
    const inWorker = async (): Promise<string> => {
      const worker = new Worker(new URL('./score-worker-fixture.ts', import.meta.url), {
        workerData: inputs,
      });
      return new Promise((resolve, reject) => {
        worker.once('message', (digest: string) => resolve(digest));
        worker.once('error', reject);
      });
    };
    for (const digest of await Promise.all([inWorker(), inWorker(), inWorker()])) digests.add(digest);
    t.equal(digests.size, 1);
  },
);
