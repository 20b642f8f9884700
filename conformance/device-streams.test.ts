// Long streams of attested machines through gateways with two workers each: what is seen on one connection holds for all
// that runs, in every worker and at the provider, too.
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import t, { type Test } from 'tap';
import { base64url, sha256 } from '../gateway/core/bytes.ts';
import type { MemberId } from '../gateway/core/ids.ts';
import type { EarContent } from '../gateway/device/ear.ts';
import type { CoreRecord } from '../gateway/evidence/record.ts';
import {
  certificateSha256,
  demanding,
  DeviceConnection,
  republish,
  RevocationServer,
  Verifier,
} from './harness/device-lab.ts';
import { newFolder, recordsOf, requireGoodLogs, startRoad, type Line } from './harness/road.ts';

t.setTimeout(600_000);

const EVENTS = '/r1/TW/GOV/B07/housing/events?count=100000&ms=50';
const ECHO = '/r1/TW/GOV/B07/housing/echo';
/** Refused by the consumer's gateway alone: the provider hears nothing of it, and the machine was looked at before. */
const ONE_EVENT = '/r1/TW/GOV/B07/housing/events?count=1&ms=1';
const NOWHERE = '/r1/TW/GOV/B07/housing/nowhere';
const STREAMS = 24; // both workers get some of them, but for once in 8 million times
const members = ['TW/GOV/A11', 'TW/GOV/B07'] as MemberId[]; // of every sandbox
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;

const verifier = new Verifier();
const folder = newFolder(t);
const { sandbox, ready, lines } = await startRoad(folder, 2);
const ca = readFileSync(ready.consumer.ca, 'utf8');
const certificate = {
  cert: readFileSync(ready.consumer.clientCert, 'utf8'),
  key: readFileSync(ready.consumer.clientKey, 'utf8'),
};
const feed = await RevocationServer.start(ready, verifier.revocations([]));
const mine = { certificate: certificateSha256(certificate.cert), audience: 'gw.a11.tw.troad.example' };
const now = (): number => Math.floor(Date.now() / 1000);
const result = (changes: Partial<EarContent>): string => verifier.result({ ...mine, ...changes });
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until<T>(what: string, find: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (const patience = Date.now() + 60_000; Date.now() < patience; await pause(50)) {
    const found = await find();
    if (found !== undefined) return found;
  }
  throw new Error(`${what}: did not happen`);
}

async function connected(t: Test): Promise<DeviceConnection> {
  const connection = await DeviceConnection.open(ready.consumer.tlsUrl, ca, certificate);
  t.teardown(() => connection.close());
  return connection;
}

/** Streams that run, each on a connection of its own: the kernel gives them to both workers. */
async function streams(t: Test, make: () => string) {
  const connections = await Promise.all(Array.from({ length: STREAMS }, () => connected(t)));
  const token = make(); // it lives for seconds, and all of these take some
  const open = await Promise.all(
    connections.map((connection) => connection.begin(EVENTS, connection.present(token))),
  );
  t.ok(open.every(({ statusCode }) => statusCode === 200), 'all run'); // prettier-ignore
  const ended = open.map(
    (answer: IncomingMessage) =>
      new Promise<void>((resolve) => answer.once('error', () => resolve()).resume()),
  );
  const state = { over: 0 };
  for (const end of ended) void end.then(() => (state.over += 1));
  return { state, all: Promise.all(ended) };
}

/** How the exchanges of a device were broken off, by worker. */
async function aborts(log: string, device: string): Promise<readonly (readonly CoreRecord[])[]> {
  return Promise.all(
    [1, 2].map(async (worker) =>
      (await recordsOf(log, worker)).filter(
        (record) => record.k === 'abort' && 'dev' in record && record.dev?.id === device,
      ),
    ),
  );
}
const allAborted = (log: string, device: string) => async () => {
  const each = await aborts(log, device);
  return each.flat().length === STREAMS ? each : undefined;
};

