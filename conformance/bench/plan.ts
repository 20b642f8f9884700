import type { Connections } from './subjects/subject.ts';

/** One kind of load. Every round gives each cell to each subject once. */
export type Cell =
  | { readonly load: 'closed'; readonly connections: number; readonly seconds: number }
  /** As closed, but each request comes on a connection of its own. */
  | { readonly load: 'churn'; readonly connections: number; readonly seconds: number }
  | { readonly load: 'open'; readonly perSecond: number; readonly seconds: number }
  | {
      readonly load: 'bulk';
      readonly direction: 'get' | 'put';
      /** At once. */
      readonly streams: number;
      /** One after another, of each stream. */
      readonly transfers: number;
    }
  | { readonly load: 'first-byte'; readonly transfers: number };

/** What a subject has done before it is measured: just-in-time compilers are not what is compared. */
export interface Warming {
  /** At 64 connections, at the start: so many, or as many as there are in so many whole seconds. */
  readonly requests: number;
  readonly seconds: number;
  /** Of the same load, right before each measured closed loop: it leaves the last one behind. */
  readonly leadSeconds: number;
}

export interface Plan {
  readonly name: 'quick' | 'full' | 'smoke';
  readonly rounds: number;
  /** In how many of them the way without gateways takes part: nothing is compared with it. */
  readonly directRounds: number;
  readonly warm: Warming;
  readonly payloadBytes: number;
  readonly cells: readonly Cell[];
  /** How often a cell is measured at most while strangers use too much of the machine. */
  readonly attempts: number;
}

/** Share of the machine that strangers may use before a measurement is repeated. */
export const FOREIGN_LIMIT = 0.25;

/** The name of a cell in results.json. */
export function cellName(cell: Cell): string {
  switch (cell.load) {
    case 'closed':
      return `post1k.c${cell.connections}`;
    case 'churn':
      return 'churn';
    case 'open':
      return `open${cell.perSecond}`;
    case 'bulk':
      return `bulk.${cell.direction}${cell.streams === 1 ? '' : cell.streams}`;
    case 'first-byte':
      return 'ttfb';
  }
}

/** What a cell asks of those who connect. */
export const connectionsOf = (cell: Cell): Connections => (cell.load === 'churn' ? 'new' : 'kept');

/** Small requests are a user's, bulk is a system's on the gateway's own machine. */
export const isOfUsers = (cell: Cell): boolean => ['closed', 'churn', 'open'].includes(cell.load);

function cells(
  closedSeconds: number,
  openRates: readonly number[],
  openSeconds: number,
  transfers: number,
  streams: readonly number[],
): Cell[] {
  const directions = ['get', 'put'] as const;
  return [
    ...[1, 8, 64, 256].map((connections): Cell => ({ load: 'closed', connections, seconds: closedSeconds })),
    ...openRates.map((perSecond): Cell => ({ load: 'open', perSecond, seconds: openSeconds })),
    ...streams.flatMap((count) =>
      directions.map((direction): Cell => {
        return { load: 'bulk', direction, streams: count, transfers: Math.max(1, transfers / count) };
      }),
    ),
    { load: 'first-byte', transfers: 10 },
  ];
}

export const QUICK: Plan = {
  name: 'quick',
  rounds: 3,
  directRounds: 1,
  warm: { requests: 20_000, seconds: 10, leadSeconds: 0 },
  payloadBytes: 256 << 20,
  cells: cells(1, [500], 3, 1, [1]),
  attempts: 2,
};

export const FULL: Plan = {
  name: 'full',
  rounds: 5,
  directRounds: 5,
  warm: { requests: 40_000, seconds: 20, leadSeconds: 1 },
  payloadBytes: 256 << 20,
  cells: [...cells(3, [500, 1500], 10, 4, [1, 4]), { load: 'churn', connections: 8, seconds: 3 }],
  attempts: 3,
};
