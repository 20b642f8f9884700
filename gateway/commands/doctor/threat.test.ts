import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import t from 'tap';
import { Report } from './finding.ts';
import { checkThreatFeeds } from './threat.ts';

const NOW = Date.UTC(2026, 10, 22, 9);
const HOUR = 3_600_000;
const dir = t.testdir();
const kev = (hours: number): string =>
  JSON.stringify({
    dateReleased: new Date(NOW - hours * HOUR).toISOString(),
    vulnerabilities: [{ cveID: 'CVE-2021-44228' }],
  });

async function examined(...names: readonly string[]) {
  const report = new Report();
  const files = { kev: names.map((name) => `${dir}/${name}`), epss: [], cvss: [] };
  await checkThreatFeeds(report, { threatIntel: { files, maxAgeMs: 48 * HOUR, reloadMs: 1000 } }, NOW);
  return report.findings;
}

void t.test('feeds are read as the gateway reads them', async (t) => {
  t.same(await examined(), [], 'none is configured, and none is missed');
  await writeFile(`${dir}/fresh.json`, kev(5));
  t.match(await examined('fresh.json'), [
    { level: 'ok', subject: 'threat feed kev', what: /fresh\.json: 1 weaknesses, 5 hours old/ },
  ]);
});

void t.test('one that is missing, broken or old is told, and is no reason not to start', async (t) => {
  await writeFile(`${dir}/old.json`, kev(49));
  await writeFile(`${dir}/broken.json`, '{"dateReleased":');
  execFileSync('mkfifo', [`${dir}/pipe`]);
  const findings = await examined('old.json', 'broken.json', 'nowhere.json', 'pipe');
  t.match(findings, [
    { level: 'warn', what: /old\.json: 1 weaknesses, 49 hours old/ },
    { level: 'warn', what: /broken\.json: .*not JSON/ },
    { level: 'warn', what: /nowhere\.json/ },
    { level: 'warn', what: /pipe: is a pipe or a device: name a file/ },
  ]);
  t.ok(findings.every(({ advice }) => advice?.includes('fetched again')));
});
