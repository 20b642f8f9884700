/**
 * What attested machines cost a gateway: the look at one for each request, the first verification on a connection, what another
 * worker does when it hears of it, whole exchanges with and without a machine, and the time from a revocation to the last byte.
 *
 *     node conformance/bench/device.ts [rounds]
 */
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { MemberId } from '../../gateway/core/ids.ts';
import { DeviceRegister } from '../../gateway/device/register.ts';
import type { ClientConnection } from '../../gateway/exchange/arrival.ts';
import { type DeviceNews, VerifiedDevices } from '../../gateway/exchange/device-checks.ts';
import { hearNews } from '../../gateway/exchange/device-news.ts';
import { presentedDevice, relayedDevice } from '../../gateway/exchange/devices.ts';
import type { Gateway } from '../../gateway/exchange/gateway.ts';
import { RunningDevices } from '../../gateway/exchange/running-devices.ts';
import { PeerGateway } from '../../gateway/identity/peer.ts';
import type { Registry } from '../../gateway/registry/registry.ts';
import { readCertificate } from '../../gateway/x509/certificate.ts';
import { Authority } from '../../pki/authority.ts';
import { AUDIENCE, bound, KEYS, NOW, token } from '../builders/ear.ts';
import {
  certificateSha256,
  demanding,
  DeviceConnection,
  republish,
  RevocationServer,
  Verifier,
} from '../harness/device-lab.ts';
import { metric, startRoad } from '../harness/road.ts';
import { ON_DISK, temporaryFolder } from './leftovers.ts';
import { median } from './stats.ts';

const ROUNDS = Number(process.argv[2] ?? 5);
const LOOKS = 200_000;
const VERIFICATIONS = 300;
const EXCHANGES = 200;
const MEMBER = 'TW/GOV/A11' as MemberId; // of every sandbox
const ECHO = '/r1/TW/GOV/B07/housing/echo/x';
const EVENTS = '/r1/TW/GOV/B07/housing/events?count=100000&ms=2';
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;

const range = (values: readonly number[], digits: number): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;
const say = (what: string, values: readonly number[], unit: string, digits = 1): void =>
  void process.stdout.write(`${what.padEnd(58)} ${range(values, digits)} ${unit}\n`);

/** Microseconds of CPU for each of so many. */
function cpu(times: number, run: (i: number) => void): number {
  const before = process.cpuUsage();
  for (let i = 0; i < times; i += 1) run(i);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / times;
}

const authority = await Authority.create('TW bench', () => NOW);
const client = await authority.issueClient('pc-1');
const link = await authority.issueLink(AUDIENCE);
const spki = readCertificate(link.der).spkiSha256;
const known = { name: AUDIENCE, member: MEMBER, linkSpki: [spki] };
const peer = PeerGateway.identify(link.der, 'client', { gatewayByName: () => known }, NOW);
const clock = { now: () => NOW, monotonic: () => performance.now() };

function gatewayOf(): Gateway {
  const register = new DeviceRegister();
  const registry: Pick<Registry, 'attestorKeys' | 'sha256'> = {
    sha256: 'y'.repeat(43),
    attestorKeys: () => KEYS,
  };
  const gateway: object = {
    name: AUDIENCE,
    clock,
    registry: () => registry,
    devices: {
      register,
      running: new RunningDevices(register, clock),
      relayed: new VerifiedDevices(),
      share: () => undefined,
    },
  };
  return gateway as Gateway; // nothing else of it is asked for here
}

let connections = 0;
function connection(): { readonly connection: ClientConnection; readonly text: string } {
  const exporter = createHash('sha256').update(`connection ${++connections}`).digest();
  const certificate = certificateSha256(client.pem);
  const made = token({ certificate, id: `r${connections}`, device: `device ${connections}`.padEnd(43, 'x') });
  const on = { exporter, certificateSha256: certificate, spkiSha256: '' };
  return {
    text: `result="${made}", binding="${bound(on)}"`,
    connection: {
      tls: true,
      loopback: true,
      remote: '127.0.0.1:1',
      certificate: new X509Certificate(client.pem).raw,
      exporter,
      end: () => undefined,
      onClosed: () => undefined,
    },
  };
}

