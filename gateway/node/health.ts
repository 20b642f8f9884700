import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import type { EvidenceLog } from '../evidence/log.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { ProcessFacts, ThreadFacts } from '../telemetry/gateway-metrics.ts';
import { clock } from './clock.ts';

/** What decides whether a worker admits anything. The log opens after telemetry, which reports on it. */
export interface Readiness {
  log: EvidenceLog | undefined;
  stopping: boolean;
  /** Undefined where there are none. */
  readonly replicas: { readonly trouble: string | undefined } | undefined;
}

export function refusalOf({ log, stopping, replicas }: Readiness): RefusalCode | undefined {
  if (stopping) return 'gateway.draining';
  if (replicas?.trouble !== undefined) return 'gateway.replicas';
  return log?.health.ok === true ? undefined : 'evidence.unavailable';
}

/** Every reason, in words. */
export function reasonsOf(
  { log, stopping, replicas }: Readiness,
  policyTrouble: string | undefined,
): string[] {
  const reasons: string[] = [];
  if (stopping) reasons.push('stopping');
  if (log === undefined) reasons.push('the evidence log is not open yet');
  else if (!log.health.ok) reasons.push(`evidence log: ${log.health.reason}`);
  if (replicas?.trouble !== undefined) reasons.push(replicas.trouble);
  if (policyTrouble !== undefined) reasons.push(policyTrouble);
  return reasons;
}

/** Each look wakes the thread, so that a gateway at rest pays for every one. */
const LOOK_MS = 200;

type Delay = Pick<ReturnType<typeof monitorEventLoopDelay>, 'percentile' | 'reset'>;

/**
 * Facts about the thread that calls this.
 * @param delay times between two looks, in nanoseconds
 */
export function threadFacts(delay: Delay = loopDelay()): () => ThreadFacts {
  let collectorMs = 0;
  // Told between two turns of the loop, some times a second under load.
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) collectorMs += duration;
  }).observe({ entryTypes: ['gc'] });
  return () => {
    const lateMs = Math.max(0, delay.percentile(99) / 1e6 - LOOK_MS);
    delay.reset();
    const heapBytes = process.memoryUsage().heapUsed;
    return { heapBytes, collectorSeconds: collectorMs / 1000, loopDelaySeconds: lateMs / 1000 };
  };
}

function loopDelay(): Delay {
  const delay = monitorEventLoopDelay({ resolution: LOOK_MS });
  delay.enable();
  return delay;
}

export function processFacts(): () => ProcessFacts {
  const startedAtSeconds = clock.now() / 1000;
  return () => {
    const { user, system } = process.cpuUsage();
    return { cpuSeconds: (user + system) / 1e6, residentBytes: process.memoryUsage.rss(), startedAtSeconds };
  };
}
