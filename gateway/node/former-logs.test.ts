import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { draft, logOptions } from '../../conformance/builders/log.ts';
import { openLog } from '../evidence/log.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import type { RecordDraft } from '../evidence/record.ts';
import { highestPolicyInLogs } from './former-logs.ts';

const policy = (
  bundle: string,
  version?: number,
  more: { act?: 'return'; highest?: number } = {},
): RecordDraft => ({
  k: 'policy',
  at: 1,
  bundle,
  entrypoint: 'e',
  revision: 'r',
  act: 'activate',
  ...(version === undefined ? {} : { version }),
  ...more,
});

void t.test('the highest policy version, from the end of each log back', async (t) => {
  const dir = t.testdir();
  const floor = () => highestPolicyInLogs(nodeStorage(), { dir });
  const write = async (worker: string, ...records: readonly RecordDraft[]): Promise<void> => {
    const log = await openLog(logOptions(join(dir, worker)));
    for (const record of records) await log.append(record);
    await log.close();
  };
  t.equal(await floor(), undefined, 'no log yet');
  await write('w1', policy('unreleased'));
  t.equal(await floor(), undefined, 'and none that has a version');
  await write('w1', policy('one', 1), policy('two', 2));
  t.same(await floor(), { version: 2, bundle: 'two' });
  // What follows fills segments of its own, without another record of a policy.
  for (let n = 0; n < 60; n += 10)
    await write('w1', ...Array.from({ length: 10 }, (_, i) => draft('deny', n + i, { xid: '"k":"policy"' })));
  const segments = (await readdir(join(dir, 'w1', 'epoch-1'))).filter((name) => name.endsWith('.seg'));
  t.ok(segments.length > 3, `${segments.length} segments`);
  t.same(await floor(), { version: 2, bundle: 'two' }, 'found further back');
  await write('w2', policy('one', 1));
  t.same(await floor(), { version: 2, bundle: 'two' }, 'one worker is behind');
  await write('w2', policy('one', 1, { act: 'return', highest: 2 }));
  t.same(await floor(), { version: 2, bundle: null }, 'returned from it: it is not gone on with');
  await write('w3', policy('three', 3));
  t.same(await floor(), { version: 3, bundle: 'three' });
});
