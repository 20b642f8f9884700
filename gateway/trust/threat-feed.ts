// Threat feeds as they are published: CISA's catalogue of known exploited vulnerabilities (JSON), FIRST's EPSS (JSON of the
// API, CSV of the daily file) and NVD's CVSS (JSON of the CVE API 2.0). Of each only what is used is looked at; that is
// read strictly, because a feed that is read half would say "nothing known".
import type { EpochMs } from '../core/clock.ts';
import { parseCve, type CveNumber } from '../core/cve.ts';
import { MalformedBytes, quoted } from '../core/errors.ts';
import { requireFewValues } from '../core/few-values.ts';
import { isObject } from './canonical.ts';
import type { Ratings, ThreatTables } from './threat.ts';

export type FeedKind = 'kev' | 'epss' | 'cvss';

/** One feed as it was read. */
export interface Feed {
  readonly kind: FeedKind;
  readonly publishedAt: EpochMs;
  /** Value by CVE; 0 in a catalogue that gives none. */
  readonly entries: ReadonlyMap<CveNumber, number>;
}

/** EPSS rates some 300,000 weaknesses in 10 MB. */
export const MAX_FEED_BYTES = 64 << 20;
const MAX_ENTRIES = 1_000_000;
/** EPSS in JSON has five for each weakness, NVD one in some 25 bytes; a hostile feed makes 500 MB of so many. */
const MAX_VALUES = 3_000_000;
/** Clocks differ; a feed from further ahead is none. */
const SKEW_MS = 24 * 3_600_000;

/** @throws MalformedBytes saying where */
export function parseFeed(kind: FeedKind, bytes: Uint8Array, now: EpochMs): Feed {
  if (bytes.length > MAX_FEED_BYTES) throw new MalformedBytes(`is larger than ${MAX_FEED_BYTES} bytes`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MalformedBytes('not text in UTF-8', { cause });
  }
  const feed =
    kind === 'epss' && text.startsWith('#') ? readEpssCsv(text) : READERS[kind](parseJson(text, bytes));
  if (feed.entries.size === 0) throw new MalformedBytes('names no weakness at all');
  if (feed.publishedAt > now + SKEW_MS) throw new MalformedBytes('was published in the future');
  return feed;
}

function parseJson(text: string, bytes: Uint8Array): Json {
  requireFewValues(bytes, MAX_VALUES);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MalformedBytes('not JSON', { cause });
  }
  if (!isObject(value)) throw new MalformedBytes('not a JSON object');
  return value;
}

type Json = Readonly<Record<string, unknown>>;

const READERS: Readonly<Record<FeedKind, (root: Json) => Feed>> = {
  kev: (root) => {
    const entries = new Entries();
    for (const [at, row] of rows(root, 'vulnerabilities')) entries.add(cveOf(row['cveID'], at), 0);
    return { kind: 'kev', publishedAt: time(root['dateReleased'], 'dateReleased'), entries: entries.all };
  },
  epss: (root) => {
    const entries = new Entries();
    let oldest = Infinity;
    for (const [at, row] of rows(root, 'data')) {
      entries.add(cveOf(row['cve'], at), permille(row['epss'], at));
      oldest = Math.min(oldest, time(row['date'], `${at}.date`));
    }
    return { kind: 'epss', publishedAt: oldest, entries: entries.all };
  },
  cvss: (root) => {
    const entries = new Entries();
    for (const [at, row] of rows(root, 'vulnerabilities')) {
      const { cve } = row;
      if (!isObject(cve)) throw new MalformedBytes(`${at}.cve: not an object`);
      const tenths = baseScore(cve['metrics'], at);
      if (tenths !== undefined) entries.add(cveOf(cve['id'], at), tenths);
    }
    return { kind: 'cvss', publishedAt: time(root['timestamp'], 'timestamp'), entries: entries.all };
  },
};

/** `#model_version:…,score_date:…`, `cve,epss,percentile`, then a line for each. */
function readEpssCsv(text: string): Feed {
  const [head = '', columns = '', ...lines] = text.split(/\r?\n/, MAX_ENTRIES + 4);
  if (lines.length > MAX_ENTRIES + 1) throw new MalformedBytes(`has more than ${MAX_ENTRIES} lines`);
  const date = /\bscore_date:([^,]+)/.exec(head)?.[1];
  if (columns !== 'cve,epss,percentile') throw new MalformedBytes('line 2: not cve,epss,percentile');
  const entries = new Entries();
  for (const [i, line] of lines.entries()) {
    if (line === '' && i === lines.length - 1) break;
    const [cve, epss] = line.split(',', 2);
    const at = `line ${i + 3}`;
    entries.add(cveOf(cve, at), permille(epss, at));
  }
  return { kind: 'epss', publishedAt: time(date, 'line 1: score_date'), entries: entries.all };
}

