// Threat feeds over real sockets: what the files say stands in the decisions of both gateways, each with its own files. The
// attestation service is ours, and names a weakness.
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { forEachDecision } from '../gateway/author/recorded.ts';
import { parseCve } from '../gateway/core/cve.ts';
import type { MemberId } from '../gateway/core/ids.ts';
import { nodeStorage } from '../gateway/evidence/node-storage.ts';
import type { ThreatFacts } from '../gateway/trust/threat.ts';
import {
  type Answer,
  certificateSha256,
  demanding,
  DeviceConnection,
  republish,
  Verifier,
} from './harness/device-lab.ts';
import { metric, newFolder, requireGoodLogs, startRoad } from './harness/road.ts';

t.setTimeout(600_000);

const ECHO = '/r1/TW/GOV/B07/housing/echo';
const LOG4J = 'CVE-2021-44228';
const HOUR = 3_600_000;
const DEVICE = 'scanned'.padEnd(43, 'x');
const SIDES = { consumer: 'a11', provider: 'b07' } as const;
type Side = keyof typeof SIDES;

const dir = join(newFolder(t), 'road');
const { sandbox, ready, lines } = await startRoad(dir, 1, undefined, {
  threatIntel: { kev: ['kev.json'], epss: ['epss.csv'], cvss: ['cvss.json'], reloadSeconds: 1 },
});
const verifier = new Verifier();
const certificate = {
  cert: readFileSync(ready.consumer.clientCert, 'utf8'),
  key: readFileSync(ready.consumer.clientKey, 'utf8'),
};

async function until<T>(what: string, find: () => Promise<T | undefined>): Promise<T> {
  for (let waited = 0; waited < 60_000; waited += 50) {
    const found = await find();
    if (found !== undefined) return found;
    await pause(50);
  }
  throw new Error(`${what}: did not happen`);
}

/** As a job that fetches feeds should do it: never half a file. */
async function publish(side: Side, name: string, content: string): Promise<void> {
  const file = join(dir, 'agencies', SIDES[side], name);
  await writeFile(`${file}.new`, content);
  await rename(`${file}.new`, file);
}

const ago = (hours: number): string => new Date(Date.now() - hours * HOUR).toISOString();
const kev = (hours: number, ...ids: string[]): string =>
  JSON.stringify({ dateReleased: ago(hours), vulnerabilities: ids.map((cveID) => ({ cveID })) });
const EPSS = `#model_version:v2025.03.14,score_date:${ago(2)}\ncve,epss,percentile\n${LOG4J},0.97496,0.99999\n`;
const CVSS = JSON.stringify({
  timestamp: ago(1),
  vulnerabilities: [
    { cve: { id: LOG4J, metrics: { cvssMetricV31: [{ type: 'Primary', cvssData: { baseScore: 10 } }] } } },
  ],
});

/** The machine's next request, on a connection of its own. */
async function request(): Promise<Answer> {
  const ca = readFileSync(ready.consumer.ca, 'utf8');
  const connection = await DeviceConnection.open(ready.consumer.tlsUrl, ca, certificate);
  try {
    const token = verifier.result({
      certificate: certificateSha256(certificate.cert),
      audience: 'gw.a11.tw.troad.example',
      device: DEVICE,
      cves: { os: [parseCve(LOG4J) ?? 0], applications: [] },
    });
    return await connection.get(`${ECHO}/x`, connection.present(token));
  } finally {
    connection.close();
  }
}

interface Decided {
  readonly allow: boolean;
  readonly reasons: readonly string[];
  readonly obligations: Readonly<Record<string, unknown>>;
  readonly threat: ThreatFacts;
  /** Health item of the machine, as the policy got it. */
  readonly os: number;
}

/** The newest recorded decision of a side, with the very input it was made on. */
async function decided(side: Side): Promise<Decided> {
  const all: Decided[] = [];
  await forEachDecision(nodeStorage(), [ready[side].log], {
    decision: ({ policy, input }) => {
      const { threat, device } = JSON.parse(input.toString()); // as our gateway wrote it
      const { allow, reasons = [], obligations = {} } = policy;
      all.push({ allow, reasons, obligations, threat, os: device.health.os });
    },
    bad: ({ detail }) => t.fail(detail),
  });
  const newest = all.at(-1);
  if (newest === undefined) throw new Error(`${side} has decided nothing`);
  return newest;
}

