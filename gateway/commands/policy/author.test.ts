import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { vectorInput, writeDecisions } from '../../../conformance/builders/decisions.ts';
import { exchangeId } from '../../../conformance/builders/log.ts';
import { writeObligingBundle } from '../../../conformance/builders/obliging-policy.ts';
import { readBundle } from '../../author/bundles.ts';
import { withChange } from '../../author/pointer.ts';
import { nodeStorage } from '../../evidence/node-storage.ts';
import { PolicyEngine } from '../../trust/engine.ts';
import { bundleFiles, policyModule } from '../../trust/module-fixture.ts';
import { shippedBundle } from '../../trust/proofs-fixture.ts';
import { run, withOpa } from './command-fixture.ts';

t.setTimeout(600_000); // the compiler, a dozen times
const dir = t.testdir({ other: {}, folder: {} });
const policies = fileURLToPath(new URL('../../../policies', import.meta.url));
const good = vectorInput();
const denied = withChange(good, '/request/method', 'DELETE') as object; // a copy of an object
const unsaved = withChange(denied, '/request/path', '/elsewhere') as object;
const log = await writeDecisions(`${dir}/log`, PolicyEngine.load(shippedBundle()), [
  { input: good },
  { input: denied },
  { input: unsaved },
  { input: withChange(good, '/agreement/class', 'sensitive') as object },
]);

void t.test('eval decides one input', async (t) => {
  await writeFile(`${dir}/input.json`, JSON.stringify(denied, null, 2));
  t.match(await run('eval', `${dir}/input.json`), {
    status: 0,
    out: /^deny 拒絕 [^]*score \d+ of \d+[^]*admission\.method_not_agreed/,
  });
  const { out } = await run('eval', `${dir}/input.json`, '--json');
  t.match(JSON.parse(out), { outcome: { word: 'deny', reasons: ['admission.method_not_agreed'] } });
  await writeFile(`${dir}/bad.json`, '{');
  await t.rejects(run('eval', `${dir}/bad.json`), { name: 'ConfigError', message: /bad\.json: / });
});

void t.test('eval of what gets no decision fails, and says why', async (t) => {
  for (const [what, value] of [
    ['no object', []],
    ['nothing', null],
    ['no decision id', withChange(good, '/decision_id', undefined)],
    ['an id that is no text', withChange(good, '/decision_id', 7)],
    ['an empty id', withChange(good, '/decision_id', '')],
  ] as const) {
    await writeFile(`${dir}/none.json`, JSON.stringify(value));
    const refused = { name: 'ConfigError', message: /none\.json: is no input document: [^]*"decision_id"/ };
    await t.rejects(run('eval', `${dir}/none.json`), refused, what);
  }
  const { manifest, wasm, data } = bundleFiles(policyModule({ answer: '[]' }));
  await mkdir(`${dir}/silent`);
  for (const [name, bytes] of Object.entries({
    'manifest.json': manifest,
    'policy.wasm': wasm,
    'data.json': data,
  }))
    await writeFile(`${dir}/silent/${name}`, bytes);
  await writeFile(`${dir}/input.json`, JSON.stringify(good));
  const silent = await run('eval', `${dir}/input.json`, '--policy', `${dir}/silent`);
  t.match(silent, { status: 1, out: /^policy\.undefined 政策無有效決定 [^]*! policy\.undefined: 0 results/ });
  const { out, status } = await run('eval', `${dir}/input.json`, '--policy', `${dir}/silent`, '--json');
  t.match([status, JSON.parse(out)], [1, { outcome: { word: 'policy.undefined', trouble: /0 results/ } }]);
});

/** While the test runs there is no compiler. */
function withoutPrograms(t: Test): void {
  const path = process.env['PATH'];
  process.env['PATH'] = dir;
  t.teardown(() => {
    process.env['PATH'] = path;
  });
}

void t.test('explain tells the least that would have changed it', async (t) => {
  withoutPrograms(t);
  const json = JSON.parse((await run('explain', exchangeId(1), '--log', log, '--json')).out);
  t.match(json, { outcome: { word: 'deny' }, rules: undefined });
  const flips: { pointer: string; from: unknown; to: unknown }[] = json.flips;
  t.match(
    flips.find(({ pointer }) => pointer === '/request/method'),
    { from: 'DELETE', to: 'GET' },
  );
  t.match(
    flips.find(({ pointer }) => pointer === '/agreement/methods'),
    { to: ['GET', 'POST', 'DELETE'] },
  );
  const allowed = JSON.parse((await run('explain', exchangeId(0), '--log', log, '--json')).out);
  const ends = allowed.flips.find(({ pointer }: { pointer: string }) => pointer === '/now_ms');
  t.ok(ends.to === 999 || ends.to === 2000, 'the nearest moment at which the agreement is not in force');
  const text = await run('explain', exchangeId(2), '--log', log);
  t.match(text.out, /none: no change of one field alone[^]*takes admission\.method_not_agreed away: /);
  const low = await run('explain', exchangeId(3), '--log', log);
  t.match(low.out, /takes score\.machine_low away: \/signals\/device: null → "known"/);
  t.notMatch(low.out, /away: \/agreement/, 'another reason in its place takes nothing away');
});

