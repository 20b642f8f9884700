import t from 'tap';
import type { HostClaims } from './health.ts';
import { keptClaims } from './kept-claims.ts';

const said = (agent: string): HostClaims => ({
  agent,
  boot_id: 'b',
  health: {
    os: { pending: null, checked_hours: null },
    antivirus: { age_hours: null },
    applications: { pending: null, checked_hours: null },
    configuration: {},
  },
});

void t.test('a renewal does not wait for a package manager that is slow', async (t) => {
  let now = 0;
  const waiting: PromiseWithResolvers<HostClaims>[] = [];
  const claims = keptClaims(
    () => {
      const asked = Promise.withResolvers<HostClaims>();
      waiting.push(asked);
      return asked.promise;
    },
    () => now,
  );
  const first = claims();
  t.equal(claims(), first, 'asked once');
  waiting[0]?.resolve(said('1'));
  t.match(await first, { agent: '1' });
  now = 300_000;
  t.match(await claims(), { agent: '1' });
  t.equal(waiting.length, 1);
  now = 300_001;
  t.match(await claims(), { agent: '1' }, 'what is there, while it is asked anew');
  t.match(await claims(), { agent: '1' });
  t.equal(waiting.length, 2);
  now = 600_000;
  t.match(await claims(), { agent: '1' });
  now = 600_001;
  const late = claims();
  t.equal(waiting.length, 2, 'older than that is not shown');
  waiting[1]?.resolve(said('2'));
  t.match(await late, { agent: '2' });
  now = 700_000;
  t.match(await claims(), { agent: '2' });
  t.equal(waiting.length, 3, 'its age is that of the question');
  waiting[2]?.reject(new Error('no such program'));
  await new Promise((resolve) => setImmediate(resolve));
  t.match(await claims(), { agent: '2' }, 'a failure is tried again');
  t.equal(waiting.length, 4);
  now = 2_000_000;
  const failing = claims();
  waiting[3]?.reject(new Error('no such program'));
  await t.rejects(failing, /no such program/);
});
