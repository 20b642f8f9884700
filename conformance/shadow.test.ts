// Policies in the shadow of two real gateways, compiled from Rego: one that disagrees, and one that is slow.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { compileBundle } from '../gateway/commands/policy/compile.ts';
import { withOpa } from '../gateway/commands/policy/command-fixture.ts';
import { base64url, sha256 } from '../gateway/core/bytes.ts';
import { writeBundle } from '../gateway/node/policy-store.ts';
import { bundleDir } from '../gateway/sandbox/bundle.ts';
import { findOpa, POLICIES } from '../policies/opa.ts';
import { troadPolicy } from './harness/policy-desk.ts';
import { LogTail } from './harness/log-tail.ts';
import { exchange, metric, newFolder, requireGoodLogs, startRoad } from './harness/road.ts';

// Two compilations of Rego are most of it.
t.setTimeout(600_000);

/** Refuses what ends in `/strict`. */
const STRICT = `package agency.strict

refusals contains "strict.path" if endswith(input.request.path, "/strict")
`;
/** Decides like the one in force, after 40,000 steps for nothing: some 40 ms. */
const SLOW = `package agency.strict

refusals contains "strict.path" if {
	endswith(input.request.path, "/strict")
	count([1 | some a in data.strict.numbers; some b in data.strict.numbers; a + b == 0]) > 0
}

refusals contains "strict.path" if {
	count([1 | some a in data.strict.numbers; some b in data.strict.numbers; a + b < 0]) > 0
}
`;

void t.test('shadows compiled from Rego', { ...withOpa, timeout: 600_000 }, async (t) => {
  const dir = newFolder(t);
  const compiled = (name: string, rego: string) => {
    const sources = join(dir, `${name}-sources`);
    for (const folder of ['troad', 'data', 'schemas'])
      cpSync(join(POLICIES, folder), join(sources, folder), { recursive: true });
    mkdirSync(join(sources, 'agency'));
    writeFileSync(join(sources, 'agency/strict.rego'), rego);
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    writeFileSync(join(sources, 'data/strict.json'), JSON.stringify({ numbers }));
    const reasons = JSON.parse(readFileSync(join(sources, 'data/reasons.json'), 'utf8')) as object; // our own
    const more = { 'strict.path': { en: 'This path is refused.', 'zh-TW': '此路徑遭拒絕。' } };
    writeFileSync(join(sources, 'data/reasons.json'), JSON.stringify({ ...reasons, ...more }));
    const { capabilities: _, ...files } = compileBundle(findOpa().in(sources), sources);
    writeBundle(join(dir, name), files, false);
    return { folder: join(dir, name), digest: base64url(sha256(files.manifest)) };
  };
  const [strict, slow] = [compiled('strict', STRICT), compiled('slow', SLOW)];
  const { sandbox, ready } = await startRoad(join(dir, 'road'), 1, bundleDir());
  const sides = [ready.consumer, ready.provider];
  const configOf = ({ log }: { readonly log: string }) => ['--config', join(dirname(log), 'gateway.yaml')];
  const recordsAt = async (log: string) => new LogTail(log).records();
  const statusOf = async (side: { readonly log: string }) =>
    JSON.parse(await troadPolicy('status', ...configOf(side), '--json')) as {
      readonly active: string;
      readonly shadows: readonly {
        readonly bundle: string;
        readonly outcome: string;
        readonly reason: string;
        readonly count: number;
      }[];
    }; // its own report
  const until = async (condition: () => Promise<boolean>): Promise<void> => {
    while (!(await condition())) await delay(50);
  };
  const shadowsAt = async (log: string, digest: string) =>
    (await recordsAt(log)).filter((each) => each.k === 'shadow').filter(({ bundle }) => bundle === digest);
  const done = async (log: string, digest: string): Promise<number> =>
    (await shadowsAt(log, digest)).reduce((sum, { same, other }) => sum + same.length + other.length, 0);

  await t.test('one that disagrees is counted and recorded at both, and nothing follows', async (t) => {
    for (const side of sides) await troadPolicy('activate', strict.folder, '--shadow', ...configOf(side));
    for (let i = 0; i < 10; i += 1) {
      t.equal((await exchange(ready, '/echo/x')).status, 200);
      t.equal((await exchange(ready, '/echo/strict')).status, 200, 'what it would refuse is carried');
    }
    for (const side of sides) {
      await until(async () => (await done(side.log, strict.digest)) === 20);
      const { active, shadows } = await statusOf(side);
      t.not(active, strict.digest);
      t.strictSame(
        shadows.toSorted((a, b) => a.outcome.localeCompare(b.outcome)),
        [
          { bundle: strict.digest, outcome: 'denies', reason: 'strict.path', count: 10 },
          { bundle: strict.digest, outcome: 'same', reason: '', count: 10 },
        ],
      );
      t.match(await troadPolicy('status', ...configOf(side)), /denies +10 +strict\.path/);
      const records = await recordsAt(side.log);
      const others = (await shadowsAt(side.log, strict.digest)).flatMap(({ other }) => other);
      t.equal(others.length, 10);
      for (const { x, allow, tier, score, reasons, o } of others) {
        t.match({ allow, reasons }, { allow: false, reasons: ['strict.path'] });
        const own = records.flatMap((each) =>
          'x' in each && each.x === x && 'pol' in each && each.pol !== undefined ? [each.pol] : [],
        );
        t.ok(own.length > 0, 'beside what was decided');
        t.ok(
          own.every(
            (pol) => pol.allow && pol.b === active && pol.o !== o && pol.score === score && pol.tier === tier,
          ),
        );
      }
    }
  });

  await t.test('one that is slow, and ends, does not slow what is enforced', async (t) => {
    /** Of so many: the one that other work of this machine has held up least. */
    const best = async (count: number): Promise<number> => {
      let least = Infinity;
      for (let i = 0; i < count; i += 1) {
        const began = performance.now();
        t.equal((await exchange(ready, '/echo/x')).status, 200);
        least = Math.min(least, performance.now() - began);
      }
      return least;
    };
    for (const side of sides) await troadPolicy('activate', '--unshadow', strict.digest, ...configOf(side));
    const without = await best(60);
    for (const side of sides) await troadPolicy('activate', slow.folder, '--shadow', ...configOf(side));
    const beside = await best(60);
    t.comment(`at best ${without.toFixed(1)} ms without, ${beside.toFixed(1)} ms beside it`);
    // Each gateway would take several times as long as the whole exchange, every time, if it waited.
    t.ok(beside < 4 * without, `${(beside / without).toFixed(2)} times`);
    await until(async () => (await done(ready.consumer.log, slow.digest)) > 0);
    t.equal(await metric(ready.consumer.admin, 'troad_workers'), 1);
  });

  await t.test('the logs are good', async (t) => {
    await sandbox.stop();
    requireGoodLogs(t, ready);
  });
});
