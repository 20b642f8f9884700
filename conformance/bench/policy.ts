/**
 * What a policy costs: one decision in the worker's thread, a large data document, a shadow beside it, an activation under
 * load. Prints rows of the README's table.
 *
 *     node conformance/bench/policy.ts [decisions [seconds of load [rounds]]]
 */
import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request, type IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { readBundle } from '../../gateway/node/bundle-folder.ts';
import { readState, submitRequest } from '../../gateway/node/policy-store.ts';
import { sha256 } from '../../gateway/core/bytes.ts';
import { bundleDir } from '../../gateway/sandbox/bundle.ts';
import type { SandboxReady } from '../../gateway/sandbox/sandbox.ts';
import { Bundle, type BundleFiles } from '../../gateway/trust/bundle.ts';
import { parseVerdict } from '../../gateway/trust/decision.ts';
import { PolicyEngine } from '../../gateway/trust/engine.ts';
import { vectorInput } from '../builders/decisions.ts';
import { writeOtherBundle } from '../builders/other-policy.ts';
import { startRoad } from '../harness/road.ts';
import { ON_DISK, temporaryFolder } from './leftovers.ts';
import { cpuMs, parseProcessStat } from './procfs.ts';
import { median, quantile } from './stats.ts';

const DECISIONS = Number(process.argv[2] ?? 20_000);
const SECONDS = Number(process.argv[3] ?? 8);
const ROUNDS = Number(process.argv[4] ?? 5);
const CLIENTS = 16;

const micro = (ms: number): string => (ms * 1000).toFixed(ms < 0.1 ? 1 : 0);

/** Every question is another one: what was asked before would not be evaluated. */
function decisions(name: string, files: BundleFiles): void {
  const began = performance.now();
  const engine = PolicyEngine.load(Bundle.parse(files));
  const loadMs = performance.now() - began;
  const bases = ['consumer', 'provider', 'consumer_user', 'provider_user'].map((base) => vectorInput(base));
  const times: number[] = [];
  let cpu = process.cpuUsage();
  for (let i = 0; i < DECISIONS + 1000; i++) {
    if (i === 1000) cpu = process.cpuUsage();
    const id = `AAECAwQFBgcICQ${String(i).padStart(8, '0')}`;
    const text = JSON.stringify({ ...bases[i % bases.length], decision_id: id });
    const before = performance.now();
    const { allow } = parseVerdict(engine.evaluate(text), id, engine.reasons);
    if (i >= 1000) times.push(performance.now() - before); // the first ones are compiled on the way
    if (!allow) throw new Error(`${name}: denied`);
  }
  const { user, system } = process.cpuUsage(cpu);
  const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)];
  console.log(
    `| ${name} | p50 ${micro(p50)} µs, p99 ${micro(p99)} µs; ${micro((user + system) / 1000 / DECISIONS)} µs of CPU | loaded in ${loadMs.toFixed(0)} ms |`,
  );
}

/** The bundle with 2 MB of data more, as a list of people or numbers would be. */
function withData(files: BundleFiles): BundleFiles {
  const rows = Array.from({ length: 6_000 }, (_, i) => [
    `TW/GOV/X${i}/system`,
    { licence: `L-${i}`, until_ms: 4_070_908_800_000, note: 'x'.repeat(280) },
  ]);
  const data = JSON.parse(Buffer.from(files.data).toString('utf8')) as object; // our own file
  const bytes = Buffer.from(JSON.stringify({ ...data, register: Object.fromEntries(rows) as unknown }));
  const manifest = JSON.parse(Buffer.from(files.manifest).toString('utf8')) as { files: object };
  const digests = { ...manifest.files, 'data.json': sha256(bytes).toString('hex') };
  return { ...files, data: bytes, manifest: Buffer.from(JSON.stringify({ ...manifest, files: digests })) };
}

/** Closed loop on warm connections until it is told to stop. */
class Load {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  readonly #loops: readonly Promise<void>[];
  readonly ended: number[] = [];
  #stop = false;
  #longestMs = 0;

