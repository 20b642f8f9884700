// Certificates and keys of two real gateways, with two workers each, change under load: SIGHUP, and nothing fails.
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import tls from 'node:tls';
import t from 'tap';
import { base64url, sha256 } from '../gateway/core/bytes.ts';
import { bundleDir } from '../gateway/sandbox/bundle.ts';
import type { GatewayRow, RegistryDocument } from '../gateway/registry/document.ts';
import { messageKeyRow, spkiSha256 } from '../gateway/registry/keys.ts';
import { openRegistry, signRegistry } from '../gateway/registry/load.ts';
import type { Registry } from '../gateway/registry/registry.ts';
import { type TrustFile, trustFileOf } from '../gateway/registry/trust-file.ts';
import type { Identity } from '../pki/authority.ts';
import { openAuthority } from '../pki/folder.ts';
import { generateKeyPair, privateKeyPem } from '../pki/keys.ts';
import { writeLoopingBundle } from './builders/looping-policy.ts';
import {
  begin,
  exchange,
  newFolder,
  recordsOf,
  requireGoodLogs,
  serviceUrl,
  startRoad,
  type Line,
} from './harness/road.ts';

t.setTimeout(300_000);

const dir = newFolder(t);
const { sandbox, lines, ready } = await startRoad(dir, 2);
const authority = await openAuthority(join(dir, 'ca'), 'TW sandbox', Date.now);

interface Side {
  readonly code: 'a11' | 'b07';
  readonly name: string;
  readonly dir: string;
  readonly log: string;
  readonly pid: number;
}
const sideOf = (code: Side['code'], { log, pid }: { readonly log: string; readonly pid: number }): Side => ({
  code,
  name: `gw.${code}.tw.troad.example`,
  dir: dirname(log),
  log,
  pid,
});
const [a, b] = [sideOf('a11', ready.consumer), sideOf('b07', ready.provider)];

/** Waits for it, as long as the test may take. */
async function until<T>(look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await delay(20);
  }
}
const linesOf = ({ code }: Side, event: string): Line[] =>
  lines.flatMap(({ agency, line }) => (agency.includes(code) && line.event === event ? [line] : []));

/** As an operator puts a file in place: whole or not at all. */
function put(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

// The registry, as its operator has it.
const rootKey = createPrivateKey(readFileSync(join(dir, 'registry', 'root.key')));
const registryFile = join(dir, 'registry', 'registry.json');
const trust = { rootKeys: [createPublicKey(rootKey)] };
let registry: Registry = await openRegistry(readFileSync(registryFile), trust);

/** Signs the next version, and waits until every worker of both gateways goes by it. */
async function publish(change: (row: GatewayRow) => GatewayRow): Promise<void> {
  const version = registry.version + 1;
  const gateways = registry.document.gateways.map(change);
  const document: RegistryDocument = { ...registry.document, version, gateways };
  const file = await signRegistry(document, [rootKey]);
  registry = await openRegistry(Buffer.from(file), trust);
  put(registryFile, file);
  for (const { log } of [a, b])
    for (const worker of [1, 2])
      await until(async () =>
        (await recordsOf(log, worker)).find((each) => each.k === 'trust' && each.version === version),
      );
}

/** Signals the gateway, and waits until it says that this is in use. */
async function renewed(side: Side, setting: string, fingerprint: string): Promise<void> {
  process.kill(side.pid, 'SIGHUP');
  const isIt = (line: Line): boolean => line['fingerprint'] === fingerprint && line['setting'] === setting;
  await until(() => linesOf(side, 'credentials.loaded').find(isIt));
}
const fingerprint = ({ der }: Identity): string => base64url(sha256(der));

/** What a new client is shown. */
const shownAt = (url: string, ca = authority.rootPem): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket = tls.connect({ host: hostname, port: Number(port), ca }, () => {
      const leaf: X509Certificate | undefined = socket.getPeerX509Certificate();
      socket.destroy();
      resolve(leaf === undefined ? '' : base64url(sha256(leaf.raw)));
    });
    socket.on('error', reject);
  });

// Load: over connections that are kept, and over new ones; plain and TLS.
const load = { running: true, carried: 0, failures: [] as string[] };
const headers = { 'x-road-client': 'TW/GOV/A11/welfare' };
const client = {
  ca: authority.rootPem,
  cert: readFileSync(ready.consumer.clientCert),
  key: readFileSync(ready.consumer.clientKey),
};
const path = new URL(serviceUrl(ready, '/echo/x')).pathname;

