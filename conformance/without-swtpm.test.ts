import { mkdirSync } from 'node:fs';
import t from 'tap';
import { ask } from '../gateway/sandbox/client/http.ts';
import { startSandboxUnder } from './harness/sandbox.ts';

void t.test('a first start without swtpm works, and says what to install', async (t) => {
  const dir = t.testdir({});
  const empty = `${dir}/nothing-installed`;
  mkdirSync(empty);
  // No other program is needed: Node is started by its whole path.
  const hidden = ['/usr/bin/env', '-u', 'NODE_OPTIONS', `PATH=${empty}`, process.execPath] as const;
  const sandbox = await startSandboxUnder(hidden, `${dir}/sandbox`);
  try {
    const { device, consumer } = sandbox.ready;
    t.equal(device, undefined);
    t.match(
      sandbox.output.join('\n'),
      /NO DEVICES, no service demands one: swtpm\w* is not installed: apt-get/,
    );
    const headers = { 'x-road-client': 'TW/GOV/A11/welfare' };
    const get = (path: string) => ask(`${consumer.url}/r1/TW/GOV/B07/housing/${path}`, { headers });
    t.equal((await get('echo/x')).status, 200);
    t.equal((await get('attested/echo/x')).status, 404, 'what only a machine could use is not offered');
    for (const path of ['cases', 'registry/households/H-63-000417']) {
      const { status, body } = await get(path);
      t.equal(status, 401, `${path} wants a user`);
      t.match(body, 'assertion.', 'and no machine');
      t.notMatch(body, 'device.');
    }
  } finally {
    t.equal(await sandbox.stop(), 0);
  }
});
