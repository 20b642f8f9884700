import { request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { AdminListener, parseToken, type AdminOptions } from './admin.ts';

const token = 't'.repeat(40);

async function start(t: Test, options: Partial<AdminOptions> = {}): Promise<AdminListener> {
  const admin = await AdminListener.listen({
    host: '127.0.0.1',
    port: 0,
    notReady: async () => [],
    metrics: async () => 'troad_ready 1\n',
    logs: 1,
    checkpoint: async () => 'origin\n7\nroot\n\n— origin signature\n',
    ...options,
  });
  t.teardown(async () => admin.close());
  return admin;
}

interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly body: string;
}

async function ask(
  admin: AdminListener,
  path: string,
  options: { method?: string; authorization?: string } = {},
): Promise<Answer> {
  const { method = 'GET', authorization } = options;
  const headers = authorization === undefined ? {} : { authorization };
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port: admin.port, path, method, headers }, (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'], body }),
        reject,
      );
    });
    asked.on('error', reject);
    asked.end();
  });
}

void t.test('the four pages', async (t) => {
  const admin = await start(t);
  t.match(await ask(admin, '/healthz'), { status: 200, body: '{"status":"ok"}\n' });
  t.match(await ask(admin, '/readyz'), { status: 200, body: '{"ready":true}\n' });
  t.match(await ask(admin, '/metrics'), {
    status: 200,
    type: 'text/plain; version=0.0.4; charset=utf-8',
    body: 'troad_ready 1\n',
  });
  t.match(await ask(admin, '/log/checkpoint'), {
    status: 200,
    type: 'text/plain; charset=utf-8',
    body: /^origin\n7\n.*— origin/s,
  });
  t.match(await ask(admin, '/metrics', { method: 'HEAD' }), { status: 200, body: '' });
});

void t.test('readiness tells why, and health does not care', async (t) => {
  const admin = await start(t, { notReady: async () => ['registry expired', 'log: disk full'] });
  const answer = await ask(admin, '/readyz');
  t.equal(answer.status, 503);
  t.strictSame(JSON.parse(answer.body), { ready: false, reasons: ['registry expired', 'log: disk full'] });
  t.equal((await ask(admin, '/healthz')).status, 200);
});

void t.test('nothing else is there', async (t) => {
  const admin = await start(t);
  for (const path of [
    '/',
    '/metrics/',
    '/metrics?x=1',
    '/log',
    '/../metrics',
    '//metrics',
    '/r1/TW/GOV/B07/housing/echo',
  ]) {
    t.equal((await ask(admin, path)).status, 404, path);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) {
    t.equal((await ask(admin, '/metrics', { method })).status, 405, method);
  }
});

void t.test('with a token, only the probes are open', async (t) => {
  const admin = await start(t, { token });
  t.equal((await ask(admin, '/healthz')).status, 200);
  t.equal((await ask(admin, '/readyz')).status, 200);
  for (const path of ['/metrics', '/log/checkpoint', '/nothing']) {
    for (const authorization of [
      undefined,
      token,
      `Bearer ${token.slice(1)}`,
      `Bearer ${token}t`,
      `Basic ${token}`,
      'Bearer ',
    ]) {
      const options = authorization === undefined ? {} : { authorization };
      t.equal((await ask(admin, path, options)).status, 401, `${path} ${authorization ?? 'nothing'}`);
    }
  }
  t.equal((await ask(admin, '/metrics', { authorization: `Bearer ${token}` })).status, 200);
  t.equal((await ask(admin, '/nothing', { authorization: `Bearer ${token}` })).status, 404);
});

void t.test('a page that cannot be made now is 503, and the listener lives', async (t) => {
  const admin = await start(t, {
    checkpoint: async () => undefined,
    metrics: () => Promise.reject(new Error('closed')),
  });
  t.match(await ask(admin, '/metrics'), { status: 503, body: /not available now/ });
  t.match(await ask(admin, '/log/checkpoint'), { status: 503, body: /not available now/ });
  t.equal((await ask(admin, '/healthz')).status, 200);
});

void t.test('each of several logs has its checkpoint', async (t) => {
  const admin = await start(t, { logs: 2, checkpoint: async (log) => `note of log ${log}\n` });
  t.match(await ask(admin, '/log/w1/checkpoint'), { status: 200, body: 'note of log 1\n' });
  t.match(await ask(admin, '/log/w2/checkpoint'), { status: 200, body: 'note of log 2\n' });
  t.equal((await ask(admin, '/log/checkpoint')).status, 404);
  t.equal((await ask(admin, '/log/w3/checkpoint')).status, 404);
});

void t.test('garbage and a connection that says nothing do no harm', async (t) => {
  const admin = await start(t);
  const socket = connect(admin.port, '127.0.0.1');
  t.match(await text(socket.end('\x16\x03\x01nonsense\r\n\r\n')), /^HTTP\/1\.1 400 /);
  const silent = connect(admin.port, '127.0.0.1');
  silent.on('error', () => undefined);
  t.equal((await ask(admin, '/healthz')).status, 200);
});

void t.test('a port in use is an error at start', async (t) => {
  const { port } = await start(t);
  await t.rejects(
    AdminListener.listen({
      host: '127.0.0.1',
      port,
      notReady: async () => [],
      metrics: async () => '',
      logs: 1,
      checkpoint: async () => '',
    }),
    { code: 'EADDRINUSE' },
  );
});

void t.test('tokens', async (t) => {
  t.equal(parseToken(`${token}\n`), token);
  for (const bad of ['', 'short', `${token} ${token}`, `${token}\n${token}`, 'é'.repeat(40)]) {
    t.throws(() => parseToken(bad), { name: 'ConfigError' });
  }
});
