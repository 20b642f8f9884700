// A process to be killed: appends for ever and prints the index of every record that was acknowledged.
import { performance } from 'node:perf_hooks';
import { writeSync } from 'node:fs';
import { openLog } from '../../gateway/evidence/log.ts';
import { draft, logOptions } from './log.ts';

const [dir = ''] = process.argv.slice(2);
const clock = { now: () => Date.now(), monotonic: () => performance.now() };
const log = await openLog(logOptions(dir, { clock, segmentBytes: 1 << 18, checkpointEveryMs: 5 }));
writeSync(1, 'ready\n');
await Promise.all(
  Array.from({ length: 8 }, async (_, lane) => {
    for (let n = lane; ; n += 8) {
      const { index, leafHash } = await log.append(draft('deny', n), { meta: Buffer.alloc(500) });
      // Synchronous: a line that was printed was acknowledged, whenever the process dies.
      writeSync(1, `${index} ${Buffer.from(leafHash).toString('hex')}\n`);
    }
  }),
);
