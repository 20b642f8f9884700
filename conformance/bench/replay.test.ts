import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { PLAIN_NODE } from '../harness/plain-node.ts';

void t.test('replay is measured, and every decision comes out again', async (t) => {
  const program = fileURLToPath(new URL('replay.ts', import.meta.url));
  const [env, ...args] = PLAIN_NODE;
  const { stdout } = await promisify(execFile)(env, [...args, program, '200', '2']);
  t.match(stdout, /^replay 200 decisions: \d+ a CPU second \(least \d+\)\n$/);
});
