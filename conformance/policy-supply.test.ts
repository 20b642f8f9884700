import { execFile } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { base64url, sha256 } from '../gateway/core/bytes.ts';
import type { CoreRecord } from '../gateway/evidence/record.ts';
import { bundleDir } from '../gateway/sandbox/bundle.ts';
import { formatRelease, signRelease, type Release } from '../gateway/trust/release.ts';
import { readState } from '../gateway/node/policy-store.ts';
import { writeLoopingBundle } from './builders/looping-policy.ts';
import { writeOtherBundle } from './builders/other-policy.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';
import { ask, exchange, metric, newFolder, recordsOf, requireGoodLogs, startRoad } from './harness/road.ts';

// Bundles on their way into two real gateways: released, activated under load, refused, run away, evaluated beside.

const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const [program, ...first] = PLAIN_NODE;
const troad = (...args: readonly string[]): Promise<{ status: number; output: string }> =>
  new Promise((resolve) => {
    execFile(program, [...first, CLI, 'policy', ...args], (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });

const dir = newFolder(t);
const { sandbox, lines, ready } = await startRoad(join(dir, 'road'), 2);
const agency = dirname(ready.consumer.log);
const config = ['--config', join(agency, 'gateway.yaml')];
const keys = join(dir, 'road', 'policy');
const [ANNA, BERT] = [join(keys, 'anna.key'), join(keys, 'bert.key')];
const digestOf = (bundle: string): string => base64url(sha256(readFileSync(join(bundle, 'manifest.json'))));

/** Another bundle, released by both. */
function released(name: string, version: number): string {
  const bundle = join(dir, name);
  writeOtherBundle(bundleDir(), bundle, name);
  release(bundle, version);
  return bundle;
}

/** Other programs for that would take a second each. */
function release(bundle: string, version: number): void {
  const statement = {
    bundle: digestOf(bundle),
    version,
    notBefore: Date.UTC(2026, 0, 1),
    expiresAt: Date.UTC(2099, 0, 1),
  };
  let signed: Release | undefined;
  for (const key of [ANNA, BERT])
    signed = signRelease(statement, createPrivateKey(readFileSync(key)), signed);
  if (signed !== undefined) writeFileSync(join(bundle, 'release.json'), formatRelease(signed));
}

const bundlesIn = (records: readonly CoreRecord[]): string[] =>
  records.flatMap((each) => ('pol' in each && each.pol !== undefined ? [each.pol.b] : []));
async function statusOf(): Promise<Record<string, unknown>> {
  const { output } = await troad('status', ...config, '--json');
  return JSON.parse(output) as Record<string, unknown>; // the command's own report
}
/** The store says the same, faster. */
const state = () => readState(join(agency, 'policies'));
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 60_000 && !(await condition()); waited += 50) await delay(50);
}

await t.test('the sandbox runs a policy that two have released', async (t) => {
  t.equal((await exchange(ready, '/echo/x')).status, 200);
  const digest = digestOf(bundleDir());
  t.match(await statusOf(), { active: digest, version: 1, history: [], quarantined: [] });
  const records = await recordsOf(ready.consumer.log, 1);
  const started = records.find(({ k }) => k === 'policy');
  t.match(started, { bundle: digest, act: 'start', version: 1, signatures: [{ key: /./ }, { key: /./ }] });
  const store = join(agency, 'policies', digest);
  t.same(readdirSync(store).toSorted(), ['data.json', 'manifest.json', 'policy.wasm', 'release.json']);
});
const firstState = readFileSync(join(agency, 'policies', 'state.json'));

await t.test('O11: activated under load: no exchange is refused, each record names one bundle', async (t) => {
  const before = digestOf(bundleDir());
  const next = join(dir, 'second');
  writeOtherBundle(bundleDir(), next, 'second');
  const times = ['--release', '2', '--expires', '2099-01-01T00:00:00Z'];
  t.match(await troad('sign', next, '--key', ANNA, ...times), { status: 0, output: /1 signature/ });
  t.match(await troad('sign', next, '--key', BERT), { status: 0, output: /version 2, 2 signature/ });
  const seen = { ok: 0, other: 0, stop: false };
  const clients = Array.from({ length: 8 }, async () => {
    while (!seen.stop) {
      const { status } = await exchange(ready, '/echo/x').catch(() => ({ status: 0 }));
      if (status === 200) seen.ok += 1;
      else seen.other += 1;
    }
  });
  await until(() => seen.ok > 50);
  const { status, output } = await troad('activate', next, ...config);
  t.equal(status, 0, output);
  t.match(output, /done.*stood still for [\d.]+ ms/);
  t.comment(output.trim());
  const then = seen.ok;
  await until(() => seen.ok > then + 50);
  seen.stop = true;
  await Promise.all(clients);
  t.equal(seen.other, 0, `none of ${seen.ok} was refused`);
  for (const worker of [1, 2]) {
    const records = await recordsOf(ready.consumer.log, worker);
    const at = records.findIndex((each) => each.k === 'policy' && each.act === 'activate');
    t.match(records[at], { bundle: digestOf(next), version: 2 }, `worker ${worker} has recorded it`);
    t.same([...new Set(bundlesIn(records.slice(0, at)))], [before], 'nothing is decided by it before');
    t.ok(bundlesIn(records.slice(at)).includes(digestOf(next)), 'and after, it is');
  }
  t.match(await statusOf(), { active: digestOf(next), version: 2, history: [before] });
});

