import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { LogTail } from './harness/log-tail.ts';
import { requireGoodLogs } from './harness/road.ts';
import { startSandbox } from './harness/sandbox.ts';

// What an unmodified X-Road client relies on, with curl and Node's own client, through two real gateways.

const dir = t.testdir({});
const subject = await startSandbox(dir);
const { consumer, provider, service } = subject.ready;
const PATH = '/r1/TW/GOV/B07/housing';
const base = `${consumer.url}${PATH}`;
const CLIENT = { 'X-Road-Client': 'TW/GOV/A11/welfare' };

interface Echo {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}
const echoOf = async (answer: Response): Promise<Echo> => (await answer.json()) as Echo; // our own service

async function curl(...args: readonly string[]): Promise<{ code: number; out: string }> {
  const child = spawn('curl', ['-sS', '-m', '20', '-H', 'X-Road-Client: TW/GOV/A11/welfare', ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let out = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => (out += text));
  const [code] = (await once(child, 'close')) as [number];
  return { code, out };
}

await t.test('generated, echoed, carried and dropped headers', async (t) => {
  const answer = await fetch(`${base}/echo/a%20b?x=%2F&y`, {
    headers: {
      ...CLIENT,
      'X-Road-UserId': 'TW-A123456789',
      'X-Road-Issue': 'case 7',
      Authorization: 'Bearer of-the-service',
      'X-Forwarded-For': '10.0.0.1',
      'X-Road-Request-Id': 'forged',
      'X-Road-Service': 'TW/GOV/B07/housing/forged',
      'User-Agent': 'dropped',
      'X-Own': 'kept',
    },
  });
  t.equal(answer.status, 200);
  const echo = await echoOf(answer);
  t.equal(echo.path, '/echo/a%20b?x=%2F&y', 'the very bytes that were authorised');
  t.match(answer.headers.get('x-road-id'), /^TW-[0-9a-f-]{36}$/);
  t.equal(answer.headers.get('x-road-client'), 'TW/GOV/A11/welfare');
  t.equal(answer.headers.get('x-road-service'), 'TW/GOV/B07/housing/echo');
  t.match(answer.headers.get('x-road-request-id'), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  t.equal(answer.headers.get('x-road-error'), null);
  t.match(echo.headers, {
    'x-road-client': 'TW/GOV/A11/welfare',
    'x-road-id': answer.headers.get('x-road-id') ?? '',
    'x-road-userid': 'TW-A123456789',
    'x-road-issue': 'case 7',
    authorization: 'Bearer of-the-service',
    'x-own': 'kept',
    'x-road-request-id': answer.headers.get('x-road-request-id') ?? '',
    't-road-consumer': 'TW/GOV/A11',
    't-road-agreement': 'TW-SANDBOX-echo',
  });
  t.equal(echo.headers['x-road-service'], 'TW/GOV/B07/housing/echo', 'ours, and nothing beside it');
  t.equal(echo.headers['x-road-request-id'], answer.headers.get('x-road-request-id'));
  for (const dropped of [
    'x-forwarded-for',
    'user-agent',
    't-road-exchange',
    'signature',
    'signature-input',
  ]) {
    t.notHas(echo.headers, dropped);
  }
});

await t.test('the request hash can be recomputed by the client, with a body and without', async (t) => {
  for (const body of ['', '{"a":1}']) {
    const lines: [string, string][] = [
      ['X-Road-Client', 'TW/GOV/A11/welfare'],
      ['X-Road-Id', `hash-${body.length}`],
      ['Accept', 'application/json'],
    ];
    const method = body === '' ? 'GET' : 'POST';
    const outgoing = httpRequest(`${base}/echo/h`, {
      method,
      headers: [
        'Host',
        new URL(base).host,
        ...lines.flat(),
        ...(body === '' ? [] : ['Content-Length', String(body.length)]),
      ],
    });
    outgoing.end(body);
    const [answer] = (await once(outgoing, 'response')) as [import('node:http').IncomingMessage];
    answer.resume();
    const head = [
      method,
      `${PATH}/echo/h`,
      ...lines.map(([name, value]) => `${name}:${value}`),
      `x-road-request-id:${String(answer.headers['x-road-request-id'])}`,
      '',
    ].join('\r\n');
    const sha512 = (...parts: (string | Buffer)[]): Buffer =>
      parts.reduce((hash, part) => hash.update(part), createHash('sha512')).digest();
    const expected = body === '' ? sha512(head) : sha512(sha512(head), sha512(body));
    t.equal(answer.headers['x-road-request-hash'], expected.toString('base64'), method);
  }
});

await t.test('x-road-request-hash is not made of a streamed request unless that is asked for', async (t) => {
  for (const [bytes, carried] of [
    [64 * 1024, true],
    [64 * 1024 + 1, false],
  ] as const) {
    const body = Buffer.alloc(bytes, 'x');
    const answer = await fetch(`${base}/echo/h`, { method: 'POST', headers: CLIENT, body });
    await answer.arrayBuffer();
    t.equal(answer.status, 200);
    t.equal(answer.headers.has('x-road-request-hash'), carried, `${bytes} bytes`);
  }
});

await t.test('methods and statuses of the service come back untouched', async (t) => {
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    const answer = await fetch(`${base}/echo/m`, { method, headers: CLIENT });
    t.equal((await echoOf(answer)).method, method);
  }
  for (const status of [201, 204, 304, 404, 500, 503]) {
    const answer = await fetch(`${base}/echo?status=${status}`, { headers: CLIENT });
    await answer.text();
    t.equal(answer.status, status);
    t.equal(answer.headers.get('x-road-error'), null, 'an error of the service is not ours');
  }
  const head = await fetch(`${base}/echo`, { method: 'HEAD', headers: CLIENT });
  t.equal(head.status, 200);
});

await t.test('four classes of failure are told apart', async (t) => {
  const rows: [string, string, RequestInit, number, string | null][] = [
    ['the provider answered with an error', '/echo?status=500', {}, 500, null],
    ['the provider could not answer', '/files/unbounded/1000', {}, 502, 'Server.ServerProxy.ServiceFailed'],
    ['the requester broke the protocol', '/echo', { headers: {} }, 400, 'Client.MissingHeaderField'],
    ['no such service', '/nothing', {}, 404, 'Server.ServerProxy.UnknownService'],
    ['not agreed', '/events', { method: 'POST', body: '{}' }, 403, 'Server.ServerProxy.AccessDenied'],
  ];
  for (const [what, path, init, status, type] of rows) {
    const answer = await fetch(`${base}${path}`, { headers: CLIENT, ...init });
    t.equal(answer.status, status, what);
    t.equal(answer.headers.get('x-road-error'), type, what);
    const text = await answer.text();
    if (type !== null) t.same(Object.keys(JSON.parse(text) as object), ['type', 'message', 'detail'], what);
  }
  const elsewhere = await fetch(`${consumer.url}/r1/TW/GOV/C99/x/y`, { headers: CLIENT });
  t.equal(elsewhere.headers.get('x-road-error'), 'Server.ClientProxy.UnknownMember');
});

await t.test('HTTPS, with and without the registered client certificate', async (t) => {
  const { ca, clientCert, clientKey, tlsUrl } = consumer;
  const url = `${tlsUrl}${PATH}/echo/tls`;
  const mutual = await curl('--cacert', ca, '--cert', clientCert, '--key', clientKey, url);
  t.equal(mutual.code, 0);
  t.match(mutual.out, '"path":"/echo/tls"');
  t.match(
    (await curl('--cacert', ca, url)).out,
    '"path":"/echo/tls"',
    'this subsystem may come from loopback',
  );
  t.not((await curl(url)).code, 0, 'curl does not know the sandbox CA by itself');
});

await t.test('streams of unknown length, echoed both ways at once, are equal at the end', async (t) => {
  const body = randomBytes(900_000);
  const chunks = async function* () {
    for (let at = 0; at < body.length; at += 70_000) yield body.subarray(at, at + 70_000);
  };
  const init = { method: 'PUT', headers: CLIENT, body: chunks(), duplex: 'half' };
  const answer = await fetch(`${base}/files/up`, init as RequestInit); // `duplex` is missing in the type
  t.same(await answer.json(), { size: body.length, sha256: createHash('sha256').update(body).digest('hex') });
  const down = await fetch(`${base}/files/900000?chunked&seed=s`, { headers: CLIENT });
  t.equal((await down.arrayBuffer()).byteLength, 900_000);
});

await t.test('server-sent events pass one by one', async (t) => {
  const answer = await fetch(`${base}/events?count=4&held`, { headers: CLIENT });
  const reader = (answer.body ?? new ReadableStream<Uint8Array>()).getReader();
  for (let n = 1; n <= 4; n += 1) {
    // The service does not send the next before it is told: a gateway that waited for more would wait for ever.
    let event = '';
    while (!event.endsWith('\n\n')) event += Buffer.from((await reader.read()).value ?? '').toString();
    t.match(event, `data: {"n":${n},"of":4}`);
    t.equal(event.split('data:').length, 2, 'one alone');
    t.equal((await fetch(`${service.url}/__next`)).status, 200);
  }
  t.ok((await reader.read()).done);
});

await t.test('an answer that breaks off is broken for the client too', async (t) => {
  for (const path of ['/files/broken/500000', '/files/broken/500000?chunked']) {
    const { code } = await curl('-o', '/dev/null', `${base}${path}`);
    t.ok([18, 56, 92].includes(code), `curl exits ${code}`);
  }
});

await t.test('a service that answers early stops the upload', async (t) => {
  const answer = await fetch(`${base}/files/early/x`, {
    method: 'PUT',
    headers: CLIENT,
    body: Buffer.alloc(8_000_000),
  });
  t.equal(answer.status, 409);
  t.same(await answer.json(), { error: 'not wanted' });
});

await t.test('delivery: verified gives the service the whole request or nothing', async (t) => {
  const body = randomBytes(3_000_000);
  const answer = await fetch(`${base}/verified/x`, { method: 'POST', headers: CLIENT, body });
  const { size, sha256 } = (await answer.json()) as { size: number; sha256: string };
  t.equal(size, body.length);
  t.equal(sha256, createHash('sha256').update(body).digest('hex'));
});

await t.test(
  'a client that goes away in the middle of an upload leaves no complete request behind',
  async (t) => {
    const complete = async (): Promise<number> =>
      ((await (await fetch(`${service.url}/__seen`)).json()) as { complete: number }).complete;
    const before = await complete();
    const outgoing = httpRequest(`${base}/files/gone`, {
      method: 'PUT',
      headers: { ...CLIENT, 'x-road-id': 'gone-client', 'content-length': 1_000_000 },
    });
    outgoing.on('error', () => undefined);
    outgoing.write(Buffer.alloc(300_000));
    const kinds = async (): Promise<string[]> => {
      const all = await Promise.all([consumer, provider].map(({ log }) => new LogTail(log).records()));
      return all.flat().flatMap((r) => ('xid' in r && r.xid === 'gone-client' ? [r.k] : []));
    };
    const seen = async (kind: string): Promise<void> => {
      while ((await kinds()).filter((each) => each === kind).length < 2) await delay(20);
    };
    await seen('open');
    outgoing.destroy();
    await seen('abort');
    t.equal(await complete(), before);
    for (const log of [consumer.log, provider.log]) {
      const records = (await new LogTail(log).records()).filter((r) => 'xid' in r && r.xid === 'gone-client');
      t.same(
        records.map(({ k }) => k),
        ['open', 'abort'],
        log === consumer.log ? "A's log" : "B's log",
      );
    }
  },
);

await t.test('metaservices are answered from the signed registry', async (t) => {
  const list = await fetch(`${consumer.url}/listClients`, { headers: { Accept: 'application/json' } });
  const { member } = (await list.json()) as { member: unknown[] };
  t.equal(member.length, 4, 'two members, a subsystem each');
  t.match(await (await fetch(`${consumer.url}/listClients`)).text(), '<xroad:clientList');
  const methods = async (call: string): Promise<string[]> => {
    const answer = await fetch(`${base}/${call}`, { headers: CLIENT });
    return ((await answer.json()) as { service: { service_code: string }[] }).service.map(
      (s) => s.service_code,
    );
  };
  t.ok((await methods('listMethods')).includes('echo'));
  t.ok((await methods('allowedMethods')).includes('events'));
  const unknown = await fetch(`${consumer.url}/r1/TW/GOV/B99/x/listMethods`);
  t.equal(unknown.headers.get('x-road-error'), 'Server.ClientProxy.UnknownMember');
  t.equal((await fetch(`${base}/allowedMethods`)).headers.get('x-road-error'), 'Client.MissingHeaderField');
});

await t.test('health, readiness and metrics stand on the admin listener only', async (t) => {
  for (const { admin } of [consumer, provider]) {
    t.equal((await fetch(`${admin}/healthz`)).status, 200);
    t.equal((await fetch(`${admin}/readyz`)).status, 200);
    t.match(await (await fetch(`${admin}/metrics`)).text(), /troad_exchanges_total\{[^}]*out="ok"\} [1-9]/);
    t.match(await (await fetch(`${admin}/log/checkpoint`)).text(), /troad-log\/1\n\d+\n/);
  }
  for (const path of ['/healthz', '/metrics', '/log/checkpoint']) {
    t.equal((await fetch(`${consumer.url}${path}`)).status, 400, `${path} is nothing on the data port`);
  }
});