/** The worst value that is given for a CVE counts. */
class Entries {
  readonly all = new Map<CveNumber, number>();

  add(cve: CveNumber, value: number): void {
    this.all.set(cve, Math.max(this.all.get(cve) ?? 0, value));
    if (this.all.size > MAX_ENTRIES) throw new MalformedBytes(`names more than ${MAX_ENTRIES} weaknesses`);
  }
}

function* rows(root: Json, name: string): Generator<readonly [string, Json]> {
  const list = root[name];
  if (!Array.isArray(list)) throw new MalformedBytes(`${name}: not a list`);
  for (const [i, row] of list.entries()) {
    const value: unknown = row;
    if (!isObject(value)) throw new MalformedBytes(`${name}[${i}]: not an object`);
    yield [`${name}[${i}]`, value];
  }
}

function cveOf(raw: unknown, at: string): CveNumber {
  const cve = typeof raw === 'string' ? parseCve(raw) : undefined;
  if (cve === undefined) throw new MalformedBytes(`${at}: ${quoted(String(raw))} is not the id of a CVE`);
  return cve;
}

function time(raw: unknown, at: string): EpochMs {
  // EPSS writes +0000, NVD no zone at all; both mean UTC.
  const text = typeof raw === 'string' ? raw.replace(/\+0000$/, 'Z') : '';
  const iso = /^\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?$/.test(text);
  const parsed = iso ? Date.parse(/T[\d:.]+$/.test(text) ? `${text}Z` : text) : Number.NaN;
  if (Number.isNaN(parsed)) throw new MalformedBytes(`${at}: not a date of ISO 8601`);
  return parsed;
}

/** EPSS gives a probability as decimal text. Rounded up: what is rare is not impossible. */
function permille(raw: unknown, at: string): number {
  const value = typeof raw === 'string' && /^[01](?:\.\d{1,12})?$/.test(raw) ? Number(raw) : Number.NaN;
  if (!(value <= 1)) throw new MalformedBytes(`${at}: epss is not a number from 0 to 1`);
  return Math.ceil(value * 1000);
}

/** Worst base score over all versions and sources. @returns undefined when nobody has rated it yet */
function baseScore(metrics: unknown, at: string): number | undefined {
  if (metrics === undefined) return undefined;
  if (!isObject(metrics)) throw new MalformedBytes(`${at}.cve.metrics: not an object`);
  let tenths: number | undefined;
  for (const [name, list] of Object.entries(metrics)) {
    if (!name.startsWith('cvssMetric')) continue;
    if (!Array.isArray(list)) throw new MalformedBytes(`${at}.cve.metrics.${quoted(name)}: not a list`);
    for (const metric of list as readonly unknown[]) {
      const data = isObject(metric) ? metric['cvssData'] : undefined;
      const score = isObject(data) ? data['baseScore'] : undefined;
      if (typeof score !== 'number' || !(score >= 0 && score <= 10))
        throw new MalformedBytes(`${at}.cve.metrics: baseScore is not a number from 0 to 10`);
      tenths = Math.max(tenths ?? 0, Math.round(score * 10));
    }
  }
  return tenths;
}

/**
 * All feeds as tables to look up in.
 * @param complete false when a configured feed could not be read: then nobody can say how old our knowledge is
 */
export function tablesOf(feeds: readonly Feed[], complete: boolean): ThreatTables {
  const of = (kind: FeedKind): Ratings | undefined => {
    const merged = new Entries();
    const own = feeds.filter((feed) => feed.kind === kind);
    for (const { entries } of own) for (const [cve, value] of entries) merged.add(cve, value);
    if (own.length === 0) return undefined;
    const cves = Float64Array.from(merged.all.keys()).toSorted();
    return { cves, values: Uint16Array.from(cves, (cve) => merged.all.get(cve) ?? 0) };
  };
  return {
    configured: true,
    exploited: of('kev')?.cves,
    cvss: of('cvss'),
    epss: of('epss'),
    publishedAt:
      complete && feeds.length > 0 ? Math.min(...feeds.map(({ publishedAt }) => publishedAt)) : undefined,
  };
}
