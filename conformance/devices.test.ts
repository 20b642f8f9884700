// Attested endpoints over real sockets: what a client system shows, what its gateway makes of it, and that the provider's
// gateway verifies it again. The attestation service is ours, so it can lie.
import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { EarContent } from '../gateway/device/ear.ts';
import type { MemberId } from '../gateway/core/ids.ts';
import {
  type Answer,
  certificateSha256,
  demanding,
  DeviceConnection,
  LyingAgent,
  republish,
  RevocationServer,
  Verifier,
} from './harness/device-lab.ts';
import { LogTail } from './harness/log-tail.ts';
import { exchange, newFolder, requireGoodLogs, startRoad, type Line } from './harness/road.ts';

t.setTimeout(600_000);

const ECHO = '/r1/TW/GOV/B07/housing/echo';
const EVENTS = '/r1/TW/GOV/B07/housing/events';
const GATEWAY = 'gw.a11.tw.troad.example';
const members = ['TW/GOV/A11', 'TW/GOV/B07'] as MemberId[];
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;

const verifier = new Verifier();
const stranger = new Verifier('attest.stranger.example', 'stranger-1');
const { sandbox, ready, lines } = await startRoad(newFolder(t), 1);
const ca = readFileSync(ready.consumer.ca, 'utf8');
const certificate = {
  cert: readFileSync(ready.consumer.clientCert, 'utf8'),
  key: readFileSync(ready.consumer.clientKey, 'utf8'),
};
const feed = await RevocationServer.start(ready, verifier.revocations([]));
const mine = { certificate: certificateSha256(certificate.cert), audience: GATEWAY };
const result = (changes: Partial<EarContent> = {}): string => verifier.result({ ...mine, ...changes });

/** Devices of tests do not get into each other's way. */
let devices = 0;
const newDevice = (): string => `device-${++devices}`.padEnd(43, 'x');