await t.test('the log names the hybrid group, and no person', async (t) => {
  const records = await new LogTail(consumer.log).records();
  const final = records.find((record) => record.k === 'res.final');
  t.match(final, { tls: { v: 'TLSv1.3', g: 'X25519MLKEM768' } });
  t.notMatch(JSON.stringify(records), /A123456789|a%20b/, 'user ids and paths are in sealed parts');
  t.notMatch(subject.output.join('\n'), /A123456789|a%20b|of-the-service/, "nor in the operator's log");
});

await t.test('SIGTERM drains and exits 0; a second start continues the same logs', async (t) => {
  const before = (await new LogTail(consumer.log).records()).length;
  t.equal(await subject.stop(), 0);
  const again = await startSandbox(dir);
  const answer = await fetch(`${again.ready.consumer.url}${PATH}/echo`, { headers: CLIENT });
  await answer.text();
  t.equal(answer.status, 200);
  t.equal(await again.stop('SIGHUP'), 0, 'a sandbox does not leave its gateways behind a closed terminal');
  const records = await new LogTail(consumer.log).records();
  t.ok(records.length > before);
  t.equal(records.filter(({ k }) => k === 'boot').length, 2);
  t.match(requireGoodLogs(t, subject.ready), /message signatures verify \(\d{2,} checked\)/);
});
