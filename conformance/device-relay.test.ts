// A provider's gateway before a hostile consumer's gateway, which has its registered keys and says of machines what it likes:
// one change, one code, over real sockets. The attestation service is ours.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import tls, { type TLSSocket } from 'node:tls';
import { buffer } from 'node:stream/consumers';
import t from 'tap';
import { base64url, sha256 } from '../gateway/core/bytes.ts';
import type { MemberId } from '../gateway/core/ids.ts';
import { REFUSALS } from '../gateway/core/refusals.ts';
import type { DeviceDemand } from '../gateway/device/demand.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../gateway/device/binding.ts';
import type { EarContent } from '../gateway/device/ear.ts';
import { formatRelayedDevice, type RelayedDevice } from '../gateway/message/device-field.ts';
import { bound, CONTENT } from './builders/ear.ts';
import { certificateSha256, demanding, republish, RevocationServer, Verifier } from './harness/device-lab.ts';
import { openSession } from './harness/link-client.ts';
import { linkRequest, stolenKeys } from './harness/link-request.ts';
import { LogTail } from './harness/log-tail.ts';
import { newFolder, startRoad } from './harness/road.ts';

t.setTimeout(600_000);

const PEER = 'gw.a11.tw.troad.example';
/** All that there are. */
const CODES = Object.keys(REFUSALS).filter((code) => code.startsWith('device.'));
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;
const member = (agency: string) => `TW/GOV/${agency}` as MemberId; // of every sandbox

const verifier = new Verifier();
const stranger = new Verifier('attest.stranger.example', 'stranger-1');
/** Speaks about devices of agency B, and about none of A's. */
const ofOthers = new Verifier('attest.b07.example', 'others-1');
const { sandbox, ready, lines } = await startRoad(newFolder(t), 1);
const keys = stolenKeys({ ready } as Parameters<typeof stolenKeys>[0]); // only its folder is asked for
const feed = await RevocationServer.start(ready, verifier.revocations([]));
const session = await openSession(ready.provider.link, keys);
const now = (): number => Math.floor(Date.now() / 1000);

/** The connection of a machine that nobody has. */
const exporter = randomBytes(32);
const certificate = sha256('a certificate of A');
const key = sha256('its key');
const connection = (of: Uint8Array = exporter) => ({
  exporter: Buffer.from(of),
  certificateSha256: base64url(certificate),
  spkiSha256: base64url(key),
});
let devices = 0;
const newDevice = (): string => `relayed-${++devices}`.padEnd(43, 'x');
const mine = () => ({ device: newDevice(), audience: PEER, certificate: base64url(certificate) });
const tokenOf = (changes: Partial<EarContent> = {}, by = verifier): string =>
  by.result({ ...mine(), ...changes });
const field = (token: string, changes: Partial<RelayedDevice> = {}): string =>
  formatRelayedDevice({ token, binding: bound(connection()), exporter, certificate, key, ...changes });

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
}

/** One signed request for the service that demands a machine. @param tampered what is done to the field after signing */
async function relay(device: string, tampered = (text: string): string => text): Promise<Answer> {
  const fields = { 't-road-device': device };
  const args = { path: '/r1/TW/GOV/B07/housing/echo', fields };
  const message = linkRequest(args, keys, Date.now());
  message.fields = message.fields.map(([name, value]) =>
    name === 't-road-device' ? [name, tampered(value)] : [name, value],
  );
  const { answers } = await session.send(message, 'tidy');
  const [answer] = answers;
  if (answer === undefined) throw new Error('no answer');
  const code =
    answer.status === 200
      ? undefined
      : (JSON.parse(answer.body.toString()) as { readonly code: string }).code;
  return { status: answer.status, code };
}

