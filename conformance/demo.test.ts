import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { PLAIN_NODE } from './harness/plain-node.ts';

// The first thing that a newcomer runs: it ends by itself, and its status says whether all was as it must be.

const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));

await t.test('the guided tour ends well, the auditor and the forged log included', (t) => {
  const [program, ...node] = PLAIN_NODE;
  const dir = t.testdir({});
  const { status, stdout, stderr } = spawnSync(program, [...node, CLI, 'demo', '--dir', dir], {
    encoding: 'utf8',
    maxBuffer: 16 << 20,
  });
  t.equal(status, 0, 'status', { said: stdout.slice(-2000), trouble: stderr.slice(-2000) });
  t.match(stdout, '$ troad audit verify');
  t.notMatch(stdout, 'NOT as it must be');
  t.end();
});
