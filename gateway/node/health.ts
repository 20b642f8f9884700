import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock, EpochMs } from '../core/clock.ts';
import type { EvidenceLog } from '../evidence/log.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { RegistryFile } from '../registry/file.ts';
import type { MetricSources } from '../telemetry/gateway-metrics.ts';
import type { Bundle } from '../trust/bundle.ts';

/** What decides whether anything is admitted. The log opens after telemetry, which reports on it. */
export interface Readiness {
  log: EvidenceLog | undefined;
  stopping: boolean;
}

export function refusalOf({ log, stopping }: Readiness): RefusalCode | undefined {
  if (stopping) return 'gateway.draining';
  return log?.health.ok === true ? undefined : 'evidence.unavailable';
}

/** For `/readyz`: every reason, in words. */
export function reasonsOf({ log, stopping }: Readiness, registryFile: RegistryFile, now: EpochMs): string[] {
  const reasons: string[] = [];
  if (stopping) reasons.push('stopping');
  if (log === undefined) reasons.push('the evidence log is not open yet');
  else if (!log.health.ok) reasons.push(`evidence log: ${log.health.reason}`);
  if (now >= registryFile.current.expiresAt) reasons.push('the registry has expired');
  return reasons;
}

/** What the metrics page asks for when it is read. */
export function metricSources(
  readiness: Readiness,
  registryFile: RegistryFile,
  bundle: Bundle,
  clock: Clock,
  software: string,
): MetricSources {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  const startedAtSeconds = clock.now() / 1000;
  return {
    process: () => {
      const { user, system } = process.cpuUsage();
      const { rss, heapUsed } = process.memoryUsage();
      const loopDelaySeconds = delay.percentile(99) / 1e9;
      delay.reset();
      return {
        cpuSeconds: (user + system) / 1e6,
        residentBytes: rss,
        heapBytes: heapUsed,
        startedAtSeconds,
        loopDelaySeconds,
      };
    },
    ready: () => reasonsOf(readiness, registryFile, clock.now()).length === 0,
    logSize: () => readiness.log?.size ?? 0n,
    registry: () => ({ version: registryFile.current.version, expiresAtMs: registryFile.current.expiresAt }),
    build: () => ({ software, node: process.version, openssl: process.versions.openssl }),
    policy: () => ({ bundle: bundle.digest, revision: bundle.revision }),
  };
}