async function demand(device: DeviceDemand | 'none'): Promise<void> {
  const version = await republish(ready, (document) => ({
    attestors: [
      verifier.row({ members: [member('A11'), member('B07')], revocations: { url: feed.url } }),
      ofOthers.row({ members: [member('B07')] }),
    ],
    agreements: demanding(document, { echo: device === 'none' ? {} : device }),
  }));
  for (const patience = Date.now() + 60_000; Date.now() < patience;) {
    const loaded = lines.filter(
      ({ line }) => line.event === 'registry.loaded' && line['version'] === version,
    );
    const followed = lines.filter(({ line }) => line.event === 'device.revocations');
    if (loaded.length >= 2 && followed.length >= 2) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the registry was not loaded');
}

void t.test('what an honest gateway relays passes', async (t) => {
  await demand({ endpoint: LEAST });
  t.match(await relay(field(tokenOf())), { status: 200 });
  const again = field(tokenOf());
  t.match(await relay(again), { status: 200 });
  t.match(await relay(again), { status: 200 }, 'verified once, good until it ends');
});

const other = randomBytes(32);
const rows: readonly (readonly [what: string, device: () => string, status: number, code: string])[] = [
  ['no machine', () => '', 401, 'device.required'],
  ['A19 another signer', () => field(tokenOf({}, stranger)), 403, 'device.result'],
  ['a service that does not speak about its member', () => field(tokenOf({}, ofOthers)), 403, 'device.result'],
  ['a result for another gateway', () => field(tokenOf({ audience: 'gw.c01.tw.troad.example' })), 403, 'device.result'],
  ['a result for this gateway', () => field(tokenOf({ audience: 'gw.b07.tw.troad.example' })), 403, 'device.result'],
  ['the result of a host', () => field(tokenOf({ class: 'node', gateway: PEER })), 403, 'device.result'],
  ['another certificate', () => field(tokenOf(), { certificate: sha256('another') }), 403, 'device.result'],
  ['a result that lives too long', () => field(tokenOf({ expiresAt: now() + 3600 })), 403, 'device.result'],
  ['an expired result', () => field(tokenOf({ issuedAt: now() - 200, expiresAt: now() - 1 })), 401, 'device.expired'],
  ['A18 another exporter', () => field(tokenOf(), { exporter: other }), 403, 'device.binding'],
  ['A18 the binding of another connection', () => field(tokenOf(), { binding: bound(connection(other)) }), 403, 'device.binding'],
  ['no binding where one is demanded', () => field(tokenOf(), { binding: undefined, exporter: undefined }), 403, 'device.binding'],
  ['a machine that booted something else', () => field(tokenOf({ tpm: { executables: 96 } })), 403, 'device.insufficient'],
  ['a machine without updates', () => field(tokenOf({ health: { os: 96, antivirus: 2, applications: 2, configuration: 2 } })), 403, 'device.insufficient'],
  ['a field that is none', () => 'result="x"', 400, 'message.inconsistent'],
  ['a field in another order', () => field(tokenOf()).split(', ').toReversed().join(', '), 400, 'message.inconsistent'],
]; // prettier-ignore
for (const [what, device, status, code] of rows) {
  void t.test(`refuses ${what}`, async (t) => {
    t.match(await relay(device()), { status, code });
  });
}

void t.test('refuses a field that was changed after it was signed', async (t) => {
  const foreign = field(tokenOf());
  t.match(await relay(field(tokenOf()), () => foreign), { status: 403, code: 'message.signature_invalid' });
});

void t.test('refuses what a newer result replaced, and what was taken back', async (t) => {
  const device = newDevice();
  const older = field(tokenOf({ device, issuedAt: now() - 3 }));
  t.match(await relay(older), { status: 200 });
  t.match(await relay(field(tokenOf({ device, issuedAt: now() - 2 }))), { status: 200 });
  t.match(await relay(older), { status: 200 }, 'as good as the newer one');
  const worse = { issuedAt: now() - 1, health: { ...CONTENT.health, os: 32 } };
  t.match(await relay(field(tokenOf({ device, ...worse }))), { status: 200 });
  t.match(await relay(older), { status: 401, code: 'device.superseded' });
  const stolen = newDevice();
  const good = field(tokenOf({ device: stolen }));
  t.match(await relay(good), { status: 200 });
  feed.publish(verifier.revocations([{ device: stolen, epoch: 9, before: 0 }]));
  for (const patience = Date.now() + 60_000; (await relay(good)).status === 200;)
    if (Date.now() > patience) throw new Error('the revocation did not arrive');
  t.match(await relay(good), { status: 403, code: 'device.revoked' });
});

// --- What is no message: renewals, and the greeting in which hosts are shown

/** One HTTP/2 session of which the exporter is known. */
class Wire {
  readonly #socket: TLSSocket;
  readonly #session: http2.ClientHttp2Session;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    this.#session = http2.connect(`https://${keys.provider}`, { createConnection: () => socket });
    this.#session.on('error', () => undefined); // shows in its requests
  }

  static async open(): Promise<Wire> {
    const [host = '', port = ''] = ready.provider.link.split(':');
    const socket = tls.connect({
      ...keys.tls,
      host,
      port: Number(port),
      servername: keys.provider,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['h2'],
    });
    await once(socket, 'secureConnect');
    return new Wire(socket);
  }

  get exporter(): Buffer {
    return this.#socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
  }

  post(path: string, body: string): Promise<{ readonly status: number; readonly text: string }> {
    const head = { ':method': 'POST', ':path': path, ':authority': keys.provider };
    return this.#send({ ...head, 'content-length': String(body.length) }, Buffer.from(body));
  }

  /** A signed message without a machine. @returns the code of its refusal */
  async ask(): Promise<string | undefined> {
    const { method, path, authority, fields, body } = linkRequest(
      { path: '/r1/TW/GOV/B07/housing/echo' },
      keys,
      Date.now(),
    );
    const head = { ':method': method, ':path': path, ':authority': authority };
    const { status, text } = await this.#send(
      { ...head, ...Object.fromEntries(fields), 'content-length': String(body.length) },
      body,
    );
    return status === 200 ? undefined : (JSON.parse(text) as { readonly code: string }).code;
  }

  async #send(headers: http2.OutgoingHttpHeaders, body: Buffer) {
    const stream = this.#session.request(headers);
    stream.end(body);
    const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    return { status: Number(answer[':status']), text: (await buffer(stream)).toString() };
  }

  close(): void {
    this.#session.destroy();
  }
}

