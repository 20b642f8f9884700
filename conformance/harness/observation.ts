import type { CoreRecord } from '../../gateway/evidence/record.ts';
import { LogTail } from './log-tail.ts';
import type { Subject } from './sandbox.ts';

export type Side = 'consumer' | 'provider';

/** What the world around the attacker looks like: counted before and after, the difference is what an attack did. */
export interface Observation {
  /** Requests that reached the service. */
  readonly seen: number;
  /** Exchanges running now, in each gateway. */
  readonly inFlight: Readonly<Record<Side, number>>;
  /** Refusals by code, of each gateway. */
  readonly refusals: Readonly<Record<Side, ReadonlyMap<string, number>>>;
  /** The signed logs, each from its beginning. */
  readonly records: Readonly<Record<Side, readonly CoreRecord[]>>;
}

/** Looks at a subject through the doors that its operators and auditors have: metrics, log files, the service itself. */
export class Observer {
  readonly #subject: Subject;
  readonly #tails: Readonly<Record<Side, LogTail>>;

  constructor(subject: Subject) {
    this.#subject = subject;
    const { consumer, provider } = subject.ready;
    this.#tails = { consumer: new LogTail(consumer.log), provider: new LogTail(provider.log) };
  }

  async look(): Promise<Observation> {
    const { ready } = this.#subject;
    const [seen, page, pageThere, written, writtenThere] = await Promise.all([
      requestsSeen(ready.service.url),
      metrics(ready.consumer.admin),
      metrics(ready.provider.admin),
      this.#tails.consumer.records(),
      this.#tails.provider.records(),
    ]);
    return {
      seen,
      inFlight: { consumer: inFlight(page), provider: inFlight(pageThere) },
      refusals: { consumer: refusals(page), provider: refusals(pageThere) },
      records: { consumer: [...written], provider: [...writtenThere] },
    };
  }
}

async function requestsSeen(serviceUrl: string): Promise<number> {
  const response = await fetch(`${serviceUrl}/__seen`);
  const { count } = (await response.json()) as { count: number }; // the sandbox's own contract
  if (!Number.isInteger(count)) throw new Error('the service does not count');
  return count;
}

/** Families that count refusals, and the label that names the code. */
const COUNTER =
  /^(?:troad_exchanges_total\{.*\bout|troad_unidentified_refusals_total\{.*\bcode)="([a-z_.]+)".*\} (\d+)$/gm;

async function metrics(adminUrl: string): Promise<string> {
  const response = await fetch(`${adminUrl}/metrics`);
  if (response.status !== 200) throw new Error(`metrics: ${response.status}`);
  return response.text();
}

function inFlight(page: string): number {
  let sum = 0;
  for (const [, count] of page.matchAll(/^troad_exchanges_in_flight\{.*\} (\d+)$/gm)) sum += Number(count);
  return sum;
}

function refusals(page: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const [, code = '', count] of page.matchAll(COUNTER)) {
    if (code !== 'ok') counts.set(code, (counts.get(code) ?? 0) + Number(count));
  }
  return counts;
}
