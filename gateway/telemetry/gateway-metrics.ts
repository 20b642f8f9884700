import { isRefusalCode, REFUSALS, type Fault, type RefusalCode } from '../core/refusals.ts';
import { MetricsPage } from './metrics.ts';

// Object.keys forgets what it knows about a constant table.
const CODES = Object.keys(REFUSALS).filter(isRefusalCode);
const ROLES = ['consumer', 'provider'] as const;
const SIDES = ['client', 'server'] as const;

/** How an exchange ended, in T-Road's classes. An error status of the provider's service is `ok` here: it was carried. */
export const ENDS = ['ok', 'requester', 'provider', 'gateway'] as const satisfies readonly ('ok' | Fault)[];

/** From one millisecond on loopback to the two minutes a provider has. Seconds. */
const EXCHANGE_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
];
const BATCH_MESSAGES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const SYNC_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];

/** Facts about one thread, which only who runs it may ask for. */
export interface ThreadFacts {
  readonly heapBytes: number;
  /** How long the thread has stood still for the collector. */
  readonly collectorSeconds: number;
  /** 99th percentile since the last call. */
  readonly loopDelaySeconds: number;
}

/** Facts about the process. */
export interface ProcessFacts {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly startedAtSeconds: number;
}

/** Counts what bundles in the shadow would have decided. */
export interface ShadowCounts {
  /**
   * `same`: result for result. `allows`, `denies`: the other way round than the one in force. `other`: the same, for other
   * reasons or with other duties. `failed`: no decision. `dropped`: not evaluated, because too much waited.
   */
  add(labels: {
    readonly bundle: string;
    readonly outcome: 'same' | 'allows' | 'denies' | 'other' | 'failed' | 'dropped';
    /** Why one of the two denies. */
    readonly reason: string;
  }): void;
}

/** What a worker's metrics ask for when they are read. */
export interface WorkerSources {
  readonly thread: () => ThreadFacts;
  logSize(): bigint;
}

/** What the metrics of the whole process ask for. */
export interface ProcessSources {
  readonly thread: () => ThreadFacts;
  process(): ProcessFacts;
  ready(): boolean;
  workers(): { readonly open: number; readonly lost: number };
  registry(): { readonly version: number; readonly expiresAtMs: number };
  build(): Readonly<Record<string, string>>;
  policy(): Readonly<Record<string, string>>;
  /** Longest time since an attestation service was heard, seconds. */
  feedSilence(): number;
  /** Age of the oldest threat feed, seconds. Infinity: one could never be read. Undefined: none is configured. */
  threatAge(): number | undefined;
}

/** What a worker counts. A test keeps this list, the one below and the operator's manual together. */
export function workerMetrics(sources: WorkerSources) {
  const page = new MetricsPage();
  const metrics = {
    page,
    exchanges: page.counter('troad_exchanges', 'Exchanges that ended, by outcome (ok or the refusal code).', {
      role: ROLES,
      out: ['ok', ...CODES] as readonly ('ok' | RefusalCode)[],
    }),
    inFlight: page.gauge('troad_exchanges_in_flight', 'Exchanges running now.', { role: ROLES }),
    exchangeSeconds: page.histogram(
      'troad_exchange_seconds',
      'Time from the head of a request to the last byte of its answer, by who has to change something.',
      { role: ROLES, end: ENDS },
      EXCHANGE_SECONDS,
    ),
    bytes: page.counter('troad_exchange_bytes', 'Content carried.', {
      role: ROLES,
      direction: ['request', 'response'] as const,
    }),
    rechecks: page.counter(
      'troad_policy_rechecks',
      'Running exchanges that were decided on again, by what became of them.',
      { outcome: ['goes_on', 'ended'] as const },
    ),
    unidentified: page.counter('troad_unidentified_refusals', 'Refused before anyone was identified.', {
      code: CODES,
    }),
    sessions: page.gauge('troad_link_sessions', 'Sessions with other gateways open now.', { side: SIDES }),
    sessionsOpened: page.counter(
      'troad_link_sessions_opened',
      'Sessions opened, by whether the key exchange was hybrid post-quantum.',
      {
        side: SIDES,
        hybrid: ['yes', 'no', 'unknown'] as const, // the accepting side of TLS cannot see the group
      },
    ),
    sessionsBroken: page.counter('troad_link_sessions_broken', 'Sessions broken off by us.', { side: SIDES }),
    peersRefused: page.counter('troad_link_peers_refused', 'Connections that did not become a session.', {
      side: SIDES,
    }),
    batches: page.histogram(
      'troad_signature_messages',
      'Messages of ours that one signature serves.',
      {},
      BATCH_MESSAGES,
    ),
    records: page.counter('troad_evidence_records', 'Records made durable in the evidence log.', {}),
    recordBytes: page.counter('troad_evidence_bytes', 'Bytes written to the evidence log.', {}),
    commitSeconds: page.histogram(
      'troad_evidence_commit_seconds',
      'Write and sync of one batch of records.',
      {},
      SYNC_SECONDS,
    ),
    evidenceAvailable: page.gauge(
      'troad_evidence_available',
      '1 while the evidence logs of all workers take records.',
      {},
      'least',
    ),
    softwareTpms: page.gauge(
      'troad_device_software_tpms',
      '1 when results about TPMs that are programs have counted: for laboratories only.',
      {},
      'greatest',
    ),
    shadows: page.tally(
      'troad_policy_shadow',
      'Decisions of bundles that are not in force, beside those of the one that is.',
    ) satisfies ShadowCounts,
    checkpointSize: page.gauge(
      'troad_evidence_checkpoint_size',
      'Tree size of the latest signed checkpoint, all logs together.',
      {},
    ),
  };
  page.observed('gauge', 'troad_evidence_size', 'Records in the evidence logs.', () =>
    Number(sources.logSize()),
  );
  observeThread(page, sources);
  return metrics;
}