async function until<T>(what: string, find: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (const patience = Date.now() + 60_000; Date.now() < patience;) {
    const found = await find();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: did not happen`);
}

const eventOf = (name: string, of: (line: Line) => boolean) => () =>
  lines.filter(({ line }) => line.event === name && of(line)).length >= 2 || undefined;

async function connected(t: Test): Promise<DeviceConnection> {
  const connection = await DeviceConnection.open(ready.consumer.tlsUrl, ca, certificate);
  t.teardown(() => connection.close());
  return connection;
}

void t.test('the registry names an attestation service, and agreements demand devices', async () => {
  const version = await republish(ready, (document) => ({
    attestors: [verifier.row({ members })],
    agreements: demanding(document, { echo: { endpoint: LEAST }, events: { endpoint: LEAST } }),
  }));
  await until(
    'both gateways load it',
    eventOf('registry.loaded', (line) => line['version'] === version),
  );
});

void t.test('without a result: refused, and told what is wanted', async (t) => {
  const connection = await connected(t);
  const answer = await connection.get(`${ECHO}/x`);
  t.match(answer, { status: 401, code: 'device.required' });
  t.equal(answer.challenge, `T-Road-Device audience="${GATEWAY}"`);
  const elsewhere = await exchange(ready, '/files/7');
  t.equal(elsewhere.status, 200, 'where none is demanded nobody asks');
});

void t.test('a healthy device passes; once on its connection is enough', async (t) => {
  const connection = await connected(t);
  const device = newDevice();
  const shown = connection.present(result({ device }));
  t.equal((await connection.get(`${ECHO}/x`, shown)).status, 200);
  t.equal((await connection.get(`${ECHO}/x`)).status, 200, 'not sent again');
  t.equal((await connection.get(`${ECHO}/x`, shown)).status, 200, 'sent again');
  for (const [side, log] of [
    ['consumer', ready.consumer.log],
    ['provider', ready.provider.log],
  ] as const) {
    const records = await new LogTail(log).records();
    const told = records.filter((record) => 'dev' in record && record.dev?.id === device);
    t.ok(told.length >= 3, `${side}: the reference is in every record`);
    t.match(told.at(0), {
      dev: { iss: 'attest.lab.example', tpm: 'affirming', health: 'affirming', by: 'bound' },
    });
    t.ok(
      records.some(({ parts }) => parts?.device !== undefined),
      `${side}: the result itself is sealed`,
    );
  }
});

const refusals: readonly (readonly [what: string, changes: Partial<EarContent>, status: number, code: string])[] = [
  ['of another gateway', { audience: 'gw.b07.tw.troad.example' }, 403, 'device.result'],
  ['of another certificate', { certificate: 'x'.repeat(43) }, 403, 'device.result'],
  ['of a node', { class: 'node', gateway: GATEWAY }, 403, 'device.result'],
  ['that lives too long', { expiresAt: Math.floor(Date.now() / 1000) + 3600 }, 403, 'device.result'],
  ['of the future', { issuedAt: Math.floor(Date.now() / 1000) + 10_000 }, 403, 'device.result'],
  ['that has expired', { issuedAt: 1_000_000_000, expiresAt: 1_000_000_100 }, 401, 'device.expired'],
  ['of a machine that booted something else', { tpm: { executables: 96 } }, 403, 'device.insufficient'],
  ['of a machine without updates', { health: { os: 96, antivirus: 2, applications: 2, configuration: 2 } }, 403, 'device.insufficient'],
]; // prettier-ignore
for (const [what, changes, status, code] of refusals) {
  void t.test(`refuses a result ${what}`, async (t) => {
    const connection = await connected(t);
    const shown = connection.present(result({ device: newDevice(), ...changes }));
    t.match(await connection.get(`${ECHO}/x`, shown), { status, code });
  });
}

void t.test('refuses what is stolen, forged or malformed', async (t) => {
  const connection = await connected(t);
  const token = result({ device: newDevice() });
  const there = await connected(t);
  const refused = async (what: string, shown: string, code: string): Promise<void> => {
    const answer: Answer = await connection.get(`${ECHO}/x`, shown);
    t.match(answer, { status: 403, code }, what);
  };
  await refused('the binding of another connection', there.present(token), 'device.binding');
  await refused('no binding', `result="${token}"`, 'device.binding');
  await refused('another signer', connection.present(stranger.result(mine)), 'device.result');
  // Not the last character, whose low bits are nobody’s.
  const changed = token.at(-2) === 'A' ? 'B' : 'A';
  const bit = `${token.slice(0, -2)}${changed}${token.slice(-1)}`;
  await refused('one bit', connection.present(bit), 'device.result');
  await refused('no such field', token, 'device.result');
  t.equal((await connection.get(`${ECHO}/x`, connection.present(token))).status, 200, 'the real thing');
});

void t.test('a worse result takes the place of a better one, and there is no way back', async (t) => {
  const connection = await connected(t);
  const device = newDevice();
  const issuedAt = Math.floor(Date.now() / 1000);
  const good = connection.present(result({ device, issuedAt: issuedAt - 2 }));
  t.equal((await connection.get(`${ECHO}/x`, good)).status, 200);
  const bad = connection.present(result({ device, issuedAt: issuedAt - 1, tpm: { executables: 96 } }));
  t.match(await connection.get(`${ECHO}/x`, bad), { status: 403, code: 'device.insufficient' });
  t.match(await connection.get(`${ECHO}/x`, good), { status: 401, code: 'device.superseded' });
  t.match(await connection.get(`${ECHO}/x`), { status: 403, code: 'device.insufficient' }, 'silence neither');
});

/** The abort record of a device's exchange. */
const aborted = (log: string, device: string) => () =>
  new LogTail(log)
    .records()
    .then((records) =>
      records.find((record) => record.k === 'abort' && 'dev' in record && record.dev?.id === device),
    );

void t.test('a running stream ends with a worse result', async (t) => {
  const [streaming, other] = [await connected(t), await connected(t)];
  const device = newDevice();
  const issuedAt = Math.floor(Date.now() / 1000);
  const good = result({ device, issuedAt: issuedAt - 2 });
  const answer = await streaming.begin(`${EVENTS}?count=10000&ms=50`, streaming.present(good));
  t.equal(answer.statusCode, 200);
  const broken = new Promise<Error>((resolve) => answer.once('error', resolve));
  answer.resume();
  const bad = result({ device, issuedAt: issuedAt - 1, tpm: { executables: 96 } });
  t.equal((await other.get(`${ECHO}/x`, other.present(bad))).code, 'device.insufficient');
  t.ok(await broken, 'cut in the middle');
  const record = await until('the record', aborted(ready.consumer.log, device));
  t.match(record, { out: 'device.insufficient', sent: { req: 0 } });
});

void t.test('a running stream ends when its result does, and goes on when that is renewed', async (t) => {
  const lives = 7;
  const [lone, renewed, other] = [await connected(t), await connected(t), await connected(t)];
  const [dying, living] = [newDevice(), newDevice()];
  const short = (device: string): string => {
    const issuedAt = Math.floor(Date.now() / 1000);
    return result({ device, issuedAt, expiresAt: issuedAt + lives });
  };
  const first = await lone.begin(`${EVENTS}?count=10000&ms=50`, lone.present(short(dying)));
  const second = await renewed.begin(`${EVENTS}?count=10000&ms=50`, renewed.present(short(living)));
  t.strictSame([first.statusCode, second.statusCode], [200, 200]);
  let ended = false;
  second.on('error', () => (ended = true)).resume();
  const broken = new Promise<Error>((resolve) => first.once('error', resolve));
  first.resume();
  t.equal((await other.get(`${ECHO}/x`, other.present(result({ device: living })))).status, 200);
  t.ok(await broken);
  // Both gateways know when: whichever is first ends it for this reason, and the other one sees that.
  const logs = [ready.consumer.log, ready.provider.log];
  const records = await Promise.all(logs.map((log) => until('the record', aborted(log, dying))));
  t.ok(
    records.some((record) => 'out' in record && record.out === 'device.expired'),
    JSON.stringify(records),
  );
  await new Promise((resolve) => setTimeout(resolve, 1500));
  t.notOk(ended, 'the renewed one runs on');
});

void t.test('60 a revocation ends what runs, and the connection', async (t) => {
  await republish(ready, () => ({ attestors: [verifier.row({ members, revocations: { url: feed.url } })] }));
  await until(
    'both follow the list',
    eventOf('device.revocations', () => true),
  );
  const connection = await connected(t);
  const device = newDevice();
  const shown = connection.present(result({ device }));
  const answer = await connection.begin(`${EVENTS}?count=10000&ms=50`, shown);
  t.equal(answer.statusCode, 200);
  const broken = new Promise<Error>((resolve) => answer.once('error', resolve));
  const closed = new Promise<void>((resolve) => connection.socket.once('close', () => resolve()));
  answer.resume();
  const began = performance.now();
  feed.publish(verifier.revocations([{ device, epoch: 9, before: 0 }]));
  await broken;
  const elapsed = performance.now() - began;
  await closed;
  t.comment(`from the list to the last byte: ${elapsed.toFixed(1)} ms`);
  // Both follow the list; whoever reads it first breaks the stream off, and the other one may see that before.
  const records = [
    await until('the record of the consumer', aborted(ready.consumer.log, device)),
    await until('the record of the provider', aborted(ready.provider.log, device)),
  ];
  const outcomes = records.map((record) => ('out' in record ? record.out : undefined));
  t.ok(outcomes.includes('device.revoked'), outcomes.join(', '));
  const again = await connected(t);
  t.match(await again.get(`${ECHO}/x`, again.present(result({ device }))), {
    status: 403,
    code: 'device.revoked',
  });
});

// --- Hosts of gateways

const hosts: Record<string, Partial<EarContent> | undefined> = { a11: {}, b07: {} };
const agents = await Promise.all(
  Object.keys(hosts).map((agency) =>
    LyingAgent.start(ready, agency, (own) => {
      const changes = hosts[agency];
      if (changes === undefined) return undefined;
      // Short lives, so that news is told soon: gateways ask again at two thirds.
      const issuedAt = Math.floor(Date.now() / 1000);
      return verifier.result({ ...own, issuedAt, expiresAt: issuedAt + 6, ...changes });
    }),
  ),
);

/** Gateways greet each other again in time; until then what was shown stays. */
const answers = (what: string, code: string | undefined) =>
  until(what, async () => {
    const answer = await plain();
    return answer.code === code ? answer : undefined;
  });
/** On a connection of its own: a gateway does not keep for long one on which nothing is asked. */
async function plain(): Promise<Answer> {
  const connection = await DeviceConnection.open(ready.consumer.tlsUrl, ca, certificate);
  try {
    return await connection.get(`${ECHO}/x`);
  } finally {
    connection.close();
  }
}

void t.test('hosts of both gateways are attested where the agreement says so', async (t) => {
  await republish(ready, (document) => ({ agreements: demanding(document, { echo: { node: LEAST } }) }));
  t.equal((await answers('both have shown themselves', undefined)).status, 200);
  for (const [side, log, peer] of [
    ['consumer', ready.consumer.log, 'gw.b07'],
    ['provider', ready.provider.log, 'gw.a11'],
  ] as const) {
    const records = await new LogTail(log).records();
    t.match(records.findLast((record) => record.k === 'res.final'), {
      node: { id: new RegExp(`^host-of-${peer}`), by: 'bound', tpm: 'affirming' },
    }, side); // prettier-ignore
  }
});

for (const agency of ['a11', 'b07'] as const) {
  const other = agency === 'a11' ? 'b07' : 'a11';
  void t.test(`the host of ${agency} falls ill, and gets well`, async (t) => {
    hosts[agency] = { tpm: { executables: 96 } };
    const answer = await answers(`${other} refuses it`, 'device.node_insufficient');
    t.equal(answer.status, 403);
    hosts[agency] = {};
    await answers('well again', undefined);
  });
}

void t.test('a host that shows nothing is refused, and so is one with the result of another', async (t) => {
  hosts['b07'] = undefined;
  t.equal((await answers('A misses it', 'device.node_required')).status, 403);
  const told = (text: string) => () =>
    lines.some(({ line }) => line.event === 'device.problem' && String(line['detail']).includes(text)) ||
    undefined;
  await until('the agent is missed', told('device agent: '));
  hosts['b07'] = { gateway: 'gw.c01.tw.troad.example' };
  await until('another gateway', told('not the result of gw.b07'));
  t.equal((await plain()).code, 'device.node_required');
});

void t.test('the logs tell it all', async (t) => {
  await sandbox.stop();
  await Promise.all([feed.stop(), ...agents.map((agent) => agent.stop())]);
  requireGoodLogs(t, ready);
});
