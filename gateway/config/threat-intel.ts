import { z } from 'zod';
import type { ConfigFiles } from './files.ts';
import { path } from './values.ts';

/** `threatIntel` of the configuration file. */
export const threatIntel = z.strictObject({
  kev: z
    .array(path)
    .max(4)
    .default([])
    .describe('Files of weaknesses known to be exploited (CISA KEV, JSON).'),
  epss: z
    .array(path)
    .max(16)
    .default([])
    .describe('Files of exploit probabilities (FIRST EPSS: JSON of the API, or the daily CSV unpacked).'),
  cvss: z.array(path).max(256).default([]).describe('Files of CVSS scores (NVD, JSON of the CVE API 2.0).'),
  maxAgeHours: z
    .number()
    .min(1)
    .max(8760)
    .default(48)
    .describe('Older feeds are reported as an event; their age is in every decision.'),
  reloadSeconds: z
    .number()
    .min(1)
    .max(86_400)
    .default(60)
    .describe('How often the files are looked at for a change.'),
});

export interface ThreatIntelConfig {
  /** Paths by kind of feed. */
  readonly files: Readonly<Record<'kev' | 'epss' | 'cvss', readonly string[]>>;
  readonly maxAgeMs: number;
  readonly reloadMs: number;
}

/** A feed that is not there yet is no reason not to start: its absence is in every decision. */
export function assembleThreatIntel(
  document: z.output<typeof threatIntel>,
  files: ConfigFiles,
): ThreatIntelConfig {
  const absolute = (paths: readonly string[]): string[] => paths.map((file) => files.absolute(file));
  const { kev, epss, cvss, maxAgeHours, reloadSeconds } = document;
  return {
    files: { kev: absolute(kev), epss: absolute(epss), cvss: absolute(cvss) },
    maxAgeMs: maxAgeHours * 3_600_000,
    reloadMs: Math.round(reloadSeconds * 1000),
  };
}