function inOneProcess(): void {
  const gateway = gatewayOf();
  const { connection: one, text } = connection();
  const shown = [['t-road-device', text]] as const;
  const presented = presentedDevice(shown, one, MEMBER, gateway);
  if (presented === undefined) throw new Error('not verified');
  const news = (field: string): DeviceNews => ({ field, audience: AUDIENCE, member: MEMBER });
  const rows: Record<string, number[]> = { silent: [], shown: [], relayed: [], first: [], heard: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    rows['silent']?.push(cpu(LOOKS, () => void presentedDevice([], one, MEMBER, gateway)));
    rows['shown']?.push(cpu(LOOKS, () => void presentedDevice(shown, one, MEMBER, gateway)));
    // A field is another string with every message, as the link reads it.
    const bytes = Buffer.from(presented.field, 'latin1');
    rows['relayed']?.push(
      cpu(LOOKS / 10, () => {
        const fields = [['t-road-device', bytes.toString('latin1')]] as const;
        void relayedDevice({ fields }, peer, gateway);
      }),
    );
    const fresh = Array.from({ length: VERIFICATIONS }, connection);
    const fields: string[] = [];
    rows['first']?.push(
      cpu(VERIFICATIONS, (i) => {
        const each = fresh[i];
        if (each === undefined) throw new Error('made above');
        fields.push(
          presentedDevice([['t-road-device', each.text]], each.connection, MEMBER, gateway)?.field ?? '',
        );
      }),
    );
    const worker = gatewayOf();
    rows['heard']?.push(cpu(VERIFICATIONS, (i) => hearNews(news(fields[i] ?? ''), worker)));
  }
  const { silent = [], shown: again = [], relayed: at = [], first = [], heard = [] } = rows;
  say('look at the machine of a connection', silent, 'µs of CPU', 2);
  say('the same, result sent again', again, 'µs of CPU', 2);
  say('look at a relayed machine, at the provider', at, 'µs of CPU', 2);
  say('first verification on a connection', first, 'µs of CPU');
  say('another worker hears of it', heard, 'µs of CPU');
  say('bytes of the relayed field', [presented.field.length], 'bytes', 0);
}

async function betweenGateways(): Promise<void> {
  const folder = temporaryFolder(ON_DISK);
  const verifier = new Verifier();
  const { sandbox, ready, lines } = await startRoad(join(folder, 'sandbox'), 1);
  const feed = await RevocationServer.start(ready, verifier.revocations([]));
  const own = {
    cert: readFileSync(ready.consumer.clientCert, 'utf8'),
    key: readFileSync(ready.consumer.clientKey, 'utf8'),
  };
  const open = () =>
    DeviceConnection.open(ready.consumer.tlsUrl, readFileSync(ready.consumer.ca, 'utf8'), own);
  const result = (device: string): string =>
    verifier.result({
      device: device.padEnd(43, 'x'),
      audience: AUDIENCE,
      certificate: certificateSha256(own.cert),
      expiresAt: Math.floor(Date.now() / 1000) + 300,
    });
  try {
    await republish(ready, (document) => ({
      attestors: [verifier.row({ members: [MEMBER], revocations: { url: feed.url } })],
      agreements: demanding(document, { events: { endpoint: LEAST } }),
    }));
    while (lines.filter(({ line }) => line.event === 'device.revocations').length < 2) await pause(50);
    const used = async (): Promise<number> => {
      const each = await Promise.all(
        [ready.consumer.admin, ready.provider.admin].map((admin) =>
          metric(admin, 'process_cpu_seconds_total'),
        ),
      );
      return each.reduce((sum, value) => sum + value, 0);
    };
    const measured = async (device: string | undefined): Promise<number> => {
      const one = await open();
      const shown = device === undefined ? undefined : one.present(result(device));
      await one.get(ECHO, shown);
      const before = await used();
      for (let i = 0; i < EXCHANGES; i += 1) {
        const { status } = await one.get(ECHO);
        if (status !== 200) throw new Error(`answered ${status}`);
      }
      const micros = ((await used()) - before) * (1e6 / EXCHANGES);
      one.close();
      return micros;
    };
    const [without, withMachine, waits]: [number[], number[], number[]] = [[], [], []];
    await measured('warm'); // compiled code
    for (let round = 0; round < ROUNDS; round += 1) {
      without.push(await measured(undefined));
      withMachine.push(await measured(`machine ${round}`));
      waits.push(await revoked(round));
    }
    say('exchange one after another, both gateways, no machine', without, 'µs of CPU', 0);
    say('the same with a machine', withMachine, 'µs of CPU', 0);
    say('from a revocation to the last byte of a stream', waits, 'ms');
  } finally {
    await sandbox.stop();
    await feed.stop();
  }

  async function revoked(round: number): Promise<number> {
    const device = `stream ${round}`;
    const one = await open();
    const answer = await one.begin(EVENTS, one.present(result(device)));
    let last = 0;
    const begun = Promise.withResolvers<void>();
    const ended = new Promise<void>((resolve) =>
      answer.once('close', () => resolve()).once('error', () => resolve()),
    );
    answer.on('data', () => {
      last = performance.now();
      begun.resolve();
    });
    await begun.promise;
    const began = performance.now();
    feed.publish(verifier.revocations([{ device: device.padEnd(43, 'x'), epoch: 9, before: 0 }]));
    await ended;
    one.close();
    return Math.max(0, last - began);
  }
}

inOneProcess();
await betweenGateways();
