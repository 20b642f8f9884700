// Threat intelligence as facts of the policy's input: what is publicly known of the weaknesses that machines report.
import type { EpochMs } from '../core/clock.ts';
import type { CveNumber } from '../core/cve.ts';

/** Ratings by CVE: sorted ids, and beside each its value. Plain arrays, so that they go to another thread as they are. */
export interface Ratings {
  readonly cves: Float64Array;
  readonly values: Uint16Array;
}

/** All configured feeds together. */
export interface ThreatTables {
  readonly configured: boolean;
  /** Known to be exploited (CISA KEV), sorted; undefined when there is no such feed. */
  readonly exploited: Float64Array | undefined;
  /** CVSS base score in tenths, 0 to 100. */
  readonly cvss: Ratings | undefined;
  /** EPSS probability in thousandths, rounded up, 0 to 1000. */
  readonly epss: Ratings | undefined;
  /** When the oldest of them was published; undefined when a configured one is missing. */
  readonly publishedAt: EpochMs | undefined;
}

/** `threat` of the policy's input. Members stand in alphabetical order (RFC 8785). */
export interface ThreatFacts {
  /** Full hours since the oldest feed was published; null when one is missing. */
  readonly age_hours: number | null;
  /** Worst CVSS base score in tenths of what the machines report: 0 for nothing, null where nobody knows. */
  readonly cvss_tenths: number | null;
  /** Worst EPSS in thousandths, in the same way. */
  readonly epss_permille: number | null;
  /** How many reported weaknesses are known to be exploited. */
  readonly kev: number;
}

export const NO_FEEDS: ThreatTables = {
  configured: false,
  exploited: undefined,
  cvss: undefined,
  epss: undefined,
  publishedAt: undefined,
};

const HOUR_MS = 3_600_000;

/** What the feeds say. Asked for every request: a few binary searches. */
export class ThreatIntel {
  readonly #tables: ThreatTables;

  constructor(tables: ThreatTables = NO_FEEDS) {
    this.#tables = tables;
  }

  /** Is it in use by attackers, as far as the feed knows? */
  isExploited(cve: CveNumber): boolean {
    const { exploited } = this.#tables;
    return exploited !== undefined && indexOf(exploited, cve) >= 0;
  }

  /** Full hours since the oldest feed was published; null when one is missing, or none is configured. */
  ageHours(now: EpochMs): number | null {
    const { publishedAt } = this.#tables;
    return publishedAt === undefined ? null : Math.max(0, Math.floor((now - publishedAt) / HOUR_MS));
  }

  /**
   * @param cves what the machines of one request report
   * @param silent one of them does not say, or there is none: then nothing is no 0
   * @param now of the decision
   * @returns null: no feed is configured
   */
  facts(cves: readonly CveNumber[], silent: boolean, now: EpochMs): ThreatFacts | null {
    const { configured, cvss, epss } = this.#tables;
    if (!configured) return null;
    return {
      age_hours: this.ageHours(now),
      cvss_tenths: worst(cves, silent, cvss),
      epss_permille: worst(cves, silent, epss),
      kev: new Set(cves.filter((cve) => this.isExploited(cve))).size,
    };
  }
}

function worst(cves: readonly CveNumber[], silent: boolean, ratings: Ratings | undefined): number | null {
  if (ratings === undefined) return null;
  if (cves.length === 0) return silent ? null : 0;
  let found: number | null = null;
  for (const cve of cves) {
    const value = ratings.values[indexOf(ratings.cves, cve)];
    if (value !== undefined && (found === null || value > found)) found = value;
  }
  return found;
}

/** @returns -1 when it is not there */
function indexOf(sorted: Float64Array, wanted: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const at = sorted[middle] ?? Infinity;
    if (at === wanted) return middle;
    if (at < wanted) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