/** Asks until the side has decided by facts that are as wanted. */
const settled = (side: Side, is: (threat: ThreatFacts) => boolean) =>
  until(`${side} decides by the new feed`, async () => {
    const answer = await request();
    const decision = await decided(side);
    return is(decision.threat) ? { answer, decision } : undefined;
  });

await t.test('the registry demands attested machines', async () => {
  const version = await republish(ready, (document) => ({
    attestors: [verifier.row({ members: ['TW/GOV/A11', 'TW/GOV/B07'] as MemberId[] })],
    agreements: demanding(document, {
      echo: { endpoint: { tpm: 'affirming', health: 'warning', residency: 'bound' } },
    }),
  }));
  const loaded = ({ line }: (typeof lines)[number]) =>
    line.event === 'registry.loaded' && line['version'] === version;
  await until('both gateways load it', async () => lines.filter(loaded).length >= 2 || undefined);
});

await t.test('configured feeds that are not there are seen: by decisions, and by the operator', async (t) => {
  t.equal((await request()).status, 200);
  for (const side of ['consumer', 'provider'] as const) {
    t.match(await decided(side), {
      allow: true,
      threat: { age_hours: null, cvss_tenths: null, epss_permille: null, kev: 0 },
      obligations: { extra_logging: true },
    });
    t.equal(await metric(ready[side].admin, 'troad_threat_feed_age_seconds'), Infinity);
  }
});

await t.test('what the feeds say stands in the live records of both gateways', async (t) => {
  for (const side of ['consumer', 'provider'] as const) {
    await publish(side, 'kev.json', kev(side === 'consumer' ? 5 : 30, 'CVE-2014-0160'));
    await publish(side, 'epss.csv', EPSS);
    await publish(side, 'cvss.json', CVSS);
  }
  for (const [side, hours] of [
    ['consumer', 5],
    ['provider', 30],
  ] as const) {
    const { answer, decision } = await settled(
      side,
      ({ age_hours, cvss_tenths, epss_permille }) =>
        age_hours !== null && cvss_tenths !== null && epss_permille !== null,
    );
    t.equal(answer.status, 200);
    t.same(decision.threat, { age_hours: hours, cvss_tenths: 100, epss_permille: 975, kev: 0 }, side);
    t.equal(decision.os, 2, 'weak, but nobody is known to use it');
    const age = await metric(ready[side].admin, 'troad_threat_feed_age_seconds');
    t.ok(age >= hours * 3600 && age < hours * 3600 + 600, `${side}: ${age} s`);
  }
});

await t.test('a feed that is too old counts as none, and is named', async (t) => {
  await publish('provider', 'kev.json', kev(72, 'CVE-2014-0160'));
  const { answer, decision } = await settled('provider', ({ age_hours }) => age_hours === 72);
  t.equal(answer.status, 200);
  t.match(decision.obligations, { extra_logging: true });
  t.notMatch((await decided('consumer')).obligations, { extra_logging: true }, 'its own is fresh');
});

await t.test(
  'a weakness that attackers use takes the machine out, at the gateway that knows it',
  async (t) => {
    await publish('provider', 'kev.json', kev(0, LOG4J));
    const there = await settled('provider', (threat) => threat.kev === 1);
    t.notOk(there.decision.allow);
    t.equal(there.decision.os, 96, 'contraindicated, whatever the attestation service said');
    t.equal(there.answer.status, 403);
    t.ok((await decided('consumer')).allow, 'the consumer has not heard yet');

    await publish('consumer', 'kev.json', kev(0, LOG4J));
    const here = await settled('consumer', (threat) => threat.kev === 1);
    t.notOk(here.decision.allow);
    t.match(here.answer, { status: 403, code: 'device.insufficient' });
  },
);

await t.test('everything is in the logs, and they agree', async (t) => {
  await sandbox.stop();
  requireGoodLogs(t, ready);
});
