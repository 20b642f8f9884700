// Everything real: swtpm processes, TLS between agent and service, sockets, files.
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test as T } from 'tap';
import { setTimeout as pause } from 'node:timers/promises';
import { GATEWAY, HEALTHY, policyBytes } from '../../conformance/builders/attestor-lab.ts';
import { EkAuthority } from '../../conformance/builders/ek-ca.ts';
import { agileLog, eventDigest, healthyBoot } from '../../conformance/builders/event-log.ts';
import { type Swtpm, SwtpmLab, swtpmMissing } from '../../conformance/builders/swtpm.ts';
import { Authority } from '../../pki/authority.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import { EndpointDevice } from '../device/attested-device.ts';
import { DeviceRegister } from '../device/register.ts';
import { Revocations } from '../device/revocations.ts';
import { HASH } from '../tpm/algorithm.ts';
import { readCertificate } from '../x509/certificate.ts';
import { pcrExtend } from '../tpm/storage-commands.ts';
import { DeviceAgent } from './agent.ts';
import { AgentService } from './agent-service.ts';
import { administrate, AttestorClient } from './attestor-client.ts';
import { LastingAgent } from './lasting-agent.ts';
import { AttestorServer } from './attestor-server.ts';
import { Attestor } from './attestor.ts';
import { Devices } from './devices.ts';
import { parsePolicy } from './policy.ts';
import { RevocationFeed } from '../registry/revocation-feed.ts';
import { Tpm } from './tpm.ts';

