import t from 'tap';
import type { CoreRecord } from '../evidence/record.ts';
import { PolicyTrail } from './policies.ts';
import type { StepReport } from './report.ts';

const activation = (bundle: string, act: string, version?: number) => ({
  k: 'policy',
  bundle,
  act,
  ...(version === undefined ? {} : { version }),
});
const decision = (b: string, k = 'req.final') => ({ k, pol: { b, allow: true } });

/** The trail looks at no more of a record than stands here. */
function read(...records: readonly object[]): StepReport {
  const trail = new PolicyTrail();
  for (const [i, record] of records.entries()) trail.read(record as CoreRecord, BigInt(i));
  return trail.step.report();
}

void t.test('each decision cites a bundle that was activated before it', async (t) => {
  const good = read(
    activation('a', 'start', 1),
    decision('a'),
    activation('b', 'activate', 2),
    decision('a'), // was under way
    decision('b', 'deny'),
    activation('a', 'return', 1),
    decision('a', 'open'),
    activation('b', 'start', 2),
  );
  t.match(good, { status: 'pass', checked: 4, findings: [] });
});

void t.test('a bundle that was never in force, or not yet', async (t) => {
  const early = read(activation('a', 'start'), decision('b'), activation('b', 'activate'), decision('b'));
  t.match(early, {
    status: 'fail',
    checked: 1,
    findings: [{ kind: 'policy', index: '1', detail: /decided by b/ }],
  });
});

void t.test('an activation that goes back', async (t) => {
  const back = read(activation('a', 'start', 2), activation('b', 'activate', 1));
  t.match(back, { status: 'fail', findings: [{ kind: 'rollback', index: '1' }] });
  t.match(read(activation('a', 'start', 2), activation('b', 'activate')), { status: 'fail' });
});

void t.test('what cannot be judged', async (t) => {
  t.match(read(decision('a')), { status: 'not checkable', notCheckable: 1, findings: [] });
  t.match(read(activation('a', 'start'), { k: 'deny' }, { k: 'abort', pol: { b: 'z' } }), {
    checked: 0,
    findings: [],
  });
});
