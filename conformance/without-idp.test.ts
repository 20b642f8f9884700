import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ask } from '../gateway/sandbox/client/http.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';
import { startSandboxUnder } from './harness/sandbox.ts';

/** To the sandbox's process the package is not there, as after `npm install --omit=optional`. */
const HIDE = `import { registerHooks } from 'node:module';
registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== 'oidc-provider') return next(specifier, context);
    throw Object.assign(new Error('hidden'), { code: 'ERR_MODULE_NOT_FOUND' });
  },
});`;

void t.test('without the optional packages everything but signing in works, and that is said', async (t) => {
  const dir = t.testdir({});
  const hidden = ['--import', `data:text/javascript,${encodeURIComponent(HIDE)}`];
  const sandbox = await startSandboxUnder([...PLAIN_NODE, ...hidden], dir, '--no-devices');
  try {
    const { identity, consumer } = sandbox.ready;
    t.equal(identity, undefined);
    t.match(
      sandbox.output.join('\n'),
      'no identity provider: oidc-provider is not installed: run npm install',
    );
    const headers = { 'x-road-client': 'TW/GOV/A11/welfare' };
    const get = async (path: string): Promise<number> =>
      (await ask(`${consumer.url}/r1/TW/GOV/B07/housing/${path}`, { headers })).status;
    t.equal(await get('echo/x'), 200);
    t.equal(await get('cases'), 401, 'no provider is no reason to let somebody in');
  } finally {
    t.equal(await sandbox.stop(), 0);
  }
  t.notOk(existsSync(join(dir, 'sandbox.json')), 'a sandbox that ended is not there to be asked');
});
