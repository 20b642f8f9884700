import { execFileSync, spawn } from 'node:child_process';
import { createHash, createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { Authority } from '../../pki/authority.ts';
import { generateKeyPair } from '../../pki/keys.ts';
import { loadConfig } from '../config/load.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';
import type { GatewayRow } from '../registry/document.ts';
import { signRegistry } from '../registry/load.ts';
import { bundleDir } from '../sandbox/bundle.ts';
import { examine, type Diagnosis } from './doctor/doctor.ts';
import { initGateway } from './init/init.ts';
import type { MessageKeyKind } from './init/message-keys.ts';

const name = 'gw.a11.tw.troad.example';
const member = 'TW/GOV/A11';
const DAY_MS = 86_400_000;

void t.test('init for several workers: the registry gets a key for each log', async (t) => {
  const dir = join(t.testdir(), 'gw');
  await initGateway({ dir, member, name, address: `${name}:5600`, workers: 2 });
  const row = JSON.parse(readFileSync(join(dir, 'gateway.json'), 'utf8')) as GatewayRow; // what we wrote just now
  t.same(
    row.logs.map(({ origin }) => origin),
    [`${name}/troad-log/w1/1`, `${name}/troad-log/w2/1`],
  );
  t.equal(new Set(row.logs.map(({ vkey }) => vkey)).size, 2);
  t.match(readFileSync(join(dir, 'gateway.yaml'), 'utf8'), /^workers: 2$/m);
});

void t.test('init writes keys only their owner can read, and never overwrites', async (t) => {
  const dir = join(t.testdir(), 'new');
  const written = await initGateway({ dir, member, name, address: `${name}:5600` });
  t.strictSame(written.map(({ file }) => file).toSorted(), readdirSync(dir).toSorted());
  for (const file of readdirSync(dir)) {
    t.equal(statSync(join(dir, file)).mode & 0o777, file.endsWith('.key') ? 0o600 : 0o644, file);
  }
  const csr = execFileSync('openssl', ['req', '-in', join(dir, 'link.csr'), '-noout', '-text', '-verify'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.match(csr, `DNS:${name}`);
  t.match(readFileSync(join(dir, 'gateway.yaml'), 'utf8'), /^ {2}port: 5600$/m);

  const before = hashes(dir);
  await t.rejects(initGateway({ dir, member, name, address: `${name}:5600` }), /is there already/);
  t.strictSame(hashes(dir), before);
  await t.rejects(initGateway({ dir: join(dir, 'x'), member: 'TW/GOV', name: 'GW', address: 'a:1' }), {
    name: 'ConfigError',
    problems: [/--member/, /--name/],
  });
  t.notOk(existsSync(join(dir, 'x')));
});

void t.test('every line that the template comments out is right', async (t) => {
  const dir = await registered(t);
  const file = join(dir, 'gateway.yaml');
  const text = readFileSync(file, 'utf8');
  const all = text
    .replaceAll(/^(subsystems|services): \[\]$/gm, '$1:')
    .replaceAll(/^( *)#( *[A-Za-z-].*)$/gm, '$1$2');
  t.ok(all.length < text.length - 20, 'something was uncommented');
  for (const extra of ['https.pem', 'https.key', 'admin.token']) {
    writeFileSync(join(dir, extra), 't'.repeat(40), { mode: 0o600 });
  }
  const sentences =
    /^(?:Configuration of|Relative paths|Check it|Where |Health,|The evidence|Information systems that|Services this|Threads that).*$/gm;
  writeFileSync(file, all.replaceAll(/^ +(?=[A-Z])/gm, '').replaceAll(sentences, ''));
  const [shown, initial] = [loadConfig(file), (writeFileSync(file, text), loadConfig(file))];
  t.strictSame(shown.limits, initial.limits, 'the defaults it shows are the defaults');
  t.strictSame(shown.compat, initial.compat);
  t.strictSame(shown.link, initial.link);
  t.strictSame({ ...shown.log, dir: '' }, { ...initial.log, dir: '' });
  t.equal(shown.services[0]?.timeoutMs, 120_000);
  t.equal(shown.subsystems.length, 2);
});

void t.test('doctor finds nothing bad in a gateway that was set up as told', async (t) => {
  const dir = await registered(t);
  const { status, findings } = await examine(join(dir, 'gateway.yaml'));
  t.strictSame(
    findings.filter(({ level }) => level === 'bad'),
    [],
  );
  t.equal(status, 0);
  const subjects = findings.filter(({ level }) => level === 'ok').map(({ subject }) => subject);
  for (const subject of [
    'configuration',
    'Node.js',
    'registry',
    'clock',
    'registered',
    'link certificate',
    'link chain',
    'message key',
    'log key',
    'policy bundle',
  ]) {
    t.ok(subjects.includes(subject), subject);
  }
  t.match(findings.find(({ subject }) => subject === 'link chain')?.what, /TLSv1\.3, X25519MLKEM768/);
  t.notOk(existsSync(join(dir, 'log')), 'it wrote nothing into the log');
  t.notOk(
    readdirSync(dir).some((file) => file.startsWith('.doctor')),
    'it left nothing behind',
  );
});

void t.test('a message key on P-256: the registry takes its row, and doctor finds it in force', async (t) => {
  const dir = await registered(t, { messageKey: 'p256' });
  const { status, findings } = await examine(join(dir, 'gateway.yaml'));
  t.equal(status, 0, JSON.stringify(findings, null, 2));
  t.match(
    findings.filter(({ subject }) => subject === 'message key'),
    [{ level: 'ok' }],
  );
  const row = JSON.parse(readFileSync(join(dir, 'gateway.json'), 'utf8')) as GatewayRow; // what we wrote just now
  t.match(row.messageKeys, [{ alg: 'ecdsa-p256-sha256' }]);
  const pem = readFileSync(join(dir, 'message.key'));
  t.equal(createPrivateKey(pem).asymmetricKeyDetails?.namedCurve, 'prime256v1');
});

void t.test('init makes no keys for what the registry or the configuration would refuse', async (t) => {
  const dir = join(t.testdir(), 'new');
  const good = { member, name, address: `${name}:5600`, 'message-key': 'p256' };
  const slips: readonly (readonly [change: Partial<typeof good>, says: RegExp])[] = [
    [{ name: 'gw-.a11.example' }, /--name .*Expected a DNS name in lower case/],
    [{ name: 'gw' }, /--name .*Expected a DNS name/],
    [{ name: `${'a.'.repeat(130)}example` }, /--name .*Expected a DNS name/],
    [{ address: '..:1' }, /--address .*Expected host:port/],
    [{ address: 'GW.example:1' }, /--address .*Expected host:port in lower case/],
    [{ address: '127.1:5500' }, /--address .*Expected host:port/],
    [{ 'message-key': 'rsa' }, /--message-key .*Allowed choices are ed25519, p256/],
  ];
  for (const [change, says] of slips) {
    const options = Object.entries({ ...good, ...change }).flatMap(([option, value]) => [
      `--${option}`,
      value,
    ]);
    t.match(await troad('init', '--dir', dir, ...options), { status: 2, err: says });
    t.notOk(existsSync(dir));
  }
  const options = Object.entries(good).flatMap(([option, value]) => [`--${option}`, value]);
  const made = await troad('init', '--dir', dir, ...options);
  t.match(made, { status: 0, out: /message\.key +private key that signs exchanges \(P-256\)/ });
  t.ok(made.out.includes(`troad run --config ${dir}/gateway.yaml\n`));
});

type Change = (dir: string) => void | Promise<void>;
const replaceIn =
  (file: string, from: string | RegExp, to: string) =>
  (dir: string): void => {
    const text = readFileSync(join(dir, file), 'utf8');
    const changed = text.replace(from, to);
    if (changed === text) throw new Error(`${file}: nothing to replace`);
    writeFileSync(join(dir, file), changed);
  };

// One change to a good set-up, one finding each.
const faults: readonly (readonly [
  what: string,
  change: Change,
  status: Diagnosis['status'],
  subject: string,
  text: RegExp,
])[] = [
  [
    'an unknown setting',
    replaceIn('gateway.yaml', /^ {2}host: 0/m, '  hots: 0'),
    2,
    'configuration',
    /hots .*unknown setting/,
  ],
  [
    'a key that others can read',
    (dir) => chmodSync(join(dir, 'log.key'), 0o644),
    2,
    'configuration',
    /\/keys\/log .*chmod 600/,
  ],
  [
    'the key of another certificate',
    async (dir) => overwrite(dir, 'link.key', 'p256'),
    1,
    'link certificate',
    /is not the key of/,
  ],
  [
    'a message key nobody registered',
    async (dir) => overwrite(dir, 'message.key', 'ed25519'),
    1,
    'message key',
    /not in force/,
  ],
  [
    'a log key nobody registered',
    async (dir) => overwrite(dir, 'log.key', 'ed25519'),
    1,
    'log key',
    /not registered/,
  ],
  [
    'a log key of the wrong kind',
    async (dir) => overwrite(dir, 'log.key', 'p256'),
    1,
    'log key',
    /is ec, not Ed25519/,
  ],
  [
    'another name than that of the certificate',
    replaceIn('gateway.yaml', `name: ${name}`, 'name: gw.a12.tw.troad.example'),
    1,
    'registered',
    /is not in the registry/,
  ],
  [
    'a registry signed by somebody else',
    async (dir) => {
      const pem = generateKeyPair('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
      writeFileSync(join(dir, 'registry-root.pem'), pem);
    },
    1,
    'registry',
    /sign|key/,
  ],
  ['a changed registry', replaceIn('registry.json', /"payload":"./, '"payload":"A'), 1, 'registry', /./],
  [
    'an anchor that did not issue the certificate',
    async (dir) => {
      writeFileSync(join(dir, 'ca.pem'), (await Authority.create('other', Date.now)).rootPem);
    },
    1,
    'link chain',
    /certificate/,
  ],
  [
    'a missing intermediate',
    (dir) => {
      const [leaf = ''] = readFileSync(join(dir, 'link.pem'), 'utf8').split(
        /(?<=-----END CERTIFICATE-----\n)/,
      );
      writeFileSync(join(dir, 'link.pem'), leaf);
    },
    1,
    'link chain',
    /certificate/,
  ],
  [
    'a service nobody registered',
    replaceIn(
      'gateway.yaml',
      'services: []',
      `services: [{ id: ${member}/welfare/v9, url: 'http://127.0.0.1:1' }]`,
    ),
    1,
    'service',
    /v9 is not in the registry/,
  ],
  [
    'a policy bundle that was tampered with',
    (dir) => {
      writeFileSync(join(dir, 'bundle', 'data.json'), '{}');
    },
    1,
    'policy bundle',
    /./,
  ],
  [
    'a short admin token',
    (dir) => {
      replaceIn('gateway.yaml', '#tokenFile', 'tokenFile')(dir);
      writeFileSync(join(dir, 'admin.token'), 'secret', { mode: 0o600 });
    },
    1,
    'admin token',
    /at least 32/,
  ],
  [
    'an address that is not ours',
    replaceIn('gateway.yaml', /^ {2}host: 0\.0\.0\.0\n {2}port: 0/m, '  host: 192.0.2.1\n  port: 5999'),
    1,
    'link port',
    /not an address of this machine/,
  ],
];
for (const [what, change, status, subject, text] of faults) {
  void t.test(`doctor finds ${what}`, async (t) => {
    const dir = await registered(t);
    await change(dir);
    const diagnosis = await examine(join(dir, 'gateway.yaml'));
    t.equal(diagnosis.status, status);
    const bad = diagnosis.findings.filter(({ level }) => level === 'bad');
    t.ok(
      bad.some((finding) => finding.subject === subject && text.test(finding.what)),
      JSON.stringify(bad, null, 2),
    );
    t.ok(
      bad.every(({ advice }) => advice !== undefined && advice !== ''),
      'each says what to do',
    );
  });
}

void t.test('doctor warns: certificate and registry near their end, port in use, service down', async (t) => {
  const dir = await registered(t, { certificateDays: 10, registryDays: 3 });
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  replaceIn('gateway.yaml', 'port: 8080', `port: ${port}`)(dir);
  replaceIn(
    'gateway.yaml',
    'services: []',
    `services: [{ id: ${member}/welfare/v1, url: 'http://127.0.0.1:1' }]`,
  )(dir);
  const { status, findings } = await examine(join(dir, 'gateway.yaml'));
  t.equal(status, 0, JSON.stringify(findings, null, 2));
  const warnings = findings.filter(({ level }) => level === 'warn').map(({ subject }) => subject);
  for (const subject of ['link certificate', 'registry', 'listen.http port', 'service address'])
    t.ok(warnings.includes(subject), subject);
});

void t.test('doctor: expired certificate and registry', async (t) => {
  const dir = await registered(t, { certificateDays: -1, registryDays: -1 });
  const { status, findings } = await examine(join(dir, 'gateway.yaml'));
  t.equal(status, 1);
  t.match(
    findings.find(({ subject, level }) => subject === 'link certificate' && level === 'bad')?.what,
    /expired/,
  );
  t.match(
    findings.find(({ subject, level }) => subject === 'registry' && level === 'bad')?.what,
    /it has expired/,
  );
});

void t.test('the command line: help, exit statuses, JSON', async (t) => {
  const dir = await registered(t);
  const file = join(dir, 'gateway.yaml');
  t.match(await troad('init', '--help'), { status: 0, out: /--address/ });
  t.match(await troad('init', '--dir', dir, '--member', member, '--name', name, '--address', 'a:1'), {
    status: 2,
    err: /is there already/,
  });
  t.match(await troad('config', 'check', file), { status: 0, out: /good/ });
  t.match(JSON.parse((await troad('config', 'schema')).out), { title: 'troad gateway configuration' });
  const doctor = await troad('doctor', '--config', file, '--json');
  t.equal(doctor.status, 0);
  t.match(JSON.parse(doctor.out), { status: 0, findings: [{ level: 'ok', subject: 'configuration' }] });
  t.match(await troad('doctor', '--config', file), { status: 0, out: /\d+ ok, \d+ to look at, 0 bad\n$/ });
  t.match(await troad('doctor', '--config', join(dir, 'gone.yaml')), {
    status: 2,
    out: /gone\.yaml: there is no such file/,
  });
  t.match(await troad('init', '--dir', dir, '--member', member, '--name', name, '--address', 'a:65536'), {
    status: 2,
    err: /--address .*A port is a number from 1 to 65535/,
  });
  // Nothing below a path that no machine has; one in a test's own folder may be too long for a socket.
  const gone = '/gone/admin.sock';
  t.match(await troad('attestor', 'devices', '--socket', gone), {
    status: 1,
    err: `${gone}: there is no such socket: is the program that listens there running?`,
  });
  t.match(await troad('attestor', 'run', '--config', join(dir, 'gone.json')), {
    status: 2,
    err: /^--config .*gone\.json: there is no such file/,
  });
});

interface SetUp {
  readonly certificateDays?: number;
  readonly registryDays?: number;
  readonly messageKey?: MessageKeyKind;
}

/** What an operator has after `troad init`, with what the registry operator sends back. */
async function registered(
  t: Test,
  { certificateDays = 90, registryDays = 30, messageKey = 'ed25519' }: SetUp = {},
): Promise<string> {
  const dir = join(t.testdir(), 'gateway');
  await initGateway({ dir, member, name, address: '127.0.0.1:0', messageKey });
  const now = Date.now();
  // Certificates are issued for 90 days: one with fewer left was issued earlier.
  const authority = await Authority.create('TW test', () => now - (90 - certificateDays) * DAY_MS);
  const issued = await authority.certifyLinkRequest(readFileSync(join(dir, 'link.csr'), 'utf8'), name);
  writeFileSync(join(dir, 'link.pem'), issued.chainPem);
  writeFileSync(join(dir, 'ca.pem'), authority.rootPem);
  const root = generateKeyPair('ed25519');
  writeFileSync(join(dir, 'registry-root.pem'), root.publicKey.export({ type: 'spki', format: 'pem' }));
  // What init wrote is a row of the registry.
  const row = JSON.parse(readFileSync(join(dir, 'gateway.json'), 'utf8')) as GatewayRow;
  const subsystem = `${member}/welfare` as SubsystemId;
  const registry = await signRegistry(
    {
      format: 'troad-registry-v1',
      instance: 'TW',
      version: 1,
      issuedAt: now - 10 * DAY_MS,
      expiresAt: now + registryDays * DAY_MS,
      members: [{ id: member as MemberId, name: { en: 'A', zh: '甲' } }],
      gateways: [{ ...row, address: '127.0.0.1:5500' }],
      subsystems: [{ id: subsystem, gateway: name }],
      services: [{ id: `${subsystem}/v1` as ServiceId, title: { en: 'v1', zh: 'v1' }, type: 'REST' }],
      agreements: [],
      linkAnchors: [authority.rootPem],
    },
    [root.privateKey],
  );
  writeFileSync(join(dir, 'registry.json'), registry);
  cpSync(bundleDir(), join(dir, 'bundle'), { recursive: true });
  replaceIn('gateway.yaml', bundleDir(), 'bundle')(dir);
  return dir;
}

function hashes(dir: string): string[] {
  return readdirSync(dir).map((file) =>
    createHash('sha256')
      .update(readFileSync(join(dir, file)))
      .digest('hex'),
  );
}

function overwrite(dir: string, file: string, kind: 'p256' | 'ed25519'): void {
  const pem = generateKeyPair(kind).privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(join(dir, file), pem);
}

async function troad(
  ...args: readonly string[]
): Promise<{ status: number | null; out: string; err: string }> {
  const cli = join(import.meta.dirname, '..', 'cli.ts');
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err, [status]] = await Promise.all([
    readAll(child.stdout),
    readAll(child.stderr),
    once(child, 'close'),
  ]);
  return { status, out, err };
}
