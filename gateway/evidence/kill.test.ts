import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { logOptions } from '../../conformance/builders/log.ts';
import { leafHash } from '../tlog/hash.ts';
import { coreOf, forEachFrame, readBlock } from './block.ts';
import { openLog } from './log.ts';
import { readSegmentHead } from './segment.ts';

const program = fileURLToPath(new URL('../../conformance/builders/append-forever.ts', import.meta.url));
const ROUNDS = 20;

/** Runs the appender until some time after it is ready, kills it, and returns what it had acknowledged. */
async function killedAfter(dir: string, ms: number): Promise<string[]> {
  const child = spawn(process.execPath, [program, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
    if (out === '') setTimeout(() => child.kill('SIGKILL'), ms);
    out += chunk;
  });
  const [, signal] = (await once(child, 'close')) as [number | null, string | null]; // of 'close' by its documentation
  if (signal !== 'SIGKILL') throw new Error('the child ended by itself');
  // A last line without its end was being written when the process died.
  return out.slice(0, out.lastIndexOf('\n')).split('\n').slice(1);
}

async function leavesOf(dir: string): Promise<string[]> {
  const leaves: string[] = [];
  const names = await readdir(`${dir}/epoch-1`);
  for (const name of names.filter((each) => each.endsWith('.seg')).toSorted()) {
    const bytes = await readFile(`${dir}/epoch-1/${name}`);
    for (let at = readSegmentHead(bytes).end; at < bytes.length && bytes[at] !== 0;) {
      const block = readBlock(bytes, at);
      forEachFrame(block, (prefixed) => leaves.push(leafHash(coreOf(prefixed)).toString('hex')));
      at += block.length;
    }
  }
  return leaves;
}

void t.test(`L06: kill -9 at ${ROUNDS} random moments: every acknowledged record is there`, async (t) => {
  const dir = t.testdir();
  const acknowledged = new Map<number, string>();
  for (let round = 0; round < ROUNDS; round += 1) {
    // Spread over the first checkpoints, batches and segments.
    const ms = ((round * 37) % ROUNDS) * 7;
    for (const line of await killedAfter(dir, ms)) {
      const [index = '', hash = ''] = line.split(' ');
      acknowledged.set(Number(index), hash);
    }
  }
  const log = await openLog(logOptions(dir, { segmentBytes: 1 << 18 }));
  const leaves = await leavesOf(dir);
  t.ok(acknowledged.size > 100, `${acknowledged.size} records were acknowledged`);
  t.equal(BigInt(leaves.length), log.size);
  const lost = [...acknowledged].filter(([index, hash]) => leaves[index] !== hash);
  t.same(lost, [], 'none is missing or changed');
  await log.close();
});

void t.test('L10: a second process is refused, and the lock dies with its holder', async (t) => {
  const dir = t.testdir();
  const child = spawn(process.execPath, [program, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.stdout.resume();
  const refusal = { name: 'Fatal', message: /another process has this open/ };
  await t.rejects(openLog(logOptions(dir)), refusal, 'another process');
  child.kill('SIGKILL');
  await once(child, 'close');
  const log = await openLog(logOptions(dir));
  await t.rejects(openLog(logOptions(dir)), refusal, 'the same process');
  await log.close();
  await (await openLog(logOptions(dir))).close();
});
