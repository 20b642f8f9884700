/** Closed loop: a fixed number of clients, each sending its next request as soon as it has its answer. */
import { ECHO_BODY } from './backend.ts';
import { run } from './spawn.ts';
import type { Target } from './subjects/subject.ts';

/** Body length of the requests. */
export const POST_BYTES = 1024;

export interface ClosedLoad {
  readonly requests: number;
  readonly perSecond: number;
  /** Connections that failed, time-outs, and answers of status 400 and above. */
  readonly errors: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What load-closed.lua prints. @throws Error when it did not */
export function parseWrk(output: string): ClosedLoad {
  const line = output.split('\n').findLast((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`wrk printed no result: ${output.slice(-300)}`);
  // The script beside this file printed it; a field that is missing or null becomes NaN and is refused here.
  const raw = JSON.parse(line) as Partial<Record<string, number | null>>;
  const field = (name: string): number => raw[name] ?? Number.NaN;
  const [requests, durationUs, bytes] = [field('requests'), field('durationUs'), field('bytes')] as const;
  const [errors, p50Us, p99Us] = [field('errors'), field('p50Us'), field('p99Us')] as const;
  // No answer at all is a result, too: of a machine that is too busy, while something warms up.
  if (!(durationUs > 0) || Number.isNaN(requests + bytes + errors + p50Us + p99Us)) {
    throw new Error(`wrk: ${line}`);
  }
  // wrk knows statuses from 400 up only: an empty 204 would pass for an answer.
  const short = bytes / requests < ECHO_BODY.length ? requests : 0;
  return {
    requests,
    perSecond: requests / (durationUs / 1e6),
    errors: errors + short,
    p50Ms: p50Us / 1000,
    p99Ms: p99Us / 1000,
  };
}

export async function closedLoop(target: Target, connections: number, seconds: number): Promise<ClosedLoad> {
  const script = new URL('load-closed.lua', import.meta.url).pathname;
  const { stdout } = await run('wrk', [
    ...['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script, target.url],
    ...['--', String(POST_BYTES), ...Object.entries(target.headers).flat()],
  ]);
  return parseWrk(stdout);
}