/** What is said of the process as a whole. */
export function processMetrics(sources: ProcessSources): MetricsPage {
  const page = new MetricsPage();
  const observed: MetricsPage['observed'] = (...declaration) => page.observed(...declaration);
  observed('gauge', 'troad_ready', '1 while exchanges are admitted.', () => Number(sources.ready()));
  observed('gauge', 'troad_workers', 'Workers that carry exchanges now.', () => sources.workers().open);
  observed(
    'counter',
    'troad_workers_lost_total',
    'Workers that ended unasked, or were ended for a policy that did not.',
    () => sources.workers().lost,
  );
  observed(
    'gauge',
    'troad_registry_version',
    'Version of the registry in use.',
    () => sources.registry().version,
  );
  observed(
    'gauge',
    'troad_registry_expires_seconds',
    'When the registry in use expires, seconds since 1970.',
    () => sources.registry().expiresAtMs / 1000,
  );
  observed(
    'gauge',
    'troad_device_feed_silence_seconds',
    'Longest time since an attestation service that is asked for revocations was heard; 0 without one.',
    () => sources.feedSilence(),
  );
  observed(
    'gauge',
    'troad_threat_feed_age_seconds',
    'Age of the oldest threat feed; +Inf while a configured one could never be read, absent without feeds.',
    () => sources.threatAge(),
  );
  page.info('troad_build_info', 'Versions.', () => sources.build());
  page.info('troad_policy_info', 'Policy bundle in use.', () => sources.policy());
  // One look serves the whole page.
  let facts: ProcessFacts | undefined;
  const read = (key: keyof ProcessFacts): number => (facts ?? sources.process())[key];
  observed('counter', 'process_cpu_seconds_total', 'User and system CPU time.', () => {
    facts = sources.process();
    return facts.cpuSeconds;
  });
  observed('gauge', 'process_resident_memory_bytes', 'Resident memory.', () => read('residentBytes'));
  observed('gauge', 'process_start_time_seconds', 'Start of the process, seconds since 1970.', () =>
    read('startedAtSeconds'),
  );
  observeThread(page, sources);
  return page;
}

function observeThread(page: MetricsPage, { thread }: { readonly thread: () => ThreadFacts }): void {
  // Reading the loop delay resets it.
  let facts: ThreadFacts | undefined;
  page.observed(
    'gauge',
    'nodejs_heap_size_used_bytes',
    'JavaScript heap in use, all threads together.',
    () => {
      facts = thread();
      return facts.heapBytes;
    },
  );
  page.observed(
    'counter',
    'nodejs_gc_seconds_total',
    'Time threads stood still for the garbage collector, all threads together.',
    () => (facts ?? thread()).collectorSeconds,
  );
  page.observed(
    'gauge',
    'nodejs_eventloop_lag_p99_seconds',
    '99th percentile of event loop delay since the last reading, looked at five times a second, of the slowest thread.',
    () => (facts ?? thread()).loopDelaySeconds,
    'greatest',
  );
}