void t.test('a renewal is judged like a message', async (t) => {
  const wire = await Wire.open();
  t.teardown(() => wire.close());
  const show = (device: string) => wire.post('/.troad/device', device);
  t.strictSame(await show(field(tokenOf())), { status: 200, text: '' });
  t.strictSame(await show(field(tokenOf({ audience: keys.provider }))), {
    status: 403,
    text: 'device.result',
  });
  t.strictSame(await show(field(tokenOf({}, ofOthers))), { status: 403, text: 'device.result' });
  t.strictSame(await show(field(tokenOf(), { exporter: other })), { status: 403, text: 'device.binding' });
  t.strictSame(await show('anything'), { status: 403, text: 'message.inconsistent' });
  t.match(await show('x'.repeat(20_000)), { status: 400 });
  t.match(await show(field(tokenOf())), { status: 200 }, 'the session goes on');
});

void t.test('hosts: what a hostile gateway shows of its own', async (t) => {
  await demand({ node: LEAST });
  const own = certificateSha256(keys.tls.cert.toString());
  const host = (changes: Partial<EarContent> = {}): string =>
    verifier.result({
      class: 'node',
      gateway: PEER,
      audience: 'TW',
      certificate: own,
      device: newDevice(),
      ...changes,
    });
  const on = (wire: Wire, of = wire.exporter): string =>
    bound({ exporter: of, certificateSha256: own, spkiSha256: '' });
  /** What is asked on the session on which something was shown. */
  const asked = async (shown: (wire: Wire) => string): Promise<string | undefined> => {
    const wire = await Wire.open();
    try {
      t.equal((await wire.post('/.troad/node', shown(wire))).status, 200);
      return await wire.ask();
    } finally {
      wire.close();
    }
  };
  const greeting = (result: string, binding?: string): string => JSON.stringify({ result, binding });
  t.equal(await asked((wire) => greeting(host(), on(wire))), undefined, 'an honest one');
  for (const [what, shown] of [
    ['nothing', () => '{}'],
    ['no greeting', () => 'hello'],
    ['A18 the binding of another session', (wire) => greeting(host(), on(wire, other))],
    [
      'the host of another gateway',
      (wire) => greeting(host({ gateway: 'gw.c01.tw.troad.example' }), on(wire)),
    ],
    ['a result for another instance', (wire) => greeting(host({ audience: 'JP' }), on(wire))],
    [
      'the result of an endpoint',
      (wire) => greeting(host({ class: 'endpoint', gateway: undefined }), on(wire)),
    ],
    ['an expired result', (wire) => greeting(host({ issuedAt: now() - 99, expiresAt: now() - 1 }), on(wire))],
    [
      'another signer',
      (wire) =>
        greeting(
          stranger.result({ class: 'node', gateway: PEER, audience: 'TW', certificate: own }),
          on(wire),
        ),
    ],
  ] as readonly (readonly [string, (wire: Wire) => string])[])
    // prettier-ignore
    t.equal(await asked(shown), 'device.node_required', what);
  t.equal(
    await asked((wire) => greeting(host({ tpm: { executables: 96 } }), on(wire))),
    'device.node_insufficient',
  );
  t.equal(await asked(() => greeting(host())), 'device.node_insufficient', 'not bound');
});

void t.test('every refusal of a machine is in the log of the provider', async (t) => {
  session.destroy();
  await sandbox.stop();
  await feed.stop();
  const records = await new LogTail(ready.provider.log).records();
  const told = new Set<string>(
    records.flatMap((record) => (record.k === 'deny' && 'out' in record ? [record.out] : [])),
  );
  for (const code of CODES) t.ok(told.has(code), code);
});
