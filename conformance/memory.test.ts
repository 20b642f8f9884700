import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { pseudoRandom } from '../gateway/sandbox/services.ts';
import { startSandbox } from './harness/sandbox.ts';

// curl, unmodified, carries 1 GiB each way: memory stays flat, the first byte is out before the last is in, and both
// ends have the same SHA-256.

const GIB = 1024 ** 3;
const ALLOWED_MIB = 48;
const HEADER = 'X-Road-Client: TW/GOV/A11/welfare';

const subject = await startSandbox(t.testdir({}));
const { consumer, provider } = subject.ready;
const base = `${consumer.url}/r1/TW/GOV/B07/housing`;
await (await fetch(`${base}/echo`, { headers: { 'X-Road-Client': 'TW/GOV/A11/welfare' } })).text();

/** Resident memory now and at its highest, MiB (proc(5)). */
function memoryOf(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? NaN);
  return { now: kib('VmRSS') / 1024, peak: kib('VmHWM') / 1024 };
}

const pids = { consumer: consumer.pid, provider: provider.pid };
// What starting took is given back (gateway/node/collector.test.ts); the highest is counted from here (proc(5), clear_refs).
for (const pid of Object.values(pids)) writeFileSync(`/proc/${pid}/clear_refs`, '5');
const idle = { consumer: memoryOf(pids.consumer).now, provider: memoryOf(pids.provider).now };

function checkMemory(t: Pick<Test, 'ok'>, what: string): void {
  for (const side of ['consumer', 'provider'] as const) {
    const above = memoryOf(pids[side]).peak - idle[side];
    t.ok(above < ALLOWED_MIB, `${what}: the ${side}'s gateway peaked ${above.toFixed(0)} MiB above idle`);
  }
}

await t.test('1 GiB down', async (t) => {
  const began = performance.now();
  const curl = spawn('curl', ['-sS', '-f', '-H', HEADER, `${base}/files/${GIB}?seed=down`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const hash = createHash('sha256');
  let firstMs: number | undefined;
  for await (const chunk of curl.stdout as AsyncIterable<Buffer>) {
    firstMs ??= performance.now() - began;
    hash.update(chunk);
  }
  const totalMs = performance.now() - began;
  if (curl.exitCode === null) await once(curl, 'exit');
  t.equal(curl.exitCode, 0);
  t.equal(hash.digest('hex'), await digestOf(GIB, 'down'));
  t.ok(
    (firstMs ?? Infinity) < totalMs / 4,
    `first byte after ${firstMs?.toFixed(0)} of ${totalMs.toFixed(0)} ms`,
  );
  checkMemory(t, 'down');
});

await t.test('1 GiB up', async (t) => {
  const args = ['-sS', '-f', '-H', HEADER, '-T', '-', `${base}/files/up`];
  const curl = spawn('curl', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const hash = createHash('sha256');
  const pour = async (): Promise<void> => {
    for await (const chunk of pseudoRandom(GIB, 'up')) {
      hash.update(chunk);
      if (!curl.stdin.write(chunk)) await once(curl.stdin, 'drain');
    }
    curl.stdin.end();
  };
  const read = async (): Promise<string> => {
    let text = '';
    for await (const chunk of curl.stdout as AsyncIterable<Buffer>) text += chunk.toString('utf8');
    return text;
  };
  const [, answer] = await Promise.all([pour(), read()]);
  t.same(JSON.parse(answer), { size: GIB, sha256: hash.digest('hex') });
  checkMemory(t, 'up');
});

await t.test('a gateway is told where code is kept that was compiled before', (t) => {
  for (const pid of Object.values(pids)) {
    t.match(readFileSync(`/proc/${pid}/environ`, 'utf8'), /(?:^|\0)NODE_COMPILE_CACHE=\//);
  }
  t.end();
});

// A teardown would wait for the processes that it is to end.
await t.test('and ends well', async (t) => {
  t.equal(await subject.stop(), 0);
});

async function digestOf(size: number, seed: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of pseudoRandom(size, seed)) hash.update(chunk);
  return hash.digest('hex');
}
