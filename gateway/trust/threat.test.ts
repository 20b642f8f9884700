import fc from 'fast-check';
import t from 'tap';
import { utf8 } from '../core/bytes.ts';
import { formatCve, parseCve } from '../core/cve.ts';
import { MAX_FEED_BYTES, parseFeed, tablesOf, type FeedKind } from './threat-feed.ts';
import { ThreatIntel } from './threat.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const cve = (text: string): number => {
  const number = parseCve(text);
  if (number === undefined) throw new Error(text);
  return number;
};

/** As CISA publishes it (cisa.gov/known-exploited-vulnerabilities-catalog), shortened. */
const KEV = {
  title: 'CISA Catalog of Known Exploited Vulnerabilities',
  catalogVersion: '2026.11.20',
  dateReleased: '2026-11-20T17:55:22.3862Z',
  count: 2,
  vulnerabilities: [
    {
      cveID: 'CVE-2021-44228',
      vendorProject: 'Apache',
      product: 'Log4j2',
      dateAdded: '2021-12-10',
      knownRansomwareCampaignUse: 'Known',
      cwes: ['CWE-20'],
    },
    { cveID: 'CVE-2014-0160', vendorProject: 'OpenSSL', product: 'OpenSSL' },
  ],
};
/** As api.first.org/data/v1/epss answers. */
const EPSS = {
  status: 'OK',
  'status-code': 200,
  version: '1.0',
  total: 2,
  offset: 0,
  limit: 100,
  data: [
    { cve: 'CVE-2021-44228', epss: '0.944730000', percentile: '0.999740000', date: '2026-11-21' },
    { cve: 'CVE-2022-27225', epss: '0.001240000', percentile: '0.474350000', date: '2026-11-22' },
  ],
};
/** The daily file of the same, unpacked. */
const EPSS_CSV = `#model_version:v2025.03.14,score_date:2026-11-21T00:00:00+0000
cve,epss,percentile
CVE-2021-44228,0.94473,0.99974
CVE-1999-0001,0.0142,0.79642
`;
/** As services.nvd.nist.gov/rest/json/cves/2.0 answers, shortened. */
const NVD = {
  resultsPerPage: 2,
  startIndex: 0,
  totalResults: 2,
  format: 'NVD_CVE',
  version: '2.0',
  timestamp: '2026-11-21T10:00:00.000',
  vulnerabilities: [
    {
      cve: {
        id: 'CVE-2021-44228',
        metrics: {
          cvssMetricV31: [{ source: 'nvd@nist.gov', type: 'Primary', cvssData: { baseScore: 10 } }],
          cvssMetricV2: [{ cvssData: { baseScore: 9.3 } }],
          ssvcV203: {},
        },
      },
    },
    { cve: { id: 'CVE-2014-0160', metrics: { cvssMetricV31: [{ cvssData: { baseScore: 7.5 } }] } } },
    { cve: { id: 'CVE-2026-0002', metrics: {} } },
    { cve: { id: 'CVE-2026-0003' } },
  ],
};

const feed = (kind: FeedKind, content: unknown) =>
  parseFeed(kind, typeof content === 'string' ? utf8(content) : json(content), NOW);

void t.test('reads feeds as they are published', async (t) => {
  const kev = feed('kev', KEV);
  t.strictSame(kev.publishedAt, Date.UTC(2026, 10, 20, 17, 55, 22, 386));
  t.strictSame([...kev.entries.keys()], [cve('CVE-2021-44228'), cve('CVE-2014-0160')]);
  const api = feed('epss', EPSS);
  t.strictSame([...api.entries.values()], [945, 2], 'thousandths, rounded up');
  t.equal(api.publishedAt, Date.UTC(2026, 10, 21), 'as old as its oldest row');
  const csv = feed('epss', EPSS_CSV);
  t.strictSame([...csv.entries.values()], [945, 15]);
  t.equal(csv.publishedAt, Date.UTC(2026, 10, 21));
  const nvd = feed('cvss', NVD);
  t.strictSame(
    [...nvd.entries.values()],
    [100, 75],
    'the worst rating counts; what is not rated is not there',
  );
  t.equal(nvd.publishedAt, Date.UTC(2026, 10, 21, 10));
});