function once(url: string, agent: PlainAgent | false, body: string): Promise<string> {
  return new Promise((resolve) => {
    const options = { method: 'POST', headers, agent };
    const outgoing = url.startsWith('https:')
      ? tlsRequest(url, { ...options, ...client })
      : plainRequest(url, options);
    outgoing.on('error', (cause) => resolve(String(cause)));
    outgoing.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('error', (cause) => resolve(String(cause)));
      response.on('end', () =>
        resolve(response.statusCode === 200 ? '' : `${response.statusCode ?? 0} ${text}`),
      );
    });
    outgoing.end(body);
  });
}
async function caller(base: string, agent: PlainAgent | false, body: string): Promise<void> {
  while (load.running) {
    const failure = await once(`${base}${path}`, agent, body);
    if (failure === '') load.carried += 1;
    else load.failures.push(failure);
    await delay(5);
  }
}
const agents = [new PlainAgent({ keepAlive: true }), new TlsAgent({ keepAlive: true })] as const;
const { url, tlsUrl } = ready.consumer;
const callers = [
  caller(url, agents[0], 'x'),
  caller(url, agents[0], 'x'.repeat(300_000)), // streamed: signed at its head and at its end
  caller(url, false, 'x'),
  caller(tlsUrl, agents[1], 'x'),
  caller(tlsUrl, false, 'x'),
];
/** So many more were carried, whatever had begun before. */
async function carried(more: number): Promise<void> {
  const goal = load.carried + more;
  await until(() => (load.carried >= goal || load.failures.length > 0 ? true : undefined));
}

// Answers that have begun, and are read when all has changed.
const slow = await Promise.all([1, 2, 3, 4].map(() => begin(serviceUrl(ready, '/files/4000000'))));
const newLink = { a11: await authority.issueLink(a.name), b07: await authority.issueLink(b.name) };
const oldLink = {
  a11: base64url(sha256(new X509Certificate(readFileSync(join(a.dir, 'link.pem'))).raw)),
  b07: base64url(sha256(new X509Certificate(readFileSync(join(b.dir, 'link.pem'))).raw)),
};
const newMessage = { a11: generateKeyPair('ed25519'), b07: generateKeyPair('p256') };
const rowOf = (side: Side) =>
  messageKeyRow(side.name, newMessage[side.code].publicKey, {
    notBefore: 0,
    notAfter: Date.now() + 86_400_000,
  });
const rows = { a11: rowOf(a), b07: rowOf(b) };
const codeOf = ({ name }: GatewayRow): Side['code'] => (name === a.name ? 'a11' : 'b07');
const spkiOf = ({ privateKey }: Identity): string => spkiSha256(createPublicKey(privateKey));

await t.test('a message key that the registry does not list yet is not used', async (t) => {
  put(join(a.dir, 'message.key'), privateKeyPem(newMessage.a11.privateKey));
  process.kill(a.pid, 'SIGHUP');
  const [{ detail }] = [await until(() => linesOf(a, 'credentials.problem')[0])];
  t.match(detail, /message\.key: version \d+ of the registry does not list .* {2}名冊未將/);
  await carried(20);
});

await t.test('the registry lists new keys beside the old ones', async () => {
  await publish((row) => ({
    ...row,
    link: [...row.link, { spki: spkiOf(newLink[codeOf(row)]) }],
    messageKeys: [...row.messageKeys, rows[codeOf(row)]],
  }));
});

for (const [side, peer] of [
  [a, b],
  [b, a],
] as const) {
  await t.test(`${side.code}: the link certificate changes, and every session with it`, async (t) => {
    const next = newLink[side.code];
    put(join(side.dir, 'link.pem'), next.chainPem);
    put(join(side.dir, 'link.key'), next.keyPem);
    await renewed(side, 'link', fingerprint(next));
    await carried(20);
    const isNew = (line: Line): boolean => line['certificate'] === fingerprint(next);
    await until(() => linesOf(peer, 'link.session_opened').find(isNew));
    t.pass('the peer meets the new one');
  });

  await t.test(`${side.code}: the https certificate changes for new connections`, async (t) => {
    const next = await authority.issueServer();
    put(join(side.dir, 'https.pem'), next.chainPem);
    put(join(side.dir, 'https.key'), next.keyPem);
    await renewed(side, 'listen.https', fingerprint(next));
    await carried(20);
    if (side !== a) return;
    // The kernel chooses the worker: each has changed by the time it is said.
    for (let i = 0; i < 16; i += 1) t.equal(await shownAt(tlsUrl), fingerprint(next));
  });

  await t.test(`${side.code}: the message key changes`, async (t) => {
    const { kid } = rows[side.code];
    put(join(side.dir, 'message.key'), privateKeyPem(newMessage[side.code].privateKey));
    await renewed(side, 'keys.message', kid);
    await carried(20);
    for (const { log } of [a, b])
      await until(async () => {
        const records = [...(await recordsOf(log, 1)), ...(await recordsOf(log, 2))];
        return records.find((each) => 'kid' in each && each.kid === kid);
      });
    t.pass('and stands in both logs');
  });
}

