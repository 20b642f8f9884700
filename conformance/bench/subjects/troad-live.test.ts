import t from 'tap';
import { openLab } from '../lab.ts';
import { openLoop } from '../load-open.ts';
import { missing } from '../spawn.ts';
import { troadPair } from './troad-pair.ts';

const absent = missing('nginx') ?? missing('openssl');
const skip = absent === undefined ? false : `LIVE BENCHMARK NOT RUN: ${absent}`;

// Real gateways with TPMs, on a machine that may have other things to do.
t.setTimeout(170_000);

void t.test('every request of a user is in both logs, with the user', { skip }, async (t) => {
  delete process.env['NODE_OPTIONS']; // tap's loader, which the gateways are to do without
  const lab = await openLab(1 << 20);
  t.teardown(() => lab.close());
  const pair = await troadPair.start(lab);
  const before: number[] = [];
  for (const { counted } of pair.gateways) before.push((await counted?.())?.records ?? Infinity);
  const { requests, errors } = await openLoop(await pair.userTarget('kept'), 200, 0.5);
  t.equal(errors, 0);
  for (const [i, { role, counted }] of pair.gateways.entries()) {
    const grown = (await counted?.())?.records ?? 0;
    t.ok(grown - (before[i] ?? Infinity) >= 2 * requests, `${role}: records are counted`);
  }
  await pair.stop();
  const gates = await pair.audit({ exchanges: requests, ofUsers: requests });
  t.same(
    gates.filter(({ passed }) => !passed),
    [],
  );
  const verified = gates.find(({ name }) => name.includes('verified a user'));
  if (pair.context['users']?.startsWith('none')) t.equal(verified, undefined);
  else t.equal(verified?.detail, `${requests} users of ${requests} requests`);
});
