import { generateKeyPairSync } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { base64url, sha256, utf8 } from '../core/bytes.ts';
import { newExchangeId } from '../core/ids.ts';
import { bundleFiles, op, policyModule } from '../trust/module-fixture.ts';
import { Grant } from '../trust/grant.ts';
import { PolicyInput } from '../trust/input.ts';
import { consumerFacts } from '../trust/proofs-fixture.ts';
import { formatRelease, signRelease } from '../trust/release.ts';
import { readBundle } from './bundle-folder.ts';
import type { PolicyFiles } from './messages.ts';
import { loadPolicy } from './policy.ts';
import { EvaluationMark } from './watchdog.ts';

const signers = { pems: [], threshold: 0 };
const SHIPPED = fileURLToPath(new URL('../../policies/bundle', import.meta.url));
const START = Date.UTC(2026, 10, 1);
const given = (files: PolicyFiles['files'], changes: Partial<PolicyFiles> = {}): PolicyFiles => ({
  files,
  signers,
  apart: false,
  act: 'start',
  highest: 0,
  why: null,
  ...changes,
});
/** What a worker gives, and what it hears. */
function watching() {
  const heard: string[] = [];
  const seen: bigint[] = [];
  const mark = new EvaluationMark();
  const watch = {
    mark,
    nanoseconds: () => {
      seen.push(mark.began);
      return 42n;
    },
    clock: { now: () => at.now, monotonic: () => 0 },
    onFailing: (bundle: string, detail: string) => void heard.push(`${bundle} ${detail}`),
  };
  return { watch, heard, mark, seen };
}
const at = { now: START };

void t.test('an evaluation is marked while it runs, and only then, however it ends', async (t) => {
  const { watch, mark } = watching();
  t.same(loadPolicy(given(bundleFiles(policyModule())), watch).evaluator.evaluate('{}'), []);
  t.equal(mark.began, 0n);
  const trap = loadPolicy(given(bundleFiles(policyModule({ body: op.trap }))), watch);
  t.throws(() => trap.evaluator.evaluate('{}'), { code: 'policy.failed' });
  t.equal(mark.began, 0n);
});

void t.test('evaluations that fail one after the other are told once', async (t) => {
  const { watch, heard } = watching();
  const { evaluator, bundle } = loadPolicy(given(bundleFiles(policyModule({ body: op.trap }))), watch);
  for (let i = 0; i < 12; i += 1) {
    t.equal(heard.length, i < 5 ? 0 : 1);
    t.throws(() => evaluator.evaluate('{}'));
  }
  t.match(heard[0], `${bundle.digest} 5 evaluations in a row failed`);
});

void t.test('a failure now and then is the input’s fault', async (t) => {
  const { watch, heard } = watching();
  const { evaluator } = loadPolicy(given(bundleFiles(policyModule())), watch);
  for (let i = 0; i < 20; i += 1) {
    if (i % 5 === 0) evaluator.evaluate('{}');
    else t.throws(() => evaluator.evaluate('[]'), { code: 'policy.failed' });
  }
  t.same(heard, []);
});

void t.test('what the engine remembers is not watched: nothing is evaluated', async (t) => {
  const { watch, seen } = watching();
  const { evaluator } = loadPolicy(given(readBundle(SHIPPED)), watch);
  const ask = (): unknown => {
    const input = PolicyInput.forConsumer({ ...consumerFacts(), exchange: newExchangeId() });
    return Grant.decide(input, evaluator).reasons;
  };
  t.same(ask(), []);
  t.equal(seen.length, 1);
  t.same(ask(), []);
  t.equal(seen.length, 1, 'a like question of the same second');
});

void t.test('one that is apart is never run', async (t) => {
  const { watch, mark } = watching();
  const apart = loadPolicy(given(bundleFiles(policyModule()), { apart: true }), watch);
  t.throws(() => apart.evaluator.evaluate('{}'), { code: 'policy.failed', message: /set apart/ });
  t.match(apart.trouble(), /set apart/);
  t.equal(mark.began, 0n);
});

void t.test('one that expires decides until then, and nothing after', async (t) => {
  const { watch } = watching();
  const files = bundleFiles(policyModule());
  const { privateKey } = generateKeyPairSync('ed25519');
  const release = signRelease(
    { bundle: base64url(sha256(files.manifest)), version: 1, notBefore: START, expiresAt: START + 60_000 },
    privateKey,
  );
  const policy = loadPolicy(given({ ...files, release: utf8(formatRelease(release)) }), watch);
  at.now = START + 59_999;
  t.equal(policy.trouble(), undefined);
  t.same(policy.evaluator.evaluate('{}'), []);
  at.now = START + 60_000;
  t.match(policy.trouble(), /has expired/);
  t.throws(() => policy.evaluator.evaluate('{}'), { code: 'policy.expired' });
});