void t.test('both gateways follow an attestation service', async (t) => {
  const version = await republish(ready, (document) => ({
    attestors: [verifier.row({ members, revocations: { url: feed.url } })],
    agreements: demanding(document, { events: { endpoint: LEAST } }),
  }));
  const twice = (event: string, of: (line: Line) => boolean) => () =>
    lines.filter(({ line }) => line.event === event && of(line)).length >= 2 || undefined;
  await until(
    'the registry',
    twice('registry.loaded', (line) => line['version'] === version),
  );
  await until(
    'the list',
    twice('device.revocations', () => true),
  );
  // The workers verify for themselves.
  for (let i = 0; i < STREAMS; i += 1) {
    const connection = await connected(t);
    await until('it is heard of', async () => {
      const shown = connection.present(result({ device: 'any'.padEnd(43, 'x') }));
      return (await connection.get(ONE_EVENT, shown)).status === 200 || undefined;
    });
  }
});

void t.test('a renewal that the consumer alone saw keeps the streams at the provider alive', async (t) => {
  const device = 'renewed'.padEnd(43, 'x');
  let issuedAt = 0;
  const running = await streams(t, () => {
    issuedAt = now();
    return result({ device, issuedAt, expiresAt: issuedAt + 8 });
  });
  const other = await connected(t);
  const newer = result({ device });
  t.equal((await other.get(NOWHERE, other.present(newer))).code, 'service.unknown');
  await pause((issuedAt + 10) * 1000 - Date.now());
  t.equal(running.state.over, 0, 'long after the first result has expired');

  const worse = result({ device, issuedAt: now(), id: 'worse', tpm: { executables: 96 } });
  const last = await connected(t);
  await last.get(NOWHERE, last.present(worse));
  await running.all;
  const consumer = await until('records of the consumer', allAborted(ready.consumer.log, device));
  const renewed = base64url(sha256(newer));
  for (const record of consumer.flat())
    t.match(record, { dev: { r: renewed }, parts: { device: {} } }, 'the record rests on the newer result');
  t.ok(consumer.flat().every((record) => 'out' in record && record.out === 'device.insufficient')); // prettier-ignore
  t.ok(
    consumer.every((of) => of.length > 0),
    'streams of both workers',
  );
  await until('records of the provider', allAborted(ready.provider.log, device));
});

void t.test('without a renewal the provider ends them, too', async (t) => {
  const device = 'lone'.padEnd(43, 'x');
  const running = await streams(t, () => result({ device, issuedAt: now(), expiresAt: now() + 5 }));
  await running.all;
  await until('records of the provider', allAborted(ready.provider.log, device));
});

void t.test('A02 a result that one worker has seen replaced is refused by the others', async (t) => {
  const device = 'replaced'.padEnd(43, 'x');
  const older = result({ device, issuedAt: now() - 2 });
  const first = await connected(t);
  await first.get(NOWHERE, first.present(result({ device, tpm: { executables: 96 } })));
  for (let i = 0; i < 8; i += 1) {
    const connection = await connected(t);
    await until('heard', async () => {
      const { code } = await connection.get(`${ECHO}/x`, connection.present(older));
      return code === 'device.superseded' ? true : undefined;
    });
  }
});

void t.test('60 a revocation ends what runs in every worker', async (t) => {
  const device = 'revoked'.padEnd(43, 'x');
  const running = await streams(t, () => result({ device }));
  feed.publish(verifier.revocations([{ device, epoch: 9, before: 0 }]));
  await running.all;
  for (const { log } of [ready.consumer, ready.provider]) {
    const each = await until('the records', allAborted(log, device));
    t.ok(each.flat().length === STREAMS);
  }
});

void t.test('the logs tell it all', async (t) => {
  await sandbox.stop();
  await feed.stop();
  requireGoodLogs(t, ready);
});

void t.test('60 what was revoked stays so over a restart, while nobody can be asked', async (t) => {
  const again = await startRoad(folder, 2);
  t.teardown(() => again.sandbox.stop());
  const { consumer } = again.ready;
  await republish(again.ready, () => ({
    attestors: [verifier.row({ members, revocations: { url: feed.url } })],
  }));
  const loaded = (): true | undefined => {
    const told = again.lines.filter(({ line }) => line.event === 'device.problem');
    return new Set(told.map(({ agency }) => agency)).size === 2 || undefined;
  };
  await until('the service is asked in vain', loaded);
  for (let i = 0; i < 4; i += 1) {
    const connection = await DeviceConnection.open(consumer.tlsUrl, ca, certificate);
    const asked = (device: string) =>
      connection.get(`${ECHO}/x`, connection.present(result({ device: device.padEnd(43, 'x') })));
    t.match(await asked('revoked'), { status: 403, code: 'device.revoked' });
    t.equal((await asked(`another-${i}`)).status, 200);
    connection.close();
  }
});
