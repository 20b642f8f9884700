import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { PLAIN_NODE } from '../harness/plain-node.ts';

t.setTimeout(600_000);

void t.test('machines are measured at a gateway', async (t) => {
  const [program, ...args] = PLAIN_NODE;
  const bench = fileURLToPath(new URL('device.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(program, [...args, bench, '1'], { timeout: 600_000 });
  const lines = stdout.trimEnd().split('\n');
  t.equal(lines.length, 9);
  for (const line of lines) t.match(line, / \d+(\.\d+)? \(.*\) (µs of CPU|bytes|ms)$/);
});
