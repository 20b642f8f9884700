/**
 * What one look into the store of the replicas costs, beside the table of the process that is asked first: CPU of the
 * gateway's side and of the store's, and how long an exchange waits. The store is a real one on loopback.
 *
 *     node conformance/bench/replicas.ts [rounds]
 */
import { allocateTable } from '../../gateway/core/shared-table.ts';
import { ReplayTable } from '../../gateway/message/replay-table.ts';
import { SharedStore } from '../../gateway/replicas/shared-store.ts';
import { startStore } from '../builders/store.ts';
import { IN_MEMORY, temporaryFolder } from './leftovers.ts';
import { cpuMs, treeCpu } from './procfs.ts';
import { median } from './stats.ts';

const ROUNDS = Number(process.argv[2] ?? 5);
const CLAIMS = 20_000;
const WINDOW_MS = 120_000;

const dir = temporaryFolder(IN_MEMORY);
const running = await startStore({ dir });
const ready = Promise.withResolvers<void>();
const store = new SharedStore({
  address: {
    host: '127.0.0.1',
    port: running.port,
    database: 0,
    tls: undefined,
    user: undefined,
    password: undefined,
    timeoutMs: 5000,
  },
  gateway: 'gw.b07.tw.troad.example',
  windowMs: { message: WINDOW_MS, assertion: WINDOW_MS, proof: WINDOW_MS },
  random: () => String(Math.random()),
  monotonic: () => performance.now(),
  hasTaken: () => false,
  onTrouble: (detail) => (detail === undefined ? ready.resolve() : ready.reject(new Error(detail))),
});

let next = 0;
const freshId = (): string => `x${(next += 1).toString(36).padStart(21, '0')}`;

/** @returns microseconds of CPU a claim: ours, and the store's; and the wait of one */
async function round(concurrency: number): Promise<readonly [ours: number, theirs: number, wait: number]> {
  const storeBefore = cpuMs(treeCpu([running.pid]));
  const before = process.cpuUsage();
  const began = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (let i = 0; i < CLAIMS / concurrency; i++)
        await store.claim([{ kind: 'message', id: `gw.a11.tw.troad.example ${freshId()}` }]);
    }),
  );
  const elapsed = performance.now() - began;
  const { user, system } = process.cpuUsage(before);
  const theirs = (cpuMs(treeCpu([running.pid])) - storeBefore) * 1000;
  return [(user + system) / CLAIMS, theirs / CLAIMS, (elapsed * 1000 * concurrency) / CLAIMS];
}

function local(): number {
  const table = new ReplayTable(allocateTable({ slots: 1 << 17, windowMs: WINDOW_MS, seed: '' }));
  const before = process.cpuUsage();
  for (let i = 0; i < CLAIMS; i++) table.claim('gw.a11.tw.troad.example', freshId());
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CLAIMS;
}

try {
  await ready.promise;
  const middle = (figures: readonly number[]): string => median(figures).toFixed(1);
  const rounds = <T>(of: () => T): T[] => Array.from({ length: ROUNDS }, of);
  process.stdout.write(`table of the process            ${middle(rounds(local))} µs of CPU\n`);
  for (const concurrency of [1, 8, 64, 256]) {
    const figures: (readonly [number, number, number])[] = [];
    for (let i = 0; i < ROUNDS; i++) figures.push(await round(concurrency));
    const [ours, theirs, wait] = [0, 1, 2].map((column) => middle(figures.map((each) => each[column] ?? 0)));
    process.stdout.write(
      `store, ${String(concurrency).padStart(3)} exchanges at once    ${ours} µs of CPU, ${theirs} µs of the store's, waits ${wait} µs\n`,
    );
  }
} finally {
  await store.close();
  await running.stop();
}