await t.test('O09, O10: what is refused leaves the one in force where it is', async (t) => {
  // All reasons: gateway/node/policy-keeper.test.ts.
  const active = state()?.active;
  const old = released('old', 1);
  for (const command of ['verify', 'activate'])
    t.match(await troad(command, old, ...config), { status: 1, output: /bundle\.rollback/ }, command);
  writeFileSync(join(old, 'x.rego'), '');
  t.match(await troad('activate', old, ...config), { status: 2, output: /does not belong: x\.rego/ });
  t.equal(state()?.active, active);
  t.equal((await exchange(ready, '/echo/x')).status, 200);
});

await t.test('O04: one that runs away brings back the one before, on all workers', async (t) => {
  const good = state()?.active;
  const looping = join(dir, 'looping');
  writeLoopingBundle(bundleDir(), looping);
  release(looping, 4);
  t.equal((await troad('activate', looping, ...config)).status, 0);
  t.equal((await exchange(ready, '/echo/x')).status, 200);
  await t.rejects(exchange(ready, `/echo/${'a'.repeat(7000)}`));
  await until(() => state()?.active === good);
  t.match(state(), {
    active: good,
    version: 4,
    quarantined: [{ bundle: digestOf(looping), why: /overran/ }],
  });
  await until(async () => (await metric(ready.consumer.admin, 'troad_workers')) === 2);
  t.equal((await exchange(ready, `/echo/${'a'.repeat(7000)}`)).status, 200, 'the same request, decided');
  const returned = [...(await recordsOf(ready.consumer.log, 1)), ...(await recordsOf(ready.consumer.log, 2))];
  t.ok(
    returned.some((each) => each.k === 'policy' && each.act === 'return' && /overran/.test(each.why ?? '')),
  );
  t.match((await troad('activate', looping, ...config)).output, 'bundle.quarantined');
  t.equal((await troad('activate', '--lift', digestOf(looping), ...config)).status, 0);
  t.same(state()?.quarantined, []);
  t.match((await ask(`${ready.consumer.admin}/readyz`)).status, 200);
});

await t.test('O12: shadows decide beside it, and are recorded and counted', async (t) => {
  const same = released('shadow', 1);
  const loops = join(dir, 'looping');
  t.equal((await troad('activate', same, '--shadow', ...config)).status, 0);
  t.equal((await troad('activate', loops, '--shadow', ...config)).status, 0);
  for (let i = 0; i < 20; i += 1) t.equal((await exchange(ready, '/echo/x')).status, 200);
  t.equal((await exchange(ready, `/echo/${'a'.repeat(7000)}`)).status, 200, 'what makes a shadow run away');
  const count = async (bundle: string, outcome: string): Promise<number> => {
    const { shadows } = (await statusOf()) as {
      shadows: { bundle: string; outcome: string; count: number }[];
    };
    return shadows.find((each) => each.bundle === digestOf(bundle) && each.outcome === outcome)?.count ?? 0;
  };
  await until(async () => (await count(same, 'same')) === 21);
  t.equal(await count(same, 'same'), 21);
  await until(async () => (await count(loops, 'failed')) > 0);
  t.ok((await count(loops, 'failed')) > 0);
  t.ok(
    lines.some(
      ({ line }) => line.event === 'policy.problem' && /shadow .*overran/.test(String(line['detail'])),
    ),
  );
  const shadow = (await Promise.all([1, 2].map((worker) => recordsOf(ready.consumer.log, worker))))
    .flat()
    .filter((each) => each.k === 'shadow');
  t.equal(shadow.filter(({ bundle }) => bundle === digestOf(same)).flatMap((each) => each.same).length, 21);
  t.equal(await metric(ready.consumer.admin, 'troad_workers'), 2, 'no worker was lost for a shadow');
  const { shadows } = (await statusOf()) as { readonly shadows: readonly object[] };
  t.strictSame(
    shadows.filter((each) => 'count' in each && each.count === 21),
    [{ bundle: digestOf(same), outcome: 'same', reason: '', count: 21 }],
  );
  t.equal((await troad('activate', '--unshadow', digestOf(loops), ...config)).status, 0);
  t.same(state()?.shadow, [digestOf(same)]);
});

await t.test('a state.json from a backup does not bring an older policy back', async (t) => {
  await sandbox.stop();
  const newest = state();
  t.match(newest, { version: 4, active: digestOf(join(dir, 'second')) });
  writeFileSync(join(agency, 'policies', 'state.json'), firstState);
  t.match(state(), { version: 1, active: digestOf(bundleDir()) }, 'what it says');
  const run = await new Promise<{ status: unknown; output: string }>((resolve) => {
    execFile(program, [...first, CLI, 'run', ...config], (error, stdout, stderr) => {
      resolve({ status: error?.code ?? 0, output: stdout + stderr });
    });
  });
  t.match(run.output, /bundle\.rollback: state\.json knows of version 1, the log of 4/);
  t.match(run.output, /version 1, but 4 has been in force here \(bundle\.rollback\)/);
  t.equal(run.status, 2, 'it does not start');
});

await t.test('the logs are good, activations and shadows included', (t) => {
  const report = requireGoodLogs(t, ready);
  t.match(report, /pass {2}policies in force were released by those trusted to \([1-9]/, 'by Anna and Bert');
  t.end();
});
