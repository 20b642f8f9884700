/**
 * What it costs the pair to be laid out otherwise: two workers in place of one, and replicas, whose gateways ask a store
 * that they share whether a message was taken before. All pairs live at once and are loaded by turns, the logs on a disk.
 * Needs nginx and wrk, for the replicas redis-server or valkey-server; two minutes.
 *
 *     node conformance/bench/layouts.ts [rounds [seconds of a load]]
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleDir } from '../../gateway/sandbox/bundle.ts';
import { Sandbox } from '../../gateway/sandbox/sandbox.ts';
import { startStore, storeMissing } from '../builders/store.ts';
import { openLab } from './lab.ts';
import { interruption, ON_DISK, temporaryFolder } from './leftovers.ts';
import { closedLoop } from './load-closed.ts';
import { cpuMs, treeCpu } from './procfs.ts';
import { median, spread } from './stats.ts';
import { CLIENT_FIELD } from './user-load.ts';

const ROUNDS = Number(process.argv[2] ?? 7);
const SECONDS = Number(process.argv[3] ?? 2);
const CONNECTIONS = [8, 64, 256];
const CLI = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));

const interrupt = interruption();
const lab = await openLab(8 << 20);
const dir = temporaryFolder(ON_DISK);
const store = storeMissing === false ? await startStore({ dir: join(dir, 'store') }) : undefined;
const layouts = [
  { what: 'one worker', more: {} },
  { what: 'two workers', more: { workers: 2 } },
  ...(store === undefined
    ? []
    : [{ what: 'replicas with a store', more: { store: `redis://127.0.0.1:${store.port}` } }]),
];

interface Figures {
  readonly cpuUs: number;
  readonly storeUs: number;
  readonly perSecond: number;
}

async function load({ ready }: Sandbox, connections: number, seconds: number): Promise<Figures> {
  interrupt.throwIfAborted();
  const target = { url: `${ready.consumer.url}/r1/TW/GOV/B07/housing/bench/echo`, headers: CLIENT_FIELD };
  const used = (): number => cpuMs(treeCpu([ready.consumer.pid, ready.provider.pid]));
  const asked = (): number => (store === undefined ? 0 : cpuMs(treeCpu([store.pid])));
  const [before, askedBefore] = [used(), asked()];
  const { requests, errors, perSecond } = await closedLoop(target, connections, seconds);
  if (errors > 0) throw new Error(`${errors} of ${requests} failed`);
  const each = (ms: number): number => (ms * 1000) / requests;
  return { cpuUs: each(used() - before), storeUs: each(asked() - askedBefore), perSecond };
}

const pairs: Sandbox[] = [];
try {
  for (const { more } of layouts) {
    interrupt.throwIfAborted();
    pairs.push(
      await Sandbox.start({
        dir: join(dir, String(pairs.length)),
        run: [process.execPath, '--use-largepages=silent', CLI, 'run'],
        bundle: bundleDir(),
        now: Date.now,
        extra: [{ code: 'bench', url: lab.backend.benchUrl }],
        ...more,
      }),
    );
  }
  for (const pair of pairs) await load(pair, 64, 8); // compiled code
  for (const connections of CONNECTIONS) {
    const rounds: Figures[][] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const figures: Figures[] = [];
      for (const pair of pairs) figures.push(await load(pair, connections, SECONDS));
      rounds.push(figures);
    }
    for (const [i, { what }] of layouts.entries()) {
      const own = rounds.flatMap((figures) => figures[i] ?? []);
      const ratio = spread(rounds.map((figures) => (figures[i]?.cpuUs ?? NaN) / (figures[0]?.cpuUs ?? NaN)));
      const middle = (name: keyof Figures): string => median(own.map((each) => each[name])).toFixed(0);
      process.stdout.write(
        `${String(connections).padStart(3)} connections, ${what.padEnd(22)} ${middle('cpuUs')} µs of CPU (store ${middle('storeUs')}), ` +
          `× ${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)}), ${middle('perSecond')} requests/s\n`,
      );
    }
  }
} finally {
  // One that does not end well is told when all were asked to end.
  try {
    await Promise.all(pairs.map((pair) => pair.stop()));
  } finally {
    await store?.stop();
    await lab.close();
  }
}
