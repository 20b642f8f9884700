import { cp, mkdir, rm } from 'node:fs/promises';
import t from 'tap';
import { vectorInput, withValue, writeDecisions } from '../../conformance/builders/decisions.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { PolicyEngine } from '../trust/engine.ts';
import { bundleFiles, bundleOf, policyModule } from '../trust/module-fixture.ts';
import { Bundle } from '../trust/bundle.ts';
import { shippedBundle } from '../trust/proofs-fixture.ts';
import { BundleShelf } from './bundles.ts';
import { renderReplay } from './render-replay.ts';
import { replayLogs } from './replay.ts';
import { utf8 } from '../core/bytes.ts';

const dir = t.testdir();
const storage = nodeStorage();
const bundle = shippedBundle();
const engine = PolicyEngine.load(bundle);
const folder = new URL('../../policies/bundle', import.meta.url).pathname;
const shelf = new BundleShelf(storage, [folder]);
const good = vectorInput();
const denied = withValue(good, '/request/method', 'DELETE');

void t.test('decisions under the bundle that made them are identical', async (t) => {
  const log = await writeDecisions(`${dir}/identical`, engine, [{ input: good }, { input: denied }]);
  const report = await replayLogs({ storage, logs: [log], shelf });
  t.match(report, { result: 'identical', decisions: 2, replayed: 2, sealed: 0, findings: [], flips: [] });
  t.match(renderReplay(report), /2 decisions recorded, 2 made again[^]*IDENTICAL/);
});

void t.test('a store holds bundles in folders of their digests', async (t) => {
  const log = await writeDecisions(`${dir}/stored`, engine, [{ input: good }]);
  const store = `${dir}/store`;
  await mkdir(store);
  const find = async () => replayLogs({ storage, logs: [log], shelf: new BundleShelf(storage, [store]) });
  const without = await find();
  t.match(without, { result: 'incomplete', replayed: 0, missing: [{ digest: bundle.digest, count: 1 }] });
  t.ok(
    renderReplay(without).includes(`bundle ${bundle.digest} of 1 decisions was not found: looked for it in`),
  );
  t.match(renderReplay(without), /INCOMPLETE/);
  await cp(folder, `${store}/${bundle.digest}`, { recursive: true });
  t.match(await find(), { result: 'identical', replayed: 1 });
  await rm(`${store}/${bundle.digest}/data.json`);
  t.match(await find(), { result: 'incomplete', missing: [{ why: /data\.json: is not there/ }] });
});

void t.test('a record that says otherwise than its bundle is found', async (t) => {
  for (const [what, lies, kind, detail] of [
    ['another result', { o: 'A'.repeat(43) }, 'differs', /^result/],
    ['allowed what is denied', { allow: true }, 'differs', /outcome allow .* deny/],
    ['other reasons', { reasons: ['admission.path_not_agreed'] }, 'differs', /reasons/],
    ['another entry point', { e: 'troad/other' }, 'differs', /entry point/],
    ['another input', { i: 'A'.repeat(43) }, 'damaged', /not the one the record cites/],
    ['no digest of a bundle', { b: '../../etc' }, undefined, undefined],
  ] as const) {
    const log = await writeDecisions(`${dir}/lie ${what}`, engine, [{ input: denied, lies }]);
    const report = await replayLogs({ storage, logs: [log], shelf });
    if (kind === undefined)
      t.match(report, { result: 'incomplete', missing: [{ digest: '../../etc' }] }, what);
    else {
      t.match(report, { result: 'differs', findings: [{ kind, detail, index: '1' }] }, what);
      t.match(renderReplay(report), /! (?:differs|damaged) \[record 1 of [^]*DIFFERS/, what);
    }
  }
});

void t.test('an input of another exchange is no evidence of this one', async (t) => {
  const first = await writeDecisions(`${dir}/first`, engine, [{ input: good }]);
  t.match(await replayLogs({ storage, logs: [first], shelf }), { result: 'identical' });
  const sealed = utf8('{"decision_id":"x"}');
  const log = await writeDecisions(`${dir}/other`, engine, [{ input: good, sealed }]);
  t.match(await replayLogs({ storage, logs: [log], shelf }), { findings: [{ kind: 'damaged' }] });
});

void t.test('without the keys nothing is proved, and nothing is said against it', async (t) => {
  const log = await writeDecisions(`${dir}/sealed`, engine, [{ input: good }]);
  await rm(`${log}/keys`, { recursive: true });
  const report = await replayLogs({ storage, logs: [log], shelf });
  t.match(report, { result: 'incomplete', decisions: 1, replayed: 0, sealed: 1, findings: [] });
  t.match(renderReplay(report), /1 not replayable: the key/);
});

void t.test('what flips under a new bundle is grouped, most frequent first', async (t) => {
  const answer = (allow: boolean) =>
    JSON.stringify([{ result: { allow, reasons: allow ? [] : ['test.no'] } }]); // no echo: no decision
  const broken = Bundle.parse(bundleFiles(policyModule({ answer: answer(false) })));
  const log = await writeDecisions(`${dir}/flips`, engine, [
    { input: good },
    { input: denied },
    { input: good },
    { input: good },
    { input: good },
  ]);
  const report = await replayLogs({ storage, logs: [log], shelf, policy: broken });
  t.match(report, { result: 'differs', policy: broken.digest, decisions: 5, replayed: 5, flipped: 5 });
  t.match(
    report.flips.map(({ from, to, count, examples }) => [from, to, count, examples.length]),
    [
      ['allow', 'policy.undefined', 4, 3],
      ['deny', 'policy.undefined', 1, 1],
    ],
  );
  t.match(renderReplay(report), /4 × allow 允許 → policy\.undefined [^]*e\.g\. 2026-11-22T00:00:00/);
  const same = await replayLogs({ storage, logs: [log], shelf, policy: bundle });
  t.match(same, { result: 'identical', flipped: 0 }, 'a bundle that decides the same');
  const trap = bundleOf({ body: [0x00] });
  t.match(await replayLogs({ storage, logs: [log], shelf, policy: trap }), {
    flips: [{ to: 'policy.failed' }, { to: 'policy.failed' }],
  });
});

void t.test('a folder that holds no log is not a log without decisions', async (t) => {
  await t.rejects(replayLogs({ storage, logs: [`${dir}/nowhere`], shelf }), {
    name: 'ConfigError',
    message: /nowhere: there is no such folder/,
  });
  await mkdir(`${dir}/empty`);
  await t.rejects(replayLogs({ storage, logs: [`${dir}/empty`], shelf }), { message: /holds no log/ });
  const none = await writeDecisions(`${dir}/undecided`, engine, []);
  t.match(await replayLogs({ storage, logs: [none], shelf }), { result: 'incomplete', decisions: 0 });
});