  constructor({ consumer }: SandboxReady) {
    const url = `${consumer.url}/r1/TW/GOV/B07/housing/echo/x`;
    this.#loops = Array.from({ length: CLIENTS }, async () => {
      while (!this.#stop) await this.#once(url);
    });
  }

  async #once(url: string): Promise<void> {
    const began = performance.now();
    const headers = { 'X-Road-Client': 'TW/GOV/A11/welfare' };
    const sent = request(url, { agent: this.#agent, headers }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage]; // what the event carries
    await buffer(response);
    if (response.statusCode !== 200) throw new Error(`answered ${response.statusCode ?? 0}`);
    const ms = performance.now() - began;
    this.ended.push(ms);
    this.#longestMs = Math.max(this.#longestMs, ms);
  }

  /** Longest exchange since the last time. */
  longest(): number {
    const ms = this.#longestMs;
    this.#longestMs = 0;
    return ms;
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await Promise.all(this.#loops);
    this.#agent.destroy();
  }
}

const cpuOf = (pid: number): number => cpuMs(parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'utf8')).own);

/** CPU of the consumer's gateway for one exchange, milliseconds. */
async function costOf(load: Load, pid: number): Promise<number> {
  const [cpu, done] = [cpuOf(pid), load.ended.length];
  await delay(SECONDS * 1000);
  return (cpuOf(pid) - cpu) / (load.ended.length - done);
}

/** What `troad policy activate` does. @returns milliseconds that a worker's event loop stood still */
async function ask(
  store: string,
  action: 'activate' | 'shadow' | 'unshadow',
  bundle: string,
): Promise<number> {
  const id = randomBytes(12).toString('base64url');
  const files = action === 'unshadow' ? undefined : readBundle(bundle);
  submitRequest(store, { id, action, bundle: action === 'unshadow' ? bundle : null }, files);
  for (let waited = 0; waited < 30_000; waited += 20) {
    const outcome = readState(store)?.outcome;
    if (outcome?.id === id) {
      if (outcome.code !== null) throw new Error(`${action}: ${outcome.code} ${outcome.detail}`);
      return outcome.pauseMs;
    }
    await delay(20);
  }
  throw new Error(`${action}: no answer`);
}

async function underLoad(): Promise<void> {
  const dir = temporaryFolder(ON_DISK);
  const other = join(dir, 'other');
  writeOtherBundle(bundleDir(), other, 'other');
  const { sandbox, ready } = await startRoad(join(dir, 'road'), 1, bundleDir());
  const store = join(dirname(ready.consumer.log), 'policies');
  const load = new Load(ready);
  try {
    await delay(2000);
    const quotients: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const alone = await costOf(load, ready.consumer.pid);
      await ask(store, 'shadow', other);
      quotients.push((await costOf(load, ready.consumer.pid)) / alone);
      await ask(store, 'unshadow', readState(store)?.shadow[0] ?? '');
    }
    const [least, most] = [Math.min(...quotients), Math.max(...quotients)];
    console.log(
      `| one shadow under load, CPU of the gateway | ${median(quotients).toFixed(2)} times (${least.toFixed(2)} to ${most.toFixed(2)}) | ${ROUNDS} rounds |`,
    );
    const pauses: number[] = [];
    const longest: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      load.longest();
      pauses.push(await ask(store, 'activate', round % 2 === 0 ? other : bundleDir()));
      await delay(200);
      longest.push(load.longest());
    }
    console.log(
      `| activation under load, pause of the event loop | ${median(pauses).toFixed(1)} ms (most ${Math.max(...pauses).toFixed(1)} ms) | longest exchange meanwhile ${median(longest).toFixed(0)} ms; of all, p50 ${median(load.ended).toFixed(0)} ms, p99 ${quantile(load.ended, 0.99).toFixed(0)} ms |`,
    );
  } finally {
    await load.stop();
    await sandbox.stop();
  }
}

const files = readBundle(bundleDir());
console.log('| what | cost | |\n|---|---|---|');
decisions('a decision, default policy', files);
decisions('the same with the five scenarios', readBundle(join(dirname(bundleDir()), 'examples', 'bundle')));
decisions('the same with 2 MB of data', withData(files));
await underLoad();
