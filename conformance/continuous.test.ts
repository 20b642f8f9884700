import { request } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { republish } from './harness/device-lab.ts';
import {
  PolicyDesk,
  troadPolicy,
  writeUndemandingBundle,
  type ExchangeRecord,
} from './harness/policy-desk.ts';
import { metric, newFolder, requireGoodLogs, startRoad } from './harness/road.ts';

// Streams that run are decided on again, in two real gateways: as often as the policy says, and at once when the policy
// or the registry changes. How long it took is measured.

const HOUSING = '/r1/TW/GOV/B07/housing';
/** From the change to the client's broken stream; generous for a busy machine. The gateways look for changes every second. */
const EFFECT_MS = 60_000;

t.setTimeout(600_000);
const dir = newFolder(t);
const { sandbox, ready } = await startRoad(join(dir, 'road'), 1, writeUndemandingBundle(dir));
const desk = new PolicyDesk(dir, ready);
const SIDES = ['consumer', 'provider'] as const;
const other = (side: (typeof SIDES)[number]) => (side === 'consumer' ? 'provider' : 'consumer');

interface Stream {
  readonly id: string;
  readonly ended: Promise<{ readonly clean: boolean; readonly at: number }>;
  isOver(): boolean;
}

/** An event stream; resolves when it runs. */
const stream = (): Promise<Stream> =>
  new Promise((resolve, reject) => {
    const headers = { 'x-road-client': 'TW/GOV/A11/welfare' };
    const path = `${ready.consumer.url}${HOUSING}/events?count=100000&ms=100`;
    const outgoing = request(path, { headers, agent: false }, (answer) => {
      let over = false;
      const ended = new Promise<{ clean: boolean; at: number }>((end) => {
        const finish = (clean: boolean): void => {
          over = true;
          end({ clean, at: performance.now() });
        };
        answer.on('end', () => finish(true)).on('error', () => finish(false));
      });
      const id = String(answer.headers['x-road-request-id']).replaceAll('-', '');
      answer.once('data', () =>
        resolve({ id: Buffer.from(id, 'hex').toString('base64url'), ended, isOver: () => over }),
      );
      answer.resume();
    });
    outgoing.on('error', reject).end();
  });

for (const side of SIDES) {
  await t.test(`${side}: decided again every second, and ended when its time is over`, async (t) => {
    await desk.enforce(side, { obligations: { max_seconds: 5, recheck_seconds: 1 } });
    const began = performance.now();
    const { id, ended } = await stream();
    const again = await desk.record(side, 'rechecks', ({ x, k }) => x === id && k === 'recheck', 2);
    t.match(again, { out: 'ok', pol: { allow: true }, parts: { input: { n: Number } } });
    t.ok(await metric(ready[side].admin, 'troad_policy_rechecks_total{outcome="goes_on"}'));
    const { clean, at } = await ended;
    t.notOk(clean, 'broken off, never a tidy end');
    t.ok(at - began >= 5000, 'not before');
    t.comment(`${side}: a stream of at most 5 s lasted ${Math.round(at - began)} ms`);
    const end = await desk.record(side, 'the end', ({ x, k }) => x === id && k === 'abort');
    t.match(end, { out: 'policy.time_over', pol: { allow: true } });
    await desk.enforce(side);
  });

  await t.test(`${side}: a policy that says no ends what runs`, async (t) => {
    const { id, ended } = await stream();
    const began = performance.now();
    await desk.enforce(side, { obligations: {}, threshold: 100 });
    const { clean, at } = await ended;
    t.notOk(clean, 'broken off, never a tidy end');
    t.ok(at - began < EFFECT_MS);
    t.comment(`${side}: ended ${Math.round(at - began)} ms after troad policy activate was started`);
    const end = await desk.record(side, 'the end', ({ x, k }) => x === id && k === 'abort');
    t.match(end, {
      out: 'policy.withdrawn',
      pol: { allow: false, reasons: [/./] },
      parts: { input: { n: Number } },
    });
    t.ok((end.sent?.res ?? 0) > 0, 'with what had gone on');
    const theirs = await desk.record(other(side), 'their end', ({ x, k }) => x === id && k === 'abort');
    t.ok((theirs.sent?.res ?? 0) > 0, `recorded by the other side as ${theirs.out}`);
    await desk.enforce(side);
  });
}

await t.test('a policy that binds otherwise binds what runs', async (t) => {
  const { id, ended } = await stream();
  await desk.enforce('consumer', { obligations: { max_response_bytes: 1 } });
  t.notOk((await ended).clean);
  const end = await desk.record('consumer', 'the end', ({ x, k }) => x === id && k === 'abort');
  t.match(end, { out: 'policy.response_too_large', pol: { obligations: { max_response_bytes: 1 } } });
  await desk.enforce('consumer');
});

await t.test('many streams, one change: all end, spread over time', async (t) => {
  const streams = await Promise.all(Array.from({ length: 100 }, () => stream()));
  const began = performance.now();
  await desk.enforce('provider', { obligations: {}, threshold: 100 });
  const ends = await Promise.all(streams.map(({ ended }) => ended));
  t.ok(ends.every(({ clean }) => !clean));
  const times = ends.map(({ at }) => at - began).toSorted((a, b) => a - b);
  const [first = 0] = times;
  t.comment(`100 streams ended within ${Math.round((times.at(-1) ?? 0) - first)} ms`);
  const ids = new Set(streams.map(({ id }) => id));
  const isEnd = ({ x, k }: ExchangeRecord): boolean => k === 'abort' && ids.has(x);
  await desk.record('provider', 'all ends', isEnd, 100);
  const aborts = (await desk.records('provider')).filter(isEnd);
  t.same([...new Set(aborts.map(({ out }) => out))], ['policy.withdrawn']);
  t.equal(aborts.length, 100);
  await desk.enforce('provider');
});

await t.test('an agreement that is gone takes its streams along, at both gateways', async (t) => {
  const { id, ended } = await stream();
  const began = performance.now();
  await republish(ready, ({ agreements }) => ({
    agreements: agreements.filter(({ service }) => !service.endsWith('/events')),
  }));
  const { clean, at } = await ended;
  t.notOk(clean);
  t.ok(at - began < EFFECT_MS);
  t.comment(`ended ${Math.round(at - began)} ms after the registry was published`);
  const ends = await Promise.all(
    SIDES.map((side) => desk.record(side, 'the end', ({ x, k }) => x === id && k === 'abort')),
  );
  t.ok(
    ends.some(({ out }) => out === 'agreement.missing'),
    ends.map(({ out }) => out).join(', '),
  );
});

await t.test('all of it can be made again from the logs, which agree', async (t) => {
  await sandbox.stop();
  for (const side of SIDES) {
    const report = await troadPolicy('replay', '--log', ready[side].log, '--json');
    const inputs = (await desk.records(side)).filter(({ parts }) => parts?.input !== undefined);
    t.match(JSON.parse(report), { result: 'identical', decisions: inputs.length }, side);
    t.ok(inputs.some(({ k }) => k === 'recheck') && inputs.some(({ k }) => k === 'abort'));
  }
  requireGoodLogs(t, ready);
});
