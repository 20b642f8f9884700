import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { ExchangeId } from '../core/ids.ts';
import type { RecordDraft } from '../evidence/record.ts';
import { canonicalJson } from '../trust/canonical.ts';
import type { Decision } from '../trust/decision.ts';
import { bundleFiles, op, policyModule, type ModuleSpec } from '../trust/module-fixture.ts';
import { PolicyEngine } from '../trust/engine.ts';
import { Bundle } from '../trust/bundle.ts';
import { clock, nanoseconds } from './clock.ts';
import { Shadows } from './shadows.ts';

const ID = 'AAECAwQFBgcICQoLDA0ODw';
const answer = (allow: boolean): string =>
  JSON.stringify([
    {
      result: {
        allow,
        decision_id: ID,
        obligations: {},
        reasons: allow ? [] : ['test.no'],
        score: allow ? 90 : 0,
        threshold: 50,
        tier: allow ? 'high' : 'none',
      },
    },
  ]);
const filesOf = (spec: ModuleSpec) => bundleFiles(policyModule(spec));
const bytes = Buffer.from(canonicalJson({ agreement: { id: 'g' }, decision_id: ID }));
/** Loops for ever. */
const loop = [0x03, 0x40, 0x0c, 0, 0x0b, 0x00];

const enforced: Decision = PolicyEngine.load(Bundle.parse(filesOf({ answer: answer(true) }))).replay(bytes);

type ShadowRecord = Extract<RecordDraft, { readonly k: 'shadow' }>;

/** What a worker has, with a list for its log. */
function worker(t: Test) {
  const records: ShadowRecord[] = [];
  const counted: Record<string, number> = {};
  const problems: string[] = [];
  const shadows = new Shadows({
    clock,
    nanoseconds,
    log: {
      append: (record) => {
        if (record.k === 'shadow') records.push(record);
        return new Promise(() => undefined);
      },
    },
    emit: (event, fields) => void problems.push(`${event} ${JSON.stringify(fields)}`),
    counts: {
      add: ({ outcome, reason }) => {
        const name = `${outcome} ${reason}`.trim();
        counted[name] = (counted[name] ?? 0) + 1;
      },
    },
  });
  t.teardown(() => shadows.close());
  const take = (...specs: readonly ModuleSpec[]): void =>
    shadows.take(specs.map((spec) => ({ files: filesOf(spec), signers: { pems: [], threshold: 0 } })));
  const offer = (count: number): void => {
    for (let i = 0; i < count; i += 1) shadows.offer(`x${i}` as ExchangeId, enforced);
  };
  const until = async (condition: () => boolean): Promise<void> => {
    for (let waited = 0; waited < 60_000 && !condition(); waited += 20) await delay(20);
  };
  return { shadows, records, counted, problems, take, offer, until };
}

void t.test('what agrees is named, what does not is told', async (t) => {
  const { records, counted, take, offer, until } = worker(t);
  take({ answer: answer(true) }, { answer: answer(false) });
  offer(3);
  await until(() => records.length === 2);
  t.same(counted, { same: 3, 'denies test.no': 3 });
  const same = records.find((each) => each.same.length > 0);
  const other = records.find((each) => each.other.length > 0);
  t.match(same, { same: ['x0', 'x1', 'x2'], other: [], failed: [] });
  t.match(other, {
    same: [],
    other: [{ x: 'x0', allow: false, tier: 'none', score: 0, reasons: ['test.no'] }, {}, {}],
  });
  const digest = Bundle.parse(filesOf({ answer: answer(false) })).digest;
  t.equal(other?.bundle, digest);
});

void t.test('O12: one that throws', async (t) => {
  const { records, counted, take, offer, until } = worker(t);
  take({ body: op.trap });
  offer(2);
  await until(() => records.length === 1);
  t.same(counted, { failed: 2 });
  t.match(records[0]?.failed, [{ x: 'x0', why: /policy\.failed/ }, { x: 'x1' }]);
});

void t.test('O12: one that loops is ended, in a thread of its own, and given up after a while', async (t) => {
  const { records, counted, problems, take, offer, until } = worker(t);
  take({ body: loop }, { answer: answer(true) });
  offer(1);
  let longest = 0;
  const watch = (async () => {
    while (problems.length === 0) {
      const began = performance.now();
      await delay(5);
      longest = Math.max(longest, performance.now() - began);
    }
  })();
  await until(() => problems.length > 0);
  await watch;
  t.match(problems[0], /shadow .*an evaluation overran 250 ms/);
  await until(() => counted['same'] === 1);
  t.match(counted, { same: 1, failed: 1 }, 'the other shadow is not held up');
  t.match(
    records.find(({ failed }) => failed.length > 0),
    { failed: [{ x: 'x0', why: /overran/ }] },
  );
  t.comment(`longest the event loop stood still while a shadow looped: ${Math.round(longest)} ms`);
});

void t.test('what there is no room for is counted and left out', async (t) => {
  const { counted, take, offer, until } = worker(t);
  take({ answer: answer(true) });
  offer(1000);
  t.same(counted, { dropped: 744 }, 'at once, and 256 wait');
  await until(() => counted['same'] === 256);
  t.same(counted, { dropped: 744, same: 256 });
});

void t.test('one that is taken away leaves nothing behind', async (t) => {
  const { records, counted, take, offer } = worker(t);
  take({ answer: answer(true) });
  offer(2);
  take();
  offer(2);
  await delay(300);
  t.same(records, []);
  t.same(counted, { dropped: 2 });
});

void t.test('the path of a message pays a few list entries', async (t) => {
  const { shadows, take } = worker(t);
  take({ answer: answer(true) }, { answer: answer(false) }, { body: op.trap });
  const began = performance.now();
  for (let i = 0; i < 10_000; i += 1) shadows.offer('x' as ExchangeId, enforced);
  const each = ((performance.now() - began) / 10_000) * 1000;
  t.comment(`${each.toFixed(2)} microseconds for each decision offered to three shadows`);
  t.ok(each < 200, 'a hundred times what it takes on an idle machine');
});