const dir = mkdtempSync(join(tmpdir(), 'troad-agent-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

const authority = await Authority.create('TW test', Date.now);
const tls = await authority.issueServer();
const client = await authority.issueClient('pc-1');
const devicesAuthority = await Authority.create('TW devices', Date.now);
const deviceCa = {
  certificate: new X509Certificate(devicesAuthority.issuingPem).raw,
  privateKey: devicesAuthority.parts.issuingKey,
};
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const keys = [{ issuer: 'attest.tw.troad.example', kid: 'a1', publicKey }];
const clock = { now: Date.now, monotonic: () => performance.now() };

async function service(t: T, { root, issuer }: { root: Buffer; issuer: Buffer }, softwareTpms = true) {
  const refusals: string[] = [];
  const events = {
    refused: (code: string) => refusals.push(code),
    enrolled: () => undefined,
    changed: () => undefined,
    appraised: () => undefined,
  };
  const name = base64url(randomBytes(4));
  const devices = await Devices.open(join(dir, name, 'devices.journal'));
  const attestor = new Attestor({
    trust: {
      roots: [],
      testRoots: [root],
      intermediates: [issuer],
      softwareTpms,
      allowed: new Set(),
      manufacturers: new Set(),
      revoked: new Set(),
    },
    expected: [],
    devices,
    clock,
    random: randomBytes,
    policy: parsePolicy(policyBytes()),
    signer: { issuer: 'attest.tw.troad.example', kid: 'a1', privateKey },
    learning: false,
    deviceCa,
    events,
  });
  const adminSocket = join(dir, `${name}.sock`);
  const server = await AttestorServer.start(attestor, {
    host: '127.0.0.1',
    port: 0,
    cert: tls.chainPem,
    key: tls.keyPem,
    adminSocket,
    events,
  });
  t.teardown(async () => {
    await server.stop();
    await devices.close();
  });
  const connect = (): AttestorClient => {
    const made = new AttestorClient(`https://127.0.0.1:${server.port}`, authority.rootPem);
    t.teardown(() => made.close());
    return made;
  };
  const admin = (path: string, body?: object) =>
    administrate(adminSocket, { method: body === undefined ? 'GET' : 'POST', path, ...(body && { body }) });
  return { attestor, server, connect, admin, refusals };
}

/** Power on, and measure a boot into the PCRs as firmware would. */
async function powerOn(device: Swtpm, events = healthyBoot()): Promise<Tpm> {
  await device.start();
  const tpm = await Tpm.open(device.address);
  for (const built of events) {
    await tpm.run(pcrExtend(built.pcr, [{ hash: HASH.sha256.id, digest: eventDigest(built) }]));
  }
  return tpm;
}

const evidenceOf = (events = healthyBoot()) => ({
  eventLog: () => Promise.resolve(agileLog(events)),
  claims: () => Promise.resolve(HEALTHY),
});

const vendors = new SwtpmLab(dir);
const denied = (code: string) => Object.assign(new Error(), { name: 'AttestorRefused', code });
const exporter = randomBytes(32);
const connection = {
  certificateSha256: base64url(sha256(client.der)),
  spkiSha256: 'another',
  exporter,
};
const verify = (token: string, binding: string | undefined, register = new DeviceRegister()) =>
  EndpointDevice.verify(
    { token, binding },
    connection,
    GATEWAY,
    { keys: keys.map((key) => ({ ...key, maxLifeSeconds: 300 })), register },
    Date.now(),
  );

void t.test('the life of a device', { skip: swtpmMissing }, async (t) => {
  const pc = await vendors.make('pc1');
  t.teardown(() => pc.stop());
  let tpm = await powerOn(pc);
  const { connect, admin, attestor, refusals } = await service(t, vendors);
  const folder = join(dir, 'pc1-agent');
  const blocker = join(dir, 'no-folder');
  await writeFile(blocker, '');
  const nowhere = DeviceAgent.enrol({ tpm, dir: join(blocker, 'agent'), client: connect() }, 'pc-1');
  await t.rejects(nowhere, { code: 'ENOTDIR' }, 'where the keys cannot be kept');
  t.same(attestor.list(), [], 'the service has taken nothing in, so that it can be tried again');
  const { device, state } = await DeviceAgent.enrol({ tpm, dir: folder, client: connect() }, 'pc-1');
  t.equal(state, 'pending');
  for (const [file, usage, policies] of [
    ['ak.pem', '2.23.133.8.3', 3],
    ['device.pem', '1.3.6.1.5.5.7.3.2', 2],
  ] as const) {
    const certificate = new X509Certificate(await readFile(join(folder, file)));
    t.ok(certificate.verify(new X509Certificate(deviceCa.certificate).publicKey));
    t.same(certificate.keyUsage, [usage]);
    t.equal(certificate.subjectAltName, `URI:urn:troad:device:${device}`);
    const found = certificate.raw.toString('latin1').split('\x06\x06\x67\x81\x05\x0b\x01').length - 1;
    t.equal(found, policies, 'residency policies of the TCG');
    t.same(readCertificate(certificate.raw).unknownCritical, []);
  }
  const open = (events = healthyBoot()) =>
    DeviceAgent.open({ tpm, dir: folder, client: connect(), ...evidenceOf(events) });
  let agent = await open();
  t.equal(agent.device, device);
  await t.rejects(agent.attest(GATEWAY, client.pem), denied('evidence.device_inactive'));
  await admin(`/devices/pc-1/approve`, { class: 'endpoint' });

  const register = new DeviceRegister();
  let proof: EndpointDevice;
  await t.test('attests, and binds its connection', async (t) => {
    const { token, lifeSeconds } = await agent.attest(GATEWAY, client.pem);
    t.equal(lifeSeconds, 180);
    proof = verify(token, await agent.bind(exporter, connection.certificateSha256), register);
    t.match(proof, { device, residency: 'bound', tpmTier: 'affirming', healthTier: 'affirming' });
    t.equal(verify(token, undefined).residency, 'software');
    const foreign = await agent.bind(randomBytes(32), connection.certificateSha256);
    t.throws(
      () => verify(token, foreign),
      Object.assign(new Error(), { name: 'Denied', code: 'device.binding' }),
    );
  });

  await t.test('25 does not enrol twice by itself', async (t) => {
    await agent.release();
    await t.rejects(
      DeviceAgent.enrol({ tpm, dir: folder, client: connect() }, 'pc-1'),
      denied('enrol.device_exists'),
    );
    agent = await open();
    t.equal(agent.device, device, 'its keys are still there');
  });

  await t.test('a reboot: the same keys, a new boot, an older result ends', async (t) => {
    await tpm.close({ shutdown: true });
    await pc.stop();
    tpm = await powerOn(pc);
    agent = await open();
    const { token } = await agent.attest(GATEWAY, client.pem);
    proof.requireCurrent(Date.now());
    const renewed = verify((await agent.attest(GATEWAY, client.pem)).token, undefined, register);
    t.ok(token);
    renewed.requireCurrent(Date.now());
    t.throws(() => proof.requireCurrent(Date.now()), { message: /superseded/ });
  });

  await t.test('tampered: a PCR extended after the boot', async (t) => {
    const list = async () => Revocations.open(await connect().revocations(undefined), keys);
    const before = (await list()).sequence;
    await tpm.run(pcrExtend(4, [{ hash: HASH.sha256.id, digest: sha256('bootkit') }]));
    await t.rejects(agent.attest(GATEWAY, client.pem), denied('evidence.pcr_digest'));
    t.ok((await list()).sequence > before, 'and what it had is taken back');
  });

  await t.test('tampered: a boot loader nobody knows', async (t) => {
    await tpm.close({ shutdown: true });
    await pc.stop();
    const events = healthyBoot({ loader: 'bootkit' });
    tpm = await powerOn(pc, events);
    agent = await open(events);
    const { token } = await agent.attest(GATEWAY, client.pem);
    t.equal(verify(token, undefined).tpmTier, 'contraindicated');
  });

  await t.test('re-enrolled when an administrator allows it', async (t) => {
    await admin('/devices/pc-1/re-enrol', {});
    await agent.release();
    const former = await readFile(join(folder, 'device.json'));
    await DeviceAgent.enrol({ tpm, dir: folder, client: connect() }, 'pc-1');
    await writeFile(join(folder, 'device.json'), former);
    agent = await open();
    await t.rejects(agent.attest(GATEWAY, client.pem), denied('evidence.device_inactive'));
    await admin('/devices/pc-1/approve', { class: 'endpoint' });
    await t.rejects(agent.attest(GATEWAY, client.pem), denied('evidence.signature'), 'with the former key');
  });

  await t.test('revoked: the list is out at once', async (t) => {
    const reader = connect();
    const { sequence } = Revocations.open(await reader.revocations(undefined), keys);
    const waiting = reader.revocations(sequence);
    const began = performance.now();
    await admin('/devices/pc-1/revoke', {});
    const list = Revocations.open(await waiting, keys);
    t.comment(`${Math.round(performance.now() - began)} ms`);
    t.same([...list.devices], [device]);
    const failures: string[] = [];
    const feed = connect();
    const { register: watching, proof: watched } = { register, proof };
    const closed = new Promise<string>((resolve) => watching.watch(watched, (why) => resolve(why.code)));
    const options = {
      after: undefined,
      heard: () => undefined,
      ask: (after: number | undefined) => feed.revocations(after),
      keys: () => keys,
      take: (newer: Revocations) => watching.revoke(newer, Date.now()),
      retryMs: 50,
      failed: (why: string) => failures.push(why),
    };
    const following = RevocationFeed.start(options);
    t.equal(await closed, 'device.revoked', 'a gateway that follows closes what lives by it');
    feed.close();
    await following.stop();
    t.same(failures, []);
    t.equal(attestor.list()[0]?.state, 'revoked');
  });
  t.ok(refusals.includes('evidence.pcr_digest'));
  await tpm.close({ shutdown: true });
});

void t.test('41 a clone is found when one of the two falls behind', { skip: swtpmMissing }, async (t) => {
  const pc = await vendors.make('pc2');
  t.teardown(() => pc.stop());
  let tpm = await powerOn(pc);
  const { connect, admin } = await service(t, vendors);
  const folder = join(dir, 'pc2-agent');
  await DeviceAgent.enrol({ tpm, dir: folder, client: connect() }, 'pc-2');
  await admin('/devices/pc-2/approve', {});
  await tpm.close({ shutdown: true });
  await pc.stop();
  const copy = await vendors.clone(pc, 'pc2x');
  t.teardown(() => copy.stop());

  const attest = async (on: Tpm): Promise<unknown> => {
    const agent = await DeviceAgent.open({ tpm: on, dir: folder, client: connect(), ...evidenceOf() });
    return agent.attest(GATEWAY, client.pem);
  };
  const first = await powerOn(copy);
  t.ok(await attest(first), 'the copy has the same keys: nothing tells it from the original');
  await first.close({ shutdown: true });
  await copy.stop();
  const second = await powerOn(copy);
  t.ok(await attest(second));
  tpm = await powerOn(pc);
  await t.rejects(attest(tpm), denied('evidence.reset_rollback'), 'the original is behind by one start');
  await second.close({ shutdown: true });
  await tpm.close({ shutdown: true });
});

void t.test(
  '41 a clone is found when the clock of one of the two is behind',
  { skip: swtpmMissing },
  async (t) => {
    const pc = await vendors.make('pc4');
    t.teardown(() => pc.stop());
    const made = await powerOn(pc);
    const { connect, admin, refusals } = await service(t, vendors);
    const folder = join(dir, 'pc4-agent');
    await DeviceAgent.enrol({ tpm: made, dir: folder, client: connect() }, 'pc-4');
    await admin('/devices/pc-4/approve', {});
    await made.close({ shutdown: true });
    await pc.stop();
    const copy = await vendors.clone(pc, 'pc4x');
    t.teardown(() => copy.stop());
    const agentOn = (tpm: Tpm): Promise<DeviceAgent> =>
      DeviceAgent.open({ tpm, dir: folder, client: connect(), ...evidenceOf() });

    const ahead = await powerOn(copy);
    const onCopy = await agentOn(ahead);
    const began = performance.now();
    t.ok(await onCopy.attest(GATEWAY, client.pem));
    const takesMs = performance.now() - began;
    await pause(2000 + 8 * takesMs); // by so much is the original behind: longer than the next two take together
    const behind = await powerOn(pc);
    const onOriginal = await agentOn(behind);
    t.ok(await onCopy.attest(GATEWAY, client.pem));
    await t.rejects(
      onOriginal.attest(GATEWAY, client.pem),
      denied('evidence.clock_rollback'),
      'started as often as the copy, and its clock has not come as far',
    );
    t.strictSame(refusals, ['evidence.clock_rollback']);
    t.ok(await onCopy.attest(GATEWAY, client.pem), 'the one that is ahead is taken for the device');
    await ahead.close({ shutdown: true });
    await behind.close({ shutdown: true });
  },
);

void t.test('a TPM that is reset while the agent runs', { skip: swtpmMissing }, async (t) => {
  const pc = await vendors.make('pc5');
  t.teardown(() => pc.stop());
  const { connect, admin } = await service(t, vendors);
  const folder = join(dir, 'pc5-agent');
  const first = await powerOn(pc);
  await DeviceAgent.enrol({ tpm: first, dir: folder, client: connect() }, 'pc-5');
  await first.close();
  await admin('/devices/pc-5/approve', { class: 'endpoint' });
  const asking = connect();
  let opened = 0;
  const agent = await LastingAgent.open(async () => {
    opened += 1;
    const tpm = await Tpm.open(pc.address);
    const one = await DeviceAgent.open({ tpm, dir: folder, client: asking, ...evidenceOf() });
    const close = async (): Promise<void> => {
      await one.release().catch(() => undefined);
      await tpm.close();
    };
    return { agent: one, close };
  });
  t.ok(await agent.attest(GATEWAY, client.pem));
  t.equal(opened, 1);
  await pc.stop('SIGKILL');
  await t.rejects(agent.attest(GATEWAY, client.pem), { name: 'TpmLost' });
  await t.rejects(agent.attest(GATEWAY, client.pem), 'while it is away');
  const again = await powerOn(pc);
  await again.close();
  t.ok(await agent.attest(GATEWAY, client.pem), 'it is opened again, and has its keys');
  t.ok(await agent.bind(exporter, connection.certificateSha256));
  t.equal(agent.name, 'pc-5');
  await agent.close();
});

void t.test(
  '12 a software TPM is refused unless the laboratory setting is on',
  { skip: swtpmMissing },
  async (t) => {
    const pc = await vendors.make('pc3');
    t.teardown(() => pc.stop());
    const tpm = await powerOn(pc);
    const { connect } = await service(t, vendors, false);
    const enrol = DeviceAgent.enrol({ tpm, dir: join(dir, 'pc3-agent'), client: connect() }, 'pc-3');
    await t.rejects(enrol, denied('ek.test_root'));
    await tpm.close({ shutdown: true });
  },
);

void t.test('the agent renews in time, and does not lengthen what it cannot renew', async (t) => {
  let time = 0;
  const asked: string[] = [];
  const events: string[] = [];
  let failure: Error | undefined;
  const runs = new AgentService({
    agent: {
      device: 'd',
      name: 'pc-1',
      bind: async (value) => base64url(value),
      attest: async (audience) => {
        asked.push(audience);
        if (failure !== undefined) throw failure;
        return { token: `t${asked.length}`, lifeSeconds: 1 };
      },
    },
    audience: GATEWAY,
    certificate: client.pem,
    clock: { now: Date.now, monotonic: () => time },
    jitter: () => 0.5,
    events: { attested: () => events.push('attested'), failed: (why) => events.push(why) },
  });
  const happened = async (count: number): Promise<void> => {
    while (events.length < count) await pause(2);
  };
  const began = performance.now();
  await runs.start();
  t.teardown(() => runs.stop());
  t.equal(runs.result, 't1');
  t.same(await runs.present(Buffer.from('x')), { result: 't1', binding: base64url(Buffer.from('x')) });
  await happened(2);
  t.ok(performance.now() - began > 550, 'at 58 % of a second');
  failure = new Error('the network is down');
  time = 900;
  t.equal(runs.result, 't2', 'while it lives');
  await happened(3);
  t.match(runs.status, { result: 'current', lastFailure: 'the network is down' });
  time = 1000;
  t.equal(runs.result, undefined, 'not a moment longer');
  await t.rejects(runs.present(Buffer.alloc(32)), { name: 'Refused' });
  const socket = join(dir, 'agent.sock');
  await runs.listen(socket);
  t.match(await administrate(socket, { method: 'GET', path: '/status' }), { result: 'none', name: 'pc-1' });
  await t.rejects(
    administrate(socket, { method: 'POST', path: '/present', body: { exporter: 'x' } }),
    denied('request.malformed'),
  );
  await t.rejects(administrate(socket, { method: 'GET', path: '/x' }), denied('request.unknown'));
  t.same(events.slice(0, 3), ['attested', 'attested', 'the network is down']);
});

void t.test('a service that falls silent is asked again while the result lives', async (t) => {
  const silent = createServer();
  let connections = 0;
  silent.on('connection', () => (connections += 1));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  // A server on TCP has an address with a port.
  const { port } = silent.address() as AddressInfo;
  const asking = new AttestorClient(`https://127.0.0.1:${port}`, authority.rootPem);
  t.teardown(() => {
    asking.close();
    silent.close();
  });
  for (const at of [1, 2]) {
    await t.rejects(asking.post('/v1/attest/challenge', {}, 20), /no answer in 0.02 s/);
    while (connections < at) await pause(2);
  }

  const jitter = -0.999; // so that pauses are short; no machine has it
  let time = 0;
  const patience: (number | undefined)[] = [];
  const pauses: number[] = [];
  const runs = new AgentService({
    agent: {
      device: 'd',
      name: 'pc-1',
      bind: async (value) => base64url(value),
      attest: async (_audience, _certificate, patienceMs) => {
        patience.push(patienceMs);
        if (patience.length > 1) throw new Error('silent');
        time = -23_970; // of 24 s that are left
        return { token: 't', lifeSeconds: 0.03 };
      },
    },
    audience: GATEWAY,
    certificate: client.pem,
    clock: { now: Date.now, monotonic: () => time },
    jitter: () => jitter,
    events: {
      attested: () => undefined,
      failed: (_why, retryMs) => pauses.push(Math.round(retryMs / (0.5 + jitter / 2))),
    },
  });
  await runs.start();
  while (pauses.length < 5) await pause(2);
  await runs.stop();
  t.same(patience.slice(0, 3), [10_000, 8000, 8000]);
  t.same(pauses.slice(0, 5), [1000, 2000, 4000, 8000, 8000]);
});

void t.test('the service on the wire', async (t) => {
  const vendor = await EkAuthority.create('Nobody', Date.now());
  const { attestor, connect, admin, refusals } = await service(t, {
    root: vendor.root,
    issuer: vendor.issuing,
  });
  const client1 = connect();
  await t.rejects(client1.post('/v1/nothing', {}), denied('request.unknown'));
  await t.rejects(client1.post('/v1/enrol/start', {}), denied('request.malformed'));
  await t.rejects(
    client1.post('/v1/attest/challenge', { device: 'A'.repeat(43) }),
    denied('evidence.device_unknown'),
  );
  await t.rejects(
    client1.post('/v1/enrol/start', { name: 'x'.repeat(100_000) }),
    denied('request.too_large'),
  );
  await t.rejects(admin('/devices/x/explode', {}), denied('request.unknown'));
  await t.rejects(admin('/devices/x/revoke', {}), denied('admin.unknown_device'));
  await t.rejects(admin('/devices/x/approve', { class: 'king' }), denied('request.malformed'));
  t.same(await admin('/devices'), { devices: [] });
  t.ok(refusals.length >= 7);
  const ended = new Promise((resolve) => (attestor.closed = resolve));
  const client2 = connect();
  await t.rejects(client2.post('/v1/nothing', {}), denied('request.unknown'));
  client2.close();
  t.ok(await ended, 'the end of a connection is told, for what was handed out on it');
  t.throws(() => new AttestorClient('http://127.0.0.1:1', authority.rootPem), TypeError);
});
