// The proxy that client systems speak to, against a TLS server of our own in the gateway's place and an agent on a socket.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { Authority } from '../../pki/authority.ts';
import { base64url } from '../core/bytes.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../device/binding.ts';
import { AgentService } from './agent-service.ts';
import { AttestedClient } from './attested-client.ts';
import { agentPresenter } from './device-presenter.ts';
import { DeviceProxy } from './device-proxy.ts';

const dir = mkdtempSync(join(tmpdir(), 'troad-proxy-'));
const socket = join(dir, 'agent.sock');
const authority = await Authority.create('TW test', Date.now);
const server = await authority.issueServer();
const client = await authority.issueClient('pc-1');
const ca = authority.rootPem + authority.issuingPem;

/** A gateway that says what it saw, and how the connection looks from its side. */
const gateway = createServer(
  { cert: server.chainPem, key: server.keyPem, ca, requestCert: true, minVersion: 'TLSv1.3' },
  (incoming, outgoing) => {
    const tls = incoming.socket as TLSSocket; // an https server has no other sockets
    const exporter = tls.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
    if (incoming.url === '/early') {
      outgoing.writeHead(409, { connection: 'close' }).end('no');
      return;
    }
    if (incoming.url === '/broken') {
      outgoing.writeHead(200, { 'content-length': 100 });
      outgoing.write('half', () => tls.destroy());
      return;
    }
    if (incoming.url === '/hang') return;
    const hash = createHash('sha256');
    incoming.on('data', (chunk: Buffer) => hash.update(chunk));
    incoming.on('end', () => {
      outgoing.setHeader('set-cookie', ['a=1', 'b=2']);
      outgoing.end(
        JSON.stringify({
          method: incoming.method,
          url: incoming.url,
          headers: incoming.headersDistinct,
          sha256: hash.digest('hex'),
          exporter: base64url(exporter),
          resumed: tls.isSessionReused(),
          port: tls.remotePort,
        }),
      );
    });
  },
);
gateway.listen(0, '127.0.0.1');
await once(gateway, 'listening');
// A server on TCP has an address with a port.
const url = `https://127.0.0.1:${(gateway.address() as AddressInfo).port}`;

let signed = 0;
let results = 0;
let fails = false;
/** An agent whose "signature" is the exporter twice, so that both ends can compare. */
const newAgent = (): AgentService =>
  new AgentService({
    agent: {
      device: 'd',
      name: 'pc-1',
      attest: async () => {
        if (fails) throw new Error('out of order');
        return { token: `a.${++results}.c`, lifeSeconds: 300 };
      },
      bind: async (exporter) => {
        signed += 1;
        return base64url(Buffer.concat([exporter, exporter]));
      },
    },
    audience: 'gw.a11.tw.troad.example',
    certificate: client.pem,
    clock: { now: Date.now, monotonic: () => performance.now() },
    jitter: () => 0.5,
    events: { attested: () => undefined, failed: () => undefined },
  });

let monotonic = 0;
const failures: unknown[] = [];
const proxy = await DeviceProxy.start({
  gateway: url,
  ca,
  cert: client.pem,
  key: client.keyPem,
  host: '127.0.0.1',
  port: 0,
  present: agentPresenter(
    socket,
    () => monotonic,
    (why) => failures.push(why),
  ),
  failed: (why) => failures.push(why),
});

interface Seen {
  readonly headers: Record<string, string[]>;
  readonly url: string;
  readonly method: string;
  readonly sha256: string;
  readonly exporter: string;
  readonly resumed: boolean;
  readonly port: number;
}

async function ask(
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
  body?: Buffer,
): Promise<{ answer: IncomingMessage; body: string }> {
  const outgoing = request({ host: '127.0.0.1', port: proxy.port, path, agent: false, ...options });
  outgoing.end(body);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]; // as node:http documents
  return { answer, body: await text(answer) };
}
// What the gateway above wrote.
const seen = async (...args: Parameters<typeof ask>): Promise<Seen> =>
  JSON.parse((await ask(...args)).body) as Seen;
const fieldOf = ({ headers }: Seen): string | undefined => headers['t-road-device']?.[0];

let agent = newAgent();
await agent.start();
await agent.listen(socket);

void t.test('shows the machine on each connection, and signs once for it', async (t) => {
  const first = await seen('/x?y=1');
  t.equal(first.url, '/x?y=1');
  const twice = base64url(Buffer.concat([1, 2].map(() => Buffer.from(first.exporter, 'base64url'))));
  t.equal(fieldOf(first), `result="a.1.c", binding="${twice}"`, 'of this very connection');
  t.equal(signed, 1);
  const second = await seen('/again');
  t.equal(second.port, first.port, 'the connection is kept');
  t.equal(fieldOf(second), fieldOf(first));
  t.equal(signed, 1, 'one signature a connection');
  const [a, b] = await Promise.all([seen('/a'), seen('/b')]);
  t.not(a.exporter, b.exporter);
  t.not(fieldOf(a), fieldOf(b), 'two connections, two signatures');
  t.notOk(a.resumed || b.resumed, 'never a resumed session');
});