await t.test('files that are not good change nothing', async (t) => {
  const before = await shownAt(tlsUrl);
  const key = readFileSync(join(a.dir, 'https.key'), 'utf8');
  put(join(a.dir, 'https.key'), newLink.a11.keyPem);
  process.kill(a.pid, 'SIGHUP');
  const isIt = ({ detail }: Line): boolean =>
    /\/listen\/https\/key: .* is not the key of/.test(String(detail));
  await until(() => linesOf(a, 'credentials.problem').find(isIt));
  t.equal(await shownAt(tlsUrl), before);
  put(join(a.dir, 'https.key'), key);
  process.kill(a.pid, 'SIGHUP');
  await until(() => linesOf(a, 'credentials.unchanged')[0]);
});

await t.test('what had begun before ends as it would have', async (t) => {
  const ends = await Promise.all(slow.map((read) => read()));
  t.same(
    ends.map(({ status, body }) => [status, body.length]),
    ends.map(() => [200, 4_000_000]),
  );
});

await t.test('the keys of before are dropped from the registry, and nobody misses them', async (t) => {
  // Sessions end with what they carry. As client and as server each gateway tells of the other's certificate.
  for (const [side, peer] of [
    [a, b],
    [b, a],
  ] as const)
    await until(() => {
      const isOld = (line: Line): boolean => line['certificate'] === oldLink[peer.code];
      const [opened, closed] = ['opened', 'closed'].map(
        (what) => linesOf(side, `link.session_${what}`).filter(isOld).length,
      );
      return opened === closed ? true : undefined;
    });
  await publish((row) => ({ ...row, link: row.link.slice(1) }));
  await carried(50);
  t.same([...linesOf(a, 'link.session_broken'), ...linesOf(b, 'link.session_broken')], []);
});

await t.test('nothing failed, and both logs say so', async (t) => {
  load.running = false;
  await Promise.all(callers);
  for (const agent of agents) agent.destroy();
  t.same(load.failures.slice(0, 5), []);
  t.comment(`${load.carried} exchanges`);
  await sandbox.stop();
  for (const side of [a, b]) {
    const records = [...(await recordsOf(side.log, 1)), ...(await recordsOf(side.log, 2))];
    const { kid } = rows[side.code];
    const own = records.flatMap((each) => ('kid' in each && each.kid?.startsWith(side.name) ? [each] : []));
    t.ok(own.some((each) => each.kid !== kid) && own.some((each) => each.kid === kid), 'both keys were used');
  }
  // An auditor who knows every key there was.
  const { gateways } = JSON.parse(readFileSync(ready.trust, 'utf8')) as TrustFile; // as the sandbox wrote it
  writeFileSync(ready.trust, JSON.stringify(trustFileOf(registry, gateways[0]?.policy ?? [])));
  requireGoodLogs(t, ready);
});

await t.test('a worker that begins later begins with what is in use, not with what lies there', async (t) => {
  const folder = newFolder(t);
  const bundle = join(folder, 'bundle');
  writeLoopingBundle(bundleDir(), bundle);
  const road = await startRoad(join(folder, 'road'), 1, bundle);
  const { consumer } = road.ready;
  const agency = dirname(consumer.log);
  const shown = base64url(sha256(new X509Certificate(readFileSync(join(agency, 'https.pem'))).raw));
  for (const name of ['link.pem', 'link.key', 'https.pem', 'https.key', 'message.key'])
    put(join(agency, name), 'half of a file');
  // Attack O04 is how a worker ends unasked.
  await exchange(road.ready, `/echo/${'a'.repeat(7000)}`).catch(() => undefined);
  await until(() => road.lines.find(({ line }) => line.event === 'worker.replaced'));
  const issuers = readFileSync(consumer.ca, 'utf8');
  t.equal(await shownAt(consumer.tlsUrl, issuers), shown);
  await road.sandbox.stop();
});