void t.test('explain names file, line and rule from the sources of the bundle', withOpa, async (t) => {
  const { out } = await run('explain', exchangeId(1), '--log', log, '--sources', policies);
  t.match(
    out,
    /troad\/admission\.rego:\d+ {2}data\.troad\.admission\.unmet|troad\/admission\.rego:\d+ {2}troad\.admission\.unmet/,
  );
  t.match(out, /input\.request\.\w+ = "/);
  t.match(out, /What the score is made of[^]*identity {5}3 × 10 = 30\n[^]*together +\d+\n/);
  const known = await run('explain', exchangeId(1), '--log', log);
  t.equal(known.out, out, 'the sources that come with the program need not be named');
  await cp(policies, `${dir}/folder`, { recursive: true });
  const rego = await readFile(`${dir}/folder/troad/path.rego`, 'utf8');
  await writeFile(`${dir}/folder/troad/path.rego`, `${rego}\n`);
  await t.rejects(run('explain', exchangeId(1), '--log', log, '--sources', `${dir}/folder`), {
    name: 'ConfigError',
    message: /path\.rego: is not of bundle/,
  });
});

void t.test('explain says what is not there', async (t) => {
  withoutPrograms(t);
  const { out, status } = await run('explain', exchangeId(1), '--log', log);
  t.match([status, out], [0, /neither the sources of this bundle nor opa are at hand[^]*\/request\/method/]);
  await t.rejects(run('explain', exchangeId(1), '--log', log, '--sources', policies), {
    name: 'ConfigError',
    message: /opa was not found/,
  });
  await t.rejects(run('explain', exchangeId(9), '--log', log), { message: /no recorded decision/ });
  await t.rejects(run('explain', exchangeId(1), '--log', `${dir}/nowhere`), {
    message: /nowhere: there is no/,
  });
});

void t.test('bundles of a store beside the log are found', async (t) => {
  writeObligingBundle(`${policies}/bundle`, `${dir}/other`, { obligations: {} });
  const other = await readBundle(nodeStorage(), `${dir}/other`);
  const decisions = [{ input: good }, { input: denied }];
  const gateway = await writeDecisions(`${dir}/gateway/log`, PolicyEngine.load(other), decisions);
  const missing = await run('replay', '--log', gateway);
  t.match(
    missing,
    { status: 1, out: /was not found[^]*gateway\/policies/ },
    'with the places that were searched',
  );
  await cp(`${dir}/other`, `${dir}/gateway/policies/${other.digest}`, { recursive: true });
  t.match(await run('replay', '--log', gateway), { status: 0, out: /IDENTICAL/ });
  t.match(await run('explain', exchangeId(1), '--log', gateway), { status: 0, out: /^deny 拒絕 / });
  await cp(gateway, `${dir}/gateway/logs/w2`, { recursive: true });
  const worker = await run('replay', '--log', `${dir}/gateway/logs/w2`);
  t.match(worker, { status: 0, out: /IDENTICAL/ }, 'also of one worker’s');
  await t.rejects(run('explain', exchangeId(1), '--log', gateway, log), {
    name: 'ConfigError',
    message: /: 2 decisions; [^]*record \d+ of \S+gateway\/log\S*: \S+Z deny deny\nrecord \d+ of/,
  });
});

void t.test('diff shows sources, data and outcomes', async (t) => {
  const bundle = `${policies}/bundle`;
  const same = await run('diff', bundle, bundle, '--vectors', `${policies}/vectors/admission.json`);
  t.match(same, { status: 0, out: /0 of \d+ inputs come out otherwise[^]*SAME/ });
  const answer = JSON.stringify([{ result: {} }]);
  const files = bundleFiles(policyModule({ answer }));
  await writeFile(`${dir}/other/manifest.json`, files.manifest);
  await writeFile(`${dir}/other/policy.wasm`, files.wasm);
  await writeFile(`${dir}/other/data.json`, files.data);
  const other = await run('diff', bundle, `${dir}/other`, '--log', log);
  t.match(other, { status: 1, out: /removed {2}troad\/admission\.rego[^]*\/reasons\/[^]*4 of 4 inputs/ });
  t.match(other.out, /\d × deny 拒絕 → policy\.undefined/);
  await t.rejects(run('diff', bundle, `${dir}/nowhere`), { message: /nowhere\/manifest\.json: / });
});

void t.test('test fails on a golden vector that does not hold', withOpa, async (t) => {
  const folder = t.testdir({
    p: {
      'p.rego':
        'package p\n\ndecision := {"allow": true, "decision_id": input.decision_id, "obligations": {}, "reasons": [], "score": 9, "threshold": 0, "tier": "low"}\n',
      'p_test.rego':
        'package p_test\n\nimport data.p\n\ntest_x if p.decision.allow with input.decision_id as "x"\n',
    },
    data: { 'reasons.json': '{}' },
    vectors: {},
  });
  const test = async () => run('test', folder, '--entrypoint', 'p/decision');
  const vectors = (name: string, more: object): string =>
    JSON.stringify({ bases: { consumer: good }, vectors: [{ name, base: 'consumer', ...more }] });
  await writeFile(`${folder}/vectors/v.json`, vectors('right', { expect: { allow: true, score: 9 } }));
  t.match(await test(), { status: 0, out: /1 of 1 golden vectors hold[^]*GOOD/ });
  await writeFile(`${folder}/vectors/v.json`, vectors('wrong', { expect: { allow: false } }));
  t.match(await test(), { status: 1, out: /vectors\/v\.json "wrong": allow is true, not false/ });
  await writeFile(`${folder}/vectors/v.json`, vectors('no answer', { expect: 'undefined' }));
  t.match(await test(), { status: 1, out: /a decision, where none was expected/ });

  const tests = await readFile(`${folder}/p/p_test.rego`, 'utf8');
  await writeFile(`${folder}/p/p_test.rego`, `${tests}\ntest_no if p.decision.allow == false\n`);
  t.match(
    await test(),
    {
      status: 1,
      out: /test_no: [^]*what is untested shows when all tests hold[^]*0 of 1 golden vectors hold/,
    },
    'nothing is said to hold that was not looked at',
  );
  const rules = await readFile(`${folder}/p/p.rego`, 'utf8');
  await writeFile(`${folder}/p/p.rego`, `${rules}\ndecision := {"allow": false}\n`);
  t.match(await test(), { status: 1, out: /test_x: [^]*the policy cannot be asked about golden vectors/ });
  await writeFile(`${folder}/p/p.rego`, rules);
  await writeFile(`${folder}/p/p_test.rego`, tests);
  const problems = [
    ['{', /v\.json: /],
    ['{}', /no object of bases and vectors/],
    [vectors('x', {}), /vectors\[0\] x: set, remove or expect/],
    [vectors('x', { base: 'other', expect: {} }), /no base that is there/],
    [vectors('x', { set: { '/a/b/c': 1 }, expect: {} }), /vectors\[0\] x: no \/a\/b\/c/],
  ] as const;
  for (const [text, message] of problems) {
    await writeFile(`${folder}/vectors/v.json`, text);
    await t.rejects(test(), { name: 'ConfigError', message });
  }
});

void t.test('test fails on what is untested, and names file, line and rule', withOpa, async (t) => {
  const folder = t.testdir({
    p: {
      'p.rego': 'package p\n\ndecision := {"allow": input.x}\n\nnever if input.y\n',
      'p_test.rego': 'package p_test\n\nimport data.p\n\ntest_x if p.decision.allow with input.x as true\n',
    },
    data: { 'reasons.json': '{}' },
  });
  const untested = await run('test', folder, '--entrypoint', 'p/decision');
  t.match(untested, { status: 1, out: /p\/p\.rego:5 rule never: no test gets here[^]*BAD/ });
  await writeFile(
    `${folder}/p/p_test.rego`,
    'package p_test\n\nimport data.p\n\ntest_x if p.decision.allow with input.x as false\n\ntest_y if p.never with input.y as true\n',
  );
  const failing = await run('test', folder, '--entrypoint', 'p/decision', '--json');
  t.equal(failing.status, 1);
  t.match(JSON.parse(failing.out), { failed: [{ file: 'p/p_test.rego', line: 5, rule: 'test_x' }] });
  await writeFile(`${folder}/p/p.rego`, 'package p\n\ndecision := input.\n');
  await t.rejects(run('test', folder), { name: 'ConfigError', message: /p\.rego:\d+/ });
  await t.rejects(run('test', `${dir}/nowhere`), { message: /there is no such folder/ });
});