void t.test('passes what belongs to the exchange, and nothing of this hop', async (t) => {
  const headers = {
    't-road-device': 'result="forged"',
    'x-road-client': 'TW/GOV/A11/welfare',
    connection: 'keep-alive, x-private',
    'x-private': 'for the proxy',
    te: 'trailers',
    host: 'LocalHost:8080',
  };
  const { headers: got } = await seen('/x', { headers });
  t.same(got['x-road-client'], ['TW/GOV/A11/welfare']);
  t.notMatch(got['t-road-device'], [/forged/], 'a program cannot say what the machine is');
  t.equal(got['t-road-device']?.length, 1);
  t.notOk(got['x-private']);
  t.notOk(got['te']);
  t.same(got['host'], [new URL(url).host], 'the gateway is called by its own name');
  const { answer } = await ask('/x');
  t.same(answer.headers['set-cookie'], ['a=1', 'b=2'], 'fields that stand there twice');
});

void t.test('a web page that rebinds its name to this machine does not speak as the machine', async (t) => {
  const before = signed;
  for (const host of [
    'elsewhere.example',
    `elsewhere.example:${proxy.port}`,
    '127.0.0.1.elsewhere.example',
    'localhost.',
  ]) {
    const { answer, body } = await ask('/x', { headers: { host, 'x-road-client': 'TW/GOV/A11/welfare' } });
    t.equal(answer.statusCode, 421, host);
    t.match(JSON.parse(body), { code: 'proxy.host' });
  }
  t.equal(signed, before, 'nothing was shown');
  for (const host of ['127.0.0.1', `localhost:${proxy.port}`, '[::1]:80'])
    t.match((await seen('/x', { headers: { host } })).headers['host'], [new URL(url).host], host);
});

void t.test('bodies of every framing', async (t) => {
  const body = randomBytes(3_000_000);
  const sha256 = createHash('sha256').update(body).digest('hex');
  for (const [what, method, headers] of [
    ['with a length', 'PUT', { 'content-length': String(body.length) }],
    ['chunked', 'POST', { 'transfer-encoding': 'chunked' }],
    ['chunked, of a GET', 'GET', { 'transfer-encoding': 'chunked' }],
  ] as const) {
    t.equal((await seen('/body', { method, headers }, body)).sha256, sha256, what);
  }
});

void t.test('what breaks', async (t) => {
  const early = await ask(
    '/early',
    { method: 'POST', headers: { 'transfer-encoding': 'chunked' } },
    randomBytes(100_000),
  );
  t.equal(early.answer.statusCode, 409, 'an answer before the end of the request');
  await t.rejects(ask('/broken'), 'half an answer is not passed off as a whole one');

  const given = request({ host: '127.0.0.1', port: proxy.port, path: '/hang', agent: false });
  given.on('error', () => undefined);
  given.end();
  const [hanging] = (await once(gateway, 'request')) as [IncomingMessage]; // as node:http documents
  const gone = once(hanging.socket, 'close');
  given.destroy();
  await gone;
  t.pass('a client that leaves takes its request along');

  const raw = connect(proxy.port, '127.0.0.1');
  raw.end('GET / HTTP/1.1\r\nno colon\r\n\r\n');
  t.match(await text(raw), /^HTTP\/1\.1 400 /);
});

void t.test(
  'an agent that has nothing to show: the request goes without, and the gateway decides',
  async (t) => {
    await agent.stop();
    fails = true;
    agent = newAgent();
    await agent.start();
    await agent.listen(socket);
    monotonic += 1001;
    t.equal(fieldOf(await seen('/x')), undefined);
    t.ok(failures.length > 0, 'and it is said');
    await agent.stop();
    monotonic += 1001;
    t.equal(fieldOf(await seen('/x')), undefined, 'with no agent at all');
  },
);

void t.test('another run of the agent signs again: its keys may be others', async (t) => {
  fails = false;
  agent = newAgent();
  await agent.start();
  await agent.listen(socket);
  monotonic += 1001;
  const before = signed;
  const first = await seen('/x');
  t.match(fieldOf(first), /^result="a\.\d+\.c", binding="/);
  t.equal(signed, before + 1);
});

void t.test('without a gateway', async (t) => {
  t.throws(
    () =>
      new AttestedClient({
        gateway: 'http://gw',
        ca,
        cert: client.pem,
        key: client.keyPem,
        present: async () => undefined,
      }),
    /the gateway speaks https/,
  );
  gateway.close();
  gateway.closeAllConnections();
  const { answer, body } = await ask('/x');
  t.equal(answer.statusCode, 502);
  t.match(JSON.parse(body), { code: 'proxy.gateway' });
});

void t.test('ends', async (t) => {
  await proxy.stop();
  await agent.stop();
  rmSync(dir, { recursive: true, force: true });
  t.pass();
});
