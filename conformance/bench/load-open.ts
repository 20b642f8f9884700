/**
 * Open loop: requests leave at times drawn beforehand, whether or not earlier ones were answered, as independent
 * users do. Latency counts from the time a request was due, so that a stall is charged to all who wait behind it
 * (a closed loop would politely stop asking).
 */
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { Worker } from 'node:worker_threads';
import { ECHO_BODY } from './backend.ts';
import { POST_BYTES } from './load-closed.ts';
import { quantile } from './stats.ts';
import type { Target } from './subjects/subject.ts';

export interface OpenLoad {
  readonly requests: number;
  readonly perSecond: number;
  /** Answers other than a complete 200, and requests without an answer. */
  readonly errors: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const CONNECTIONS = 64;
const body = Buffer.alloc(POST_BYTES, 'x');

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

/** One request. @returns whether the answer was a 200 with the whole body */
function exchange(target: Target, agent: Agent): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = {
      ...target.headers,
      'content-type': 'application/octet-stream',
      'content-length': POST_BYTES,
    };
    const sent = request(target.url, { method: 'POST', agent, headers }, (response) => {
      let length = 0;
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
      });
      response.on('error', () => {
        resolve(false);
      });
      response.on('end', () => {
        resolve(response.statusCode === 200 && length === ECHO_BODY.length);
      });
    });
    sent.on('error', () => {
      resolve(false);
    });
    sent.setTimeout(10_000, () => {
      sent.destroy(new Error('no answer within 10 s'));
    });
    sent.end(body);
  });
}

/** Milliseconds on the clock that all threads of the process share. */
const now = (): number => Number(process.hrtime.bigint()) / 1e6;

export async function openLoop(target: Target, perSecond: number, seconds: number): Promise<OpenLoad> {
  const due = poissonArrivals(perSecond, seconds, seeded(perSecond));
  // First in, first out: every connection is used in turn and none idles into the server's time-out.
  const agent = new Agent({
    keepAlive: true,
    maxSockets: CONNECTIONS,
    maxFreeSockets: CONNECTIONS,
    scheduling: 'fifo',
  });
  const warm = await Promise.all(Array.from({ length: CONNECTIONS }, () => exchange(target, agent)));
  let errors = warm.filter((good) => !good).length;

  const metronome = new Worker(new URL('metronome.ts', import.meta.url), { workerData: due });
  await once(metronome, 'message'); // it runs; thread start-up must not delay the first beats
  const start = now() + 5;
  const latencies: number[] = [];
  const answered: Promise<void>[] = [];
  const send = async (at: number): Promise<void> => {
    const good = await exchange(target, agent);
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
  agent.destroy();
  return {
    requests: CONNECTIONS + due.length,
    perSecond: (due.length / elapsedMs) * 1000,
    errors: errors + (due.length - answered.length),
    p50Ms: latencies.length === 0 ? Number.NaN : quantile(latencies, 0.5),
    p99Ms: latencies.length === 0 ? Number.NaN : quantile(latencies, 0.99),
  };
}
