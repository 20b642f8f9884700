import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import type { CoreRecord } from '../gateway/evidence/record.ts';
import { openSession } from './harness/link-client.ts';
import { linkRequest, stolenKeys } from './harness/link-request.ts';
import {
  ask,
  begin,
  exchange,
  metric,
  newFolder,
  recordsOf,
  requireGoodLogs,
  serviceUrl,
  startRoad,
} from './harness/road.ts';

// Two workers in each gateway: real processes, threads and sockets.

t.setTimeout(600_000);

await t.test('two workers share the load, each with its log', async (t) => {
  const { sandbox, lines, ready } = await startRoad(newFolder(t), 2);
  const { consumer, provider } = ready;
  const answers = await Promise.all(Array.from({ length: 40 }, () => exchange(ready, '/echo/x')));
  t.ok(answers.every(({ status }) => status === 200));
  for (const { log, admin } of [consumer, provider]) {
    const role = admin === consumer.admin ? 'consumer' : 'provider';
    const carried = `troad_exchanges_total{role="${role}",out="ok"}`;
    while ((await metric(admin, carried)) < 40) await delay(20); // counted behind the answer
    const [one, other] = [await recordsOf(log, 1), await recordsOf(log, 2)];
    const finals = (records: readonly CoreRecord[]) => records.filter(({ k }) => k === 'res.final').length;
    t.equal(finals(one) + finals(other), 40);
    t.equal(await metric(admin, carried), 40, 'one page for both');
    t.equal(await metric(admin, `troad_exchange_seconds_count{role="${role}",end="ok"}`), 40);
    t.equal(await metric(admin, 'troad_workers'), 2);
    // Gateways that met show each other their logs some time later: one more record.
    const size = await metric(admin, 'troad_evidence_size');
    const then = [await recordsOf(log, 1), await recordsOf(log, 2)].flat().length;
    t.ok(one.length + other.length <= size && size <= then, `${size} records`);
    t.match(await ask(`${admin}/readyz`), { status: 200, body: '{"ready":true}\n' });
    for (const worker of [1, 2])
      t.match(
        (await ask(`${admin}/log/w${worker}/checkpoint`)).body,
        new RegExp(`/troad-log/w${worker}/1\n`),
      );
    t.equal((await ask(`${admin}/log/checkpoint`)).status, 404);
  }
  const [one, other] = [await recordsOf(consumer.log, 1), await recordsOf(consumer.log, 2)];
  for (const records of [one, other])
    t.ok(
      records.some(({ k }) => k === 'res.final'),
      'the kernel gave connections to each',
    );

  await t.test('an orderly stop lets what runs end, in every worker', async (t) => {
    const url = serviceUrl(ready, '/files/4000000');
    // Nobody reads them yet, so each is under way when the stop comes.
    const slow = await Promise.all(Array.from({ length: 12 }, () => begin(url)));
    const stopping = sandbox.stop(); // throws unless both end with status 0
    const ends = await Promise.all(slow.map((read) => read()));
    await stopping;
    t.same(
      ends.map(({ status, body }) => [status, body.length]),
      ends.map(() => [200, 4_000_000]),
    );
    for (const log of [consumer.log, provider.log])
      for (const worker of [1, 2]) t.equal((await recordsOf(log, worker)).at(-1)?.k, 'seal');
  });
  const workers = lines.flatMap(({ line }) => (line.event === 'exchange.completed' ? [line['worker']] : []));
  t.same(
    [...new Set(workers)].map(Number).toSorted((a, b) => a - b),
    [1, 2],
    'lines say which worker',
  );
  requireGoodLogs(t, ready);
});

await t.test(
  'a message is taken once, whichever worker gets the copy, before and after a restart',
  async (t) => {
    const dir = newFolder(t);
    const first = await startRoad(dir, 2);
    const subject = { ready: first.ready };
    const keys = stolenKeys(subject as Parameters<typeof stolenKeys>[0]);
    const message = linkRequest({}, keys, Date.now());
    const sessions = await Promise.all(
      Array.from({ length: 32 }, () => openSession(first.ready.provider.link, keys)),
    );
    const outcomes = await Promise.all(sessions.map((session) => session.send(message, 'tidy')));
    for (const session of sessions) session.destroy();
    const statuses = outcomes.map(({ answers }) => answers[0]?.status ?? 0).toSorted((a, b) => a - b);
    t.equal(statuses.filter((status) => status === 200).length, 1, `exactly one of ${statuses.join(' ')}`);
    const { log } = first.ready.provider;
    const denials = await Promise.all(
      [1, 2].map(async (worker) =>
        (await recordsOf(log, worker)).filter((each) => 'out' in each && each.out === 'message.replayed'),
      ),
    );
    t.equal(denials.flat().length, 31);
    t.ok(
      denials.every((of) => of.length > 0),
      'both workers saw copies',
    );
    await first.sandbox.stop();

    for (const workers of [1, 2]) {
      const again = await startRoad(dir, workers);
      const session = await openSession(again.ready.provider.link, keys);
      const { answers } = await session.send(message, 'tidy');
      session.destroy();
      t.equal(answers[0]?.status, statuses.at(-1), `with ${workers} now`);
      t.equal((await exchange(again.ready, '/echo/x')).status, 200);
      await again.sandbox.stop();
    }
  },
);
