import { Agent } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { batchingBetween, type Batching, type Counted } from './batching.ts';
import { download, upload, type Transfer } from './bulk.ts';
import { gauged, type Surroundings } from './gauge.ts';
import { PART_BYTES, type Lab } from './lab.ts';
import { closedLoop } from './load-closed.ts';
import { openLoop } from './load-open.ts';
import { cellName, connectionsOf, type Cell } from './plan.ts';
import { cpuMs, since, sum, treeCpu, type CpuTime } from './procfs.ts';
import { median } from './stats.ts';
import type { Gateway, Subject, Target } from './subjects/subject.ts';

const GIB = 2 ** 30;

/** Names of what a measurement may yield; the unit is in the name. `cpuUs` is per request, MB are 10^6 bytes. */
export type FigureName =
  | 'cpuUs'
  | 'cpuSecondsPerGiB'
  | 'perSecond'
  | 'mbPerSecond'
  | 'p50Ms'
  | 'p99Ms'
  | 'lateP99Ms'
  | 'firstByteMs';
export type Figures = Readonly<Partial<Record<FigureName, number>>>;

/** What one load gave, before CPU time is known. */
interface Loaded {
  readonly exchanges: number;
  /** Answers that were not a complete 200 with the right bytes. */
  readonly errors: number;
  /** Body bytes, for loads whose CPU time is counted by the byte. */
  readonly bulkBytes?: number;
  readonly figures: Figures;
}

/** One subject under one load, once. */
export interface Sample {
  readonly cell: string;
  readonly subject: string;
  readonly round: number;
  readonly exchanges: number;
  readonly errors: number;
  readonly figures: Figures;
  /** CPU time as counted, not corrected by the calibration. */
  readonly cpu: Readonly<Partial<Record<Gateway['role'], CpuTime>>>;
  /** Of gateways that sign and record. */
  readonly batching: Readonly<Partial<Record<Gateway['role'], Batching>>>;
  readonly surroundings: Surroundings;
}

const failures = (transfers: readonly Transfer[]): number =>
  transfers.filter(({ status, same }) => status !== 200 || !same).length;

async function bulk(
  subject: Subject,
  lab: Lab,
  { direction, streams, transfers: count }: Cell & { readonly load: 'bulk' },
): Promise<Loaded> {
  const transfer = (): Promise<Transfer> =>
    direction === 'get'
      ? download(subject.target('bench', '/payload'), lab.payload.bytes)
      : upload(subject.target('sink', '/swallow'), lab.payload);
  const transfers: Transfer[] = [];
  let elapsedMs = 0;
  for (let n = 0; n < count; n += 1) {
    const together = await Promise.all(Array.from({ length: streams }, transfer));
    transfers.push(...together);
    elapsedMs += Math.max(...together.map((each) => each.elapsedMs)); // they began at once
  }
  const bytes = transfers.reduce((total, each) => total + each.bytes, 0);
  return {
    exchanges: transfers.length,
    errors: failures(transfers),
    bulkBytes: bytes,
    figures: { mbPerSecond: bytes / 1e6 / (elapsedMs / 1000) },
  };
}

async function firstByte(subject: Subject, lab: Lab, count: number): Promise<Loaded> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const transfers: Transfer[] = [];
  for (let n = 0; n <= count; n += 1) {
    transfers.push(
      await download(subject.target('bench', '/part'), lab.payload.bytes.subarray(0, PART_BYTES), { agent }),
    );
  }
  agent.destroy();
  const warm = transfers.slice(1); // the first one opened the connection
  return {
    exchanges: transfers.length,
    errors: failures(transfers),
    figures: { firstByteMs: median(warm.map(({ firstByteMs }) => firstByteMs)) },
  };
}

async function load(cell: Cell, subject: Subject, lab: Lab, user: Target): Promise<Loaded> {
  switch (cell.load) {
    case 'closed':
    case 'churn': {
      const { requests, errors, ...figures } = await closedLoop(user, cell.connections, cell.seconds);
      return { exchanges: requests, errors, figures };
    }
    case 'open': {
      const { requests, errors, ...figures } = await openLoop(user, cell.perSecond, cell.seconds);
      return { exchanges: requests, errors, figures };
    }
    case 'bulk':
      return bulk(subject, lab, cell);
    case 'first-byte':
      return firstByte(subject, lab, cell.transfers);
  }
}

const cpuOf = ({ gateways }: Subject): [Gateway['role'], CpuTime][] =>
  gateways.map(({ role, pid }) => [role, treeCpu([pid])]);

const countsOf = async ({ gateways }: Subject): Promise<ReadonlyMap<Gateway['role'], Counted>> =>
  new Map(
    await Promise.all(
      gateways.flatMap(({ role, counted }) =>
        counted === undefined ? [] : [counted().then((counts) => [role, counts] as const)],
      ),
    ),
  );

/**
 * Measures one subject under one load.
 * @param normalMs what the calibration job took when the run began; CPU figures are divided by the drift from it
 */
export async function measure(
  cell: Cell,
  subject: Subject,
  lab: Lab,
  round: number,
  normalMs: number,
): Promise<Sample> {
  const user = await subject.userTarget(connectionsOf(cell)); // may sign in: not part of the load
  const countedBefore = await countsOf(subject);
  const before = new Map(cpuOf(subject));
  const pids = subject.gateways.map(({ pid }) => pid);
  const { result, surroundings } = await gauged(pids, async () => {
    const loaded = await load(cell, subject, lab, user);
    await delay(100); // what a gateway still does for these requests after the last answer is part of their price
    return loaded;
  });
  const cpu = Object.fromEntries(
    cpuOf(subject).map(([role, after]) => [role, since(before.get(role) ?? after, after)]),
  );
  const countedAfter = await countsOf(subject);
  const totalMs = cpuMs(sum(...Object.values(cpu))) * (normalMs / surroundings.calibrationMs);
  const perUnit: Figures =
    subject.gateways.length === 0 || cell.load === 'first-byte'
      ? {}
      : result.bulkBytes === undefined
        ? { cpuUs: (totalMs * 1000) / result.exchanges }
        : { cpuSecondsPerGiB: totalMs / 1000 / (result.bulkBytes / GIB) };
  return {
    cell: cellName(cell),
    subject: subject.name,
    round,
    exchanges: result.exchanges,
    errors: result.errors,
    figures: { ...perUnit, ...result.figures },
    cpu,
    batching: Object.fromEntries(
      [...countedAfter].map(([role, after]) => [
        role,
        batchingBetween(countedBefore.get(role) ?? after, after, result.exchanges),
      ]),
    ),
    surroundings,
  };
}
