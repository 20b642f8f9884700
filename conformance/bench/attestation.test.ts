import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { swtpmMissing } from '../builders/swtpm.ts';
import { PLAIN_NODE } from '../harness/plain-node.ts';

void t.test('attestation is measured', { skip: swtpmMissing, timeout: 600_000 }, async (t) => {
  const [program, ...args] = PLAIN_NODE;
  const bench = fileURLToPath(new URL('attestation.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(program, [...args, bench, '1'], { timeout: 600_000 });
  const lines = stdout.trimEnd().split('\n');
  t.equal(lines.length, 4);
  for (const line of lines.slice(0, 3))
    t.match(line, /events +\d+ \(.*\) µs of CPU, \d+ \(.*\) results\/s of one core$/);
  t.match(lines[3], /^suspended in the middle of a stream +\d+ \(.*\) ms until its last byte$/);
});