void t.test('a feed that cannot be read whole is none', async (t) => {
  const row = KEV.vulnerabilities[0];
  const rated = (score: unknown) => ({
    ...NVD,
    vulnerabilities: [{ cve: { id: 'CVE-2026-0001', metrics: { cvssMetricV31: [{ cvssData: { baseScore: score } }] } } }],
  }); // prettier-ignore
  const table: readonly (readonly [string, FeedKind, unknown, RegExp])[] = [
    ['no JSON', 'kev', '{', /not JSON/],
    ['a list', 'kev', [], /not a JSON object/],
    ['no rows', 'kev', { ...KEV, vulnerabilities: undefined }, /vulnerabilities: not a list/],
    ['nothing in it', 'kev', { ...KEV, vulnerabilities: [] }, /no weakness/],
    ['a row that is text', 'kev', { ...KEV, vulnerabilities: [row, 'x'] }, /vulnerabilities\[1\]: not an object/],
    ['no id', 'kev', { ...KEV, vulnerabilities: [{}] }, /vulnerabilities\[0\]: "?undefined"? is not the id/],
    ['another id', 'kev', { ...KEV, vulnerabilities: [{ cveID: 'GHSA-1' }] }, /is not the id of a CVE/],
    ['no date', 'kev', { ...KEV, dateReleased: undefined }, /dateReleased: not a date/],
    ['a date of words', 'kev', { ...KEV, dateReleased: 'yesterday' }, /dateReleased: not a date/],
    ['an impossible date', 'kev', { ...KEV, dateReleased: '2026-13-45' }, /dateReleased: not a date/],
    ['from the future', 'kev', { ...KEV, dateReleased: '2026-11-24' }, /future/],
    ['the feed of another kind', 'epss', KEV, /data: not a list/],
    ['a probability of 2', 'epss', { data: [{ ...EPSS.data[0], epss: '2' }] }, /data\[0\]: epss/],
    ['a probability over 1', 'epss', { data: [{ ...EPSS.data[0], epss: '1.1' }] }, /data\[0\]: epss/],
    ['a probability that is a number', 'epss', { data: [{ ...EPSS.data[0], epss: 0.5 }] }, /data\[0\]: epss/],
    ['a row without date', 'epss', { data: [{ ...EPSS.data[0], date: null }] }, /data\[0\]\.date/],
    ['other columns', 'epss', EPSS_CSV.replace('percentile\n', 'x\n'), /line 2/],
    ['a cut line', 'epss', EPSS_CSV.replace('0.0142,0.79642\n', ''), /line 4: epss/],
    ['an empty line', 'epss', EPSS_CSV.replace('CVE-1999', '\nCVE-1999'), /line 4: /],
    ['a CSV without date', 'epss', EPSS_CSV.replace('score_date', 'date'), /line 1: score_date/],
    ['a score of 11', 'cvss', rated(11), /vulnerabilities\[0\]\.cve\.metrics: baseScore/],
    ['a score of text', 'cvss', rated('9'), /baseScore/],
    ['no CVE', 'cvss', { ...NVD, vulnerabilities: [{}] }, /\.cve: not an object/],
    ['metrics of text', 'cvss', { ...NVD, vulnerabilities: [{ cve: { id: 'CVE-2026-0001', metrics: 'x' } }] }, /metrics: not an object/],
    ['a metric of text', 'cvss', { ...NVD, vulnerabilities: [{ cve: { id: 'CVE-2026-0001', metrics: { cvssMetricV2: 'x' } } }] }, /not a list/],
  ]; // prettier-ignore
  for (const [what, kind, content, message] of table)
    t.throws(() => feed(kind, content), { name: 'MalformedBytes', message }, what);
  t.throws(() => parseFeed('kev', Buffer.from([0x22, 0xc3, 0x28]), NOW), { message: /UTF-8/ });
  t.throws(() => parseFeed('kev', new Uint8Array(MAX_FEED_BYTES + 1), NOW), { message: /larger than/ });
});

