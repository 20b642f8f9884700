import type { GatewayConfig } from '../../config/config.ts';
import type { EpochMs } from '../../core/clock.ts';
import { inWordsWithPlace } from '../../core/file-errors.ts';
import { contentOf } from '../../node/named-file.ts';
import { parseFeed, type FeedKind } from '../../trust/threat-feed.ts';
import type { Report } from './finding.ts';

const HOUR_MS = 3_600_000;
const ADVICE =
  'have the file fetched again, and put in its place whole (docs/policy-tools.md#threat-intelligence)';

/** A feed that cannot be read stops no gateway: every decision says that it is missing, and is scored so. */
export async function checkThreatFeeds(
  report: Report,
  { threatIntel }: Pick<GatewayConfig, 'threatIntel'>,
  now: EpochMs,
): Promise<void> {
  const { files, maxAgeMs } = threatIntel;
  const check = async (kind: FeedKind, file: string): Promise<void> => {
    const subject = `threat feed ${kind}`;
    try {
      const { publishedAt, entries } = parseFeed(kind, contentOf(file), now);
      const age = now - publishedAt;
      const what = `${file}: ${entries.size} weaknesses, ${Math.max(0, Math.floor(age / HOUR_MS))} hours old`;
      if (age > maxAgeMs) report.warn(subject, what, ADVICE);
      else report.ok(subject, what);
    } catch (thrown) {
      report.warn(subject, `${file}: ${inWordsWithPlace(thrown)}`, ADVICE);
    }
  };
  for (const kind of ['kev', 'epss', 'cvss'] as const)
    for (const file of files[kind]) await check(kind, file);
}
