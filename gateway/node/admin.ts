import { readFileSync } from 'node:fs';
import type { GatewayConfig } from '../config/config.ts';
import type { RegistryFile } from '../registry/file.ts';
import { AdminListener, parseToken } from '../server/admin.ts';
import { processMetrics } from '../telemetry/gateway-metrics.ts';
import { mergeSnapshots } from '../telemetry/merged-metrics.ts';
import { renderPage } from '../telemetry/metrics.ts';
import { SOFTWARE } from './clock.ts';
import type { DeviceLists } from './device-lists.ts';
import { processFacts, threadFacts } from './health.ts';
import type { PolicyKeeper } from './policy-keeper.ts';
import type { ThreatKeeper } from './threat-keeper.ts';
import type { Workers } from './workers.ts';

export interface AdminParts {
  readonly workers: Workers;
  /** Why nothing is admitted, or not by every worker. */
  readonly reasons: () => Promise<string[]>;
  readonly registryFile: RegistryFile;
  readonly policy: PolicyKeeper;
  readonly lists: Pick<DeviceLists, 'silenceMs'>;
  readonly threat: Pick<ThreatKeeper, 'ageMs'>;
}

/** The operator's listener, for all workers together. @throws ConfigError, the system's error for the address */
export function openAdmin(config: GatewayConfig, parts: AdminParts): Promise<AdminListener> {
  const { workers, reasons, registryFile, policy, lists, threat } = parts;
  const { host, port, tokenFile } = config.admin;
  let ready = true;
  const page = processMetrics({
    thread: threadFacts(),
    process: processFacts(),
    ready: () => ready,
    workers: () => workers.count,
    registry: () => ({ version: registryFile.current.version, expiresAtMs: registryFile.current.expiresAt }),
    build: () => ({ software: SOFTWARE, node: process.version, openssl: process.versions.openssl }),
    policy: () => policy.facts,
    feedSilence: () => lists.silenceMs / 1000,
    threatAge: () => (threat.ageMs === undefined ? undefined : threat.ageMs / 1000),
  });
  return AdminListener.listen({
    host,
    port,
    ...(tokenFile === undefined ? {} : { token: parseToken(readFileSync(tokenFile, 'utf8')) }),
    notReady: reasons,
    metrics: async () => {
      const [counts, notReady] = await Promise.all([workers.metrics(), reasons()]);
      ready = notReady.length === 0;
      return renderPage(mergeSnapshots([counts, page.snapshot()]));
    },
    logs: config.workers,
    checkpoint: (worker) => workers.checkpoint(worker),
  });
}
