import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { bundleDir } from '../gateway/sandbox/bundle.ts';
import { writeLoopingBundle } from './builders/looping-policy.ts';
import { LogTail } from './harness/log-tail.ts';
import { ask, exchange, metric, newFolder, requireGoodLogs, startRoad, type Line } from './harness/road.ts';

// Attack O04: a policy whose evaluation does not come back, in real gateways.

await t.test('O04: a policy that does not come back costs its worker, and nothing else', async (t) => {
  const dir = newFolder(t);
  const bundle = join(dir, 'bundle');
  writeLoopingBundle(bundleDir(), bundle);
  const { sandbox, lines, ready } = await startRoad(join(dir, 'road'), 2, bundle);
  const { consumer } = ready;
  const find = (event: string): Line | undefined =>
    lines.find(({ agency, line }) => agency.startsWith('gw.a11') && line.event === event)?.line;
  const until = async (condition: () => boolean): Promise<void> => {
    for (let waited = 0; waited < 60_000 && !condition(); waited += 20) await delay(20);
  };
  for (let i = 0; i < 10; i += 1) t.equal((await exchange(ready, '/echo/x')).status, 200);
  const carried = await metric(consumer.admin, 'troad_exchanges_total{role="consumer",out="ok"}');

  // Others go on meanwhile, on connections that were there before: each to one worker.
  const until200 = { ok: 0, failed: 0, stop: false };
  const others = Array.from({ length: 8 }, async () => {
    while (!until200.stop) {
      const { status } = await exchange(ready, '/echo/x').catch(() => ({ status: 0 }));
      if (status === 200) until200.ok += 1;
      else until200.failed += 1;
    }
  });
  await delay(300);
  await ask(`${consumer.admin}/metrics`); // resets the lag
  const began = performance.now();
  const looping = exchange(ready, `/echo/${'a'.repeat(7000)}`).then(
    ({ status }) => String(status),
    () => 'broken off',
  );
  let answered = 0;
  while (find('worker.lost') === undefined && performance.now() - began < 60_000) {
    t.equal((await ask(`${consumer.admin}/healthz`)).status, 200);
    answered += 1;
    await delay(20);
  }
  t.equal(await looping, 'broken off');
  const took = performance.now() - began;
  t.ok(took > 500, `ended after ${Math.round(took)} ms`);
  t.ok(answered > 1, `the main thread answered ${answered} times meanwhile`);
  t.match(find('policy.problem'), {
    detail: /is set apart: worker \d: an evaluation of the policy overran 500 ms/,
  });
  const worker = Number(find('worker.lost')?.['worker']);
  await until(() => find('worker.replaced') !== undefined);
  t.match(find('worker.replaced'), { worker });
  t.match(JSON.parse((await ask(`${consumer.admin}/readyz`)).body), {
    ready: false,
    reasons: [new RegExp(`^worker ${worker}: policy \\S+ is set apart, and there is none to return to`)],
  });
  until200.ok = 0;
  until200.failed = 0;
  await until(() => until200.ok > 50);
  t.equal(until200.failed, 0, 'the other worker decides for all of them');
  until200.stop = true;
  await Promise.all(others);
  t.ok(
    (await metric(consumer.admin, 'troad_exchanges_total{role="consumer",out="ok"}')) > carried,
    'counts outlive their worker',
  );
  t.equal(await metric(consumer.admin, 'troad_workers_lost_total'), 1);
  t.equal(await metric(consumer.admin, 'troad_workers'), 1);

  cpSync(bundleDir(), bundle, { recursive: true });
  await until(() =>
    lines.some(
      ({ agency, line }) =>
        agency.startsWith('gw.a11') &&
        line.event === 'gateway.ready' &&
        Number(line['at']) > Number(find('worker.lost')?.['at']),
    ),
  );
  for (let i = 0; i < 1200 && (await ask(`${consumer.admin}/readyz`)).status !== 200; i += 1) await delay(50);
  t.match(await ask(`${consumer.admin}/readyz`), { status: 200 }, 'another bundle is in its place');
  t.equal(await metric(consumer.admin, 'troad_workers'), 2);
  const after = await Promise.all(Array.from({ length: 8 }, () => exchange(ready, '/echo/x')));
  t.ok(after.every(({ status }) => status === 200));
  await sandbox.stop();
  requireGoodLogs(t, ready);
});

await t.test('O04: one worker alone says why it refuses', async (t) => {
  const dir = newFolder(t);
  const bundle = join(dir, 'bundle');
  writeLoopingBundle(bundleDir(), bundle);
  const { sandbox, lines, ready } = await startRoad(join(dir, 'road'), 1, bundle);
  t.equal((await exchange(ready, '/echo/x')).status, 200);
  await t.rejects(exchange(ready, `/echo/${'a'.repeat(7000)}`));
  for (let i = 0; i < 3000 && !lines.some(({ line }) => line.event === 'worker.replaced'); i += 1)
    await delay(20);
  const refused = await exchange(ready, '/echo/x');
  t.equal(refused.status, 503);
  t.equal((await ask(`${ready.consumer.admin}/readyz`)).status, 503);
  const records = await new LogTail(ready.consumer.log).records();
  t.ok(records.some((each) => each.k === 'deny' && each.out === 'policy.failed'));
  await sandbox.stop();
  requireGoodLogs(t, ready);
});
