import { execFileSync } from 'node:child_process';
import { rename, rm, writeFile } from 'node:fs/promises';
import t from 'tap';
import { HandClock } from '../../conformance/builders/log.ts';
import type { ThreatIntelConfig } from '../config/threat-intel.ts';
import { parseCve } from '../core/cve.ts';
import type { Emit } from '../telemetry/events.ts';
import { ThreatIntel } from '../trust/threat.ts';
import { ThreatKeeper } from './threat-keeper.ts';

const dir = t.testdir();
const file = `${dir}/kev.json`;
const clock = new HandClock();
const HOUR = 3_600_000;
const config: ThreatIntelConfig = {
  files: { kev: [file], epss: [], cvss: [] },
  maxAgeMs: 48 * HOUR,
  reloadMs: 20,
};
const catalogue = (released: number, ...ids: string[]): string =>
  JSON.stringify({
    dateReleased: new Date(released).toISOString(),
    vulnerabilities: ids.map((cveID) => ({ cveID })),
  });
/** As a job that fetches feeds should do it: never half a file. */
async function replace(content: string): Promise<void> {
  await writeFile(`${file}.new`, content);
  await rename(`${file}.new`, file);
}

function listening(): { readonly emit: Emit; readonly events: [string, object][] } {
  const events: [string, object][] = [];
  return { emit: (event, fields) => void events.push([event, fields]), events };
}
const log4j = parseCve('CVE-2021-44228') ?? 0;
const facts = (keeper: ThreatKeeper) => new ThreatIntel(keeper.tables).facts([log4j], false, clock.now());

void t.test('a feed appears, is replaced, breaks and grows old', async (t) => {
  const { emit, events } = listening();
  const keeper = await ThreatKeeper.open(config, clock, emit);
  t.match(
    events,
    [['threat.problem', { detail: /kev\.json: ENOENT/ }]],
    'a missing feed does not stop anything',
  );
  t.match(facts(keeper), { age_hours: null, kev: 0 }, 'and is seen in the decision');
  t.equal(keeper.ageMs, Infinity);
  t.equal(await keeper.refresh(), false);
  t.equal(events.length, 1, 'told once');

  await replace(catalogue(clock.now() - 5 * HOUR, 'CVE-2021-44228'));
  t.equal(await keeper.refresh(), true);
  t.match(events[1], ['threat.loaded', { file, entries: 1 }]);
  t.match(facts(keeper), { age_hours: 5, kev: 1 });
  t.equal(keeper.ageMs, 5 * HOUR);
  t.equal(await keeper.refresh(), false, 'unchanged: not read again');

  await replace('{"dateReleased":');
  t.equal(await keeper.refresh(), false);
  t.match(events[2], ['threat.problem', { detail: /kev\.json: not JSON/ }]);
  t.match(facts(keeper), { age_hours: 5, kev: 1 }, 'the last good one serves');

  clock.at += 44 * HOUR;
  await keeper.refresh();
  t.match(events[3], ['threat.problem', { detail: 'the oldest feed is 49 hours old' }]);
  t.match(facts(keeper), { age_hours: 49 });
  await keeper.refresh();
  t.equal(events.length, 4, 'told once');

  await replace(catalogue(clock.now(), 'CVE-2014-0160'));
  await keeper.refresh();
  t.match(facts(keeper), { age_hours: 0, kev: 0 }, 'what is taken back counts no more');
  await keeper.close();
});

void t.test('a feed that is a pipe stops no start', async (t) => {
  const { emit, events } = listening();
  const pipe = `${dir}/pipe`;
  execFileSync('mkfifo', [pipe]);
  await ThreatKeeper.open({ ...config, files: { kev: [pipe], epss: [], cvss: [] } }, clock, emit);
  t.match(events, [['threat.problem', { detail: /pipe: is a pipe or a device: name a file/ }]]);
});

void t.test('workers are told of a change, and only of a change', async (t) => {
  await replace(catalogue(clock.now(), 'CVE-2014-0160'));
  const keeper = await ThreatKeeper.open(config, clock, listening().emit);
  const told = Promise.withResolvers<unknown>();
  const alive = setInterval(() => undefined, 1000); // waiting for a change keeps no process alive
  t.teardown(() => clearInterval(alive));
  keeper.watch((tables) => told.resolve(tables));
  await replace(catalogue(clock.now(), 'CVE-2021-44228', 'CVE-2014-0160'));
  t.equal(await told.promise, keeper.tables);
  t.match(facts(keeper), { kev: 1 });
  await keeper.close();
  await rm(file);
});

void t.test('without feeds nothing is watched, and decisions say so', async (t) => {
  const { emit, events } = listening();
  const none = { ...config, files: { kev: [], epss: [], cvss: [] } };
  const keeper = await ThreatKeeper.open(none, clock, emit);
  keeper.watch(() => t.fail('nothing changes'));
  t.equal(facts(keeper), null);
  t.equal(keeper.ageMs, undefined);
  t.strictSame(events, []);
  await keeper.close();
});
