import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { PLAIN_NODE } from '../harness/plain-node.ts';
import { missing } from './spawn.ts';

const absent = missing('nginx') ?? missing('wrk') ?? missing('openssl');
const skip = absent === undefined ? false : `MEMORY NOT MEASURED: ${absent}`;

// Real gateways with TPMs, on a machine that may have other things to do.
t.setTimeout(170_000);

void t.test('the memory of both gateways is measured, step by step', { skip }, async (t) => {
  const [program, ...args] = PLAIN_NODE;
  const bench = fileURLToPath(new URL('memory.ts', import.meta.url));
  const cli = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(program, [...args, bench, cli, '0.0625', '1']);
  const lines = stdout.trimEnd().split('\n');
  const steps = ['started', 'bulk', '64 connections', '256 connections'];
  t.equal(lines.length, 2 * steps.length);
  for (const [i, line] of lines.entries()) {
    const found = /^(.+?) +(near|far) +(\d+) MiB, at most (\d+)$/.exec(line);
    t.same([found?.[1], found?.[2]], [steps[i >> 1], i % 2 === 0 ? 'near' : 'far'], line);
    const [now, peak] = [Number(found?.[3]), Number(found?.[4])];
    t.ok(now > 40 && peak >= now, 'more than Node takes with nothing loaded');
  }
});