void t.test('a hostile feed cannot use up the memory', (t) => {
  // As large as a feed may be. Objects of all of it would be two gigabytes; nothing catches the end of a heap.
  const full = (head: string, flood: string): Uint8Array => {
    const bytes = Buffer.alloc(MAX_FEED_BYTES, flood);
    bytes.write(head);
    return bytes;
  };
  const message = /holds more than 3000000 values/;
  t.throws(() => parseFeed('kev', full('[', '{},'), NOW), { name: 'MalformedBytes', message });
  t.throws(() => parseFeed('cvss', full('[', '[],'), NOW), { name: 'MalformedBytes', message });
  const lines = { name: 'MalformedBytes', message: /has more than 1000000 lines/ };
  const head = '#score_date:2026-11-21\ncve,epss,percentile\n';
  t.throws(() => parseFeed('epss', full(head, '\n'), NOW), lines);
  t.end();
});

void t.test('ids have one spelling', async (t) => {
  t.equal(parseCve('CVE-2021-44228'), 202_100_044_228);
  t.equal(parseCve('CVE-1999-0001'), 199_900_000_001);
  for (const id of ['CVE-2021-44228', 'CVE-1999-0001', 'CVE-2026-12345678']) t.equal(formatCve(cve(id)), id);
  for (const bad of [
    'cve-2021-44228',
    'CVE-2021-1',
    'CVE-2021-044228',
    'CVE-3021-44228',
    ' CVE-2021-44228',
    '',
  ])
    t.equal(parseCve(bad), undefined, bad);
});

void t.test('the facts of a request', async (t) => {
  const intel = new ThreatIntel(
    tablesOf([feed('kev', KEV), feed('epss', EPSS_CSV), feed('cvss', NVD)], true),
  );
  const of = (...ids: string[]) => intel.facts(ids.map(cve), false, NOW);
  t.strictSame(of(), { age_hours: 38, cvss_tenths: 0, epss_permille: 0, kev: 0 }, 'nothing reported');
  t.strictSame(of('CVE-2014-0160', 'CVE-2021-44228', 'CVE-2014-0160'), {
    age_hours: 38,
    cvss_tenths: 100,
    epss_permille: 945,
    kev: 2,
  });
  t.strictSame(
    of('CVE-2026-0002'),
    { age_hours: 38, cvss_tenths: null, epss_permille: null, kev: 0 },
    'reported, and rated by nobody',
  );
  t.strictSame(
    intel.facts([], true, NOW),
    { age_hours: 38, cvss_tenths: null, epss_permille: null, kev: 0 },
    'machines that say nothing',
  );
  t.match(
    intel.facts([cve('CVE-2014-0160')], true, NOW),
    { cvss_tenths: 75, kev: 1 },
    'one machine is silent: what another says counts all the same',
  );
  t.equal(intel.facts([], false, NOW - 48 * 3_600_000)?.age_hours, 0, 'never negative');
});

void t.test('a missing feed is seen in the decision', async (t) => {
  const none = { age_hours: null, cvss_tenths: null, epss_permille: null, kev: 0 };
  t.strictSame(new ThreatIntel(tablesOf([], false)).facts([cve('CVE-2021-44228')], false, NOW), none);
  t.equal(new ThreatIntel().facts([cve('CVE-2021-44228')], false, NOW), null, 'none is configured');
  const partly = new ThreatIntel(tablesOf([feed('kev', KEV)], false));
  t.strictSame(
    partly.facts([cve('CVE-2021-44228')], false, NOW),
    { ...none, kev: 1 },
    'what is known still counts',
  );
});

void t.test('feeds of one kind add up, the worst rating counts, every entry is found', async () => {
  const number = fc.integer({ min: 1, max: 40 }).map((n) => 202_600_000_000 + n);
  const entries = fc.array(fc.tuple(number, fc.integer({ min: 0, max: 1000 })));
  fc.assert(
    fc.property(entries, entries, number, (a, b, asked) => {
      const own = (rows: readonly (readonly [number, number])[]) => {
        const map = new Map<number, number>();
        for (const [key, value] of rows) map.set(key, Math.max(map.get(key) ?? 0, value));
        return { kind: 'epss', publishedAt: NOW, entries: map } as const;
      };
      const intel = new ThreatIntel(tablesOf([own(a), own(b)], true));
      const values = [...a, ...b].filter(([key]) => key === asked).map(([, value]) => value);
      return (
        intel.facts([asked], false, NOW)?.epss_permille === (values.length === 0 ? null : Math.max(...values))
      );
    }),
  );
});
