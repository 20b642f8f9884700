/**
 * Open loop: requests leave at times drawn beforehand, whether or not earlier ones were answered, as independent
 * users do. Latency counts from the time a request was due, so that a stall is charged to all who wait behind it
 * (a closed loop would politely stop asking).
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { EchoClients } from './echo-clients.ts';
import { quantile } from './stats.ts';
import type { Target } from './subjects/subject.ts';

export interface OpenLoad {
  readonly requests: number;
  readonly perSecond: number;
  /** Answers other than a complete 200, and requests without an answer. */
  readonly errors: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How late 99 % of the requests left at most: our own part of their latencies. */
  readonly lateP99Ms: number;
}

const CONNECTIONS = 64;

/** mulberry32: small, seeded, so that every subject and every run meets the same arrivals. Numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Due times in ms from the start, of a Poisson process of `perSecond`, as many as fall into `seconds`. */
export function poissonArrivals(perSecond: number, seconds: number, random: () => number): Float64Array {
  const due: number[] = [];
  for (let at = 0; ;) {
    at += (-Math.log(1 - random()) / perSecond) * 1000;
    if (at >= seconds * 1000) return Float64Array.from(due);
    due.push(at);
  }
}

/** Milliseconds on the clock that all threads of the process share. */
const now = (): number => Number(process.hrtime.bigint()) / 1e6;

export async function openLoop(target: Target, perSecond: number, seconds: number): Promise<OpenLoad> {
  const due = poissonArrivals(perSecond, seconds, seeded(perSecond));
  const clients = await EchoClients.connect(target, CONNECTIONS);
  const warm = await Promise.all(Array.from({ length: CONNECTIONS }, () => clients.exchange()));
  let errors = warm.filter((good) => !good).length;

  const metronome = new Worker(new URL('metronome.ts', import.meta.url), { workerData: due });
  await once(metronome, 'message'); // it runs; thread start-up must not delay the first beats
  const start = now() + 5;
  const latencies: number[] = [];
  const late: number[] = [];
  const answered: Promise<void>[] = [];
  const send = async (at: number): Promise<void> => {
    late.push(now() - at);
    const good = await clients.exchange();
    if (good) latencies.push(now() - at);
    else errors += 1;
  };
  metronome.on('message', (index: number) => {
    const offset = due[index];
    if (offset !== undefined) answered.push(send(start + offset));
  });
  metronome.postMessage(start);
  await once(metronome, 'exit');
  await Promise.all(answered);
  const elapsedMs = now() - start;
  clients.close();
  return {
    requests: CONNECTIONS + due.length,
    perSecond: (due.length / elapsedMs) * 1000,
    errors: errors + (due.length - answered.length),
    p50Ms: latencies.length === 0 ? Number.NaN : quantile(latencies, 0.5),
    p99Ms: latencies.length === 0 ? Number.NaN : quantile(latencies, 0.99),
    lateP99Ms: late.length === 0 ? Number.NaN : quantile(late, 0.99),
  };
}
