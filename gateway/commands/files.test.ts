import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { PLAIN_NODE } from '../../conformance/harness/plain-node.ts';
import { Authority } from '../../pki/authority.ts';
import { generateKeyPair, privateKeyPem } from '../../pki/keys.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import { bundleDir } from '../sandbox/bundle.ts';
import { formatRelease, signRelease } from '../trust/release.ts';
import { main } from './program.ts';
import { RegistryFolder } from './registry/folder.ts';

const dir = t.testdir({
  'broken.json': '{',
  'broken.yaml': 'node: [',
  empty: {},
  agency: { log: { 'epoch-1': {} } },
  'twice.json': '{"id": "TW/GOV/A", "\\u0069d": "TW/GOV/B", "name": {"en": "A", "zh": "A"}}',
  bare: { troad: { 'x.rego': 'package troad.x' } },
  huge: {
    'policy.json': '{"include": []}',
    data: { 'limits.json': '{"a": {"most": 1e400}, "b": [9007199254740993]}' },
  },
  twofold: { 'policy.json': '{"include": []}', data: { 'limits.json': '{"most": 1, "most": 2}' } },
});
const at = (name: string): string => join(dir, name);
const [gone, folder, broken] = [at('gone'), at('empty'), at('broken.json')];
const { privateKey, publicKey } = generateKeyPair('ed25519');
writeFileSync(at('private.pem'), privateKeyPem(privateKey), { mode: 0o600 });
writeFileSync(at('public.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
writeFileSync(at('trust.json'), JSON.stringify({ instance: 'TW', gateways: [] }));
writeFileSync(at('p256.pem'), privateKeyPem(generateKeyPair('p256').privateKey), { mode: 0o600 });
cpSync(bundleDir(), at('bundle'), { recursive: true });
cpSync(bundleDir(), at('released'), { recursive: true });
const digest = base64url(sha256(readFileSync(at('released/manifest.json'))));
const statement = { bundle: digest, version: 1, notBefore: 0, expiresAt: Date.UTC(2999) };
writeFileSync(at('released/release.json'), formatRelease(signRelease(statement, privateKey)));
mkdirSync(at('agency/log/epoch-1'), { recursive: true });

const authority = await Authority.create('TW test', Date.now);
const server = await authority.issueServer();
writeFileSync(at('server.pem'), server.chainPem);
writeFileSync(at('server.key'), server.keyPem, { mode: 0o600 });
/** Configuration of an attestation service, good but for what is changed. @returns its path */
function attestor(name: string, changes: object): string {
  const good = {
    issuer: 'attest.tw.troad.example',
    listen: { host: '127.0.0.1', port: 0 },
    cert: 'server.pem',
    key: 'server.key',
    signingKey: 'p256.pem',
    stateDir: 'state',
    policy: 'broken.json',
    trust: { roots: ['server.pem'], intermediates: [], manufacturers: [], allowed: [], revoked: [] },
    expected: [],
  };
  writeFileSync(at(name), JSON.stringify({ ...good, ...changes }));
  return at(name);
}

// Nobody ever writes there.
execFileSync('mkfifo', ['-m', '600', at('pipe')]);
const pipe = at('pipe');
// A gigabyte that takes no place on the disk.
writeFileSync(at('large'), '');
truncateSync(at('large'), 1 << 30);
const large = at('large');
const TOO_LARGE = 'is larger than 128 MiB: is this the right file?';
await RegistryFolder.create(at('registry'), 'TW', Date.now);
await RegistryFolder.create(at('piped'), 'TW', Date.now);
rmSync(at('piped/draft.json'));
execFileSync('mkfifo', [at('piped/draft.json')]);
await RegistryFolder.create(at('damaged'), 'TW', Date.now);
writeFileSync(at('damaged/versions/3.json'), '{');
await RegistryFolder.create(at('rootless'), 'TW', Date.now);
rmSync(at('rootless/registry-root.pem'));

const init = ['--member', 'TW/GOV/A11', '--name', 'gw.a11.tw.example', '--address', 'gw.a11.tw.example:1'];
const release = ['--release', '1', '--expires', '2999-01-01T00:00:00Z'];
const service = ['--dir', folder, '--attestor', 'https://a.example'];
const proxy = ['device', 'proxy', '--dir', folder, '--gateway', 'https://a.example'];
const NO_FILE = 'there is no such file: check the path  沒有這個檔案';
const NO_FOLDER = 'there is no such folder: check the path';
const A_FOLDER = 'is a folder: name a file in it';
const A_PIPE = 'is a pipe or a device: name a file; what a program prints is read as <(program)';

/** What is typed, and what must be said: which file, what is wrong with it, and what to do. */
const slips: readonly (readonly [args: readonly string[], says: string])[] = [
  [['run', '--config', gone], `${gone}: ${NO_FILE}`],
  [['run', '--config', folder], `${folder}: ${A_FOLDER}`],
  [['run', '--config', at('broken.yaml')], `${at('broken.yaml')}: line 1, column 8: not YAML: `],
  [['config', 'check', gone], `${gone}: ${NO_FILE}`],
  [['policy', 'status', '--config', gone], `${gone}: ${NO_FILE}`],
  [['policy', 'activate', at('bundle'), '--config', gone], `${gone}: ${NO_FILE}`],
  [
    ['init', '--dir', join(broken, 'x'), ...init],
    `--dir ${broken}/x: there is no such file: a part of the path`,
  ],
  [['audit', 'verify', folder, '--trust', gone], `--trust ${gone}: ${NO_FILE}`],
  [['audit', 'verify', folder, '--trust', folder], `--trust ${folder}: ${A_FOLDER}`],
  [['audit', 'verify', folder, '--trust', broken], `--trust ${broken}: is not JSON: `],
  [['audit', 'show', 'x', '--log', folder, '--trust', gone], `--trust ${gone}: ${NO_FILE}`],
  [['audit', 'show', 'x', '--log', gone, '--trust', at('trust.json')], `${gone}: ${NO_FOLDER}`],
  [
    ['audit', 'show', 'x', '--log', at('agency'), '--trust', at('trust.json')],
    `${at('agency')}: holds no log; give ${at('agency/log')}`,
  ],
  [
    ['audit', 'show', 'x', '--log', folder, '--trust', at('trust.json')],
    `${folder}: holds no log; give the folder that has epoch-1 in it`,
  ],
  [['attestor', 'run', '--config', gone], `--config ${gone}: ${NO_FILE}`],
  [['attestor', 'run', '--config', broken], `--config ${broken}: configuration: not JSON`],
  ...(
    [
      [{ cert: 'gone.pem' }, 'gone.pem: there is no such file'],
      [{ cert: 'public.pem' }, 'public.pem: holds no certificate in PEM or DER'],
      [{ key: 'p256.pem' }, '/cert: the certificate is not that of the key'],
      [{ signingKey: 'private.pem' }, 'private.pem: is not an ECDSA key on P-256'],
      [{ signingKey: 'public.pem' }, 'public.pem: expected a private key'],
      [{ extra: 1 }, '/extra'],
      [{ cert: 'pipe' }, `pipe: ${A_PIPE}`],
      [{}, 'broken.json: '], // its appraisal policy
    ] as const
  ).map(([changes, says], i): readonly [readonly string[], string] => {
    const config = attestor(`attestor-${i}.json`, changes);
    return [['attestor', 'run', '--config', config], `--config ${config}: ${says}`];
  }),
  [['policy', 'sign', at('bundle'), '--key', gone, ...release], `--key ${gone}: ${NO_FILE}`],
  [
    ['policy', 'sign', at('bundle'), '--key', at('public.pem'), ...release],
    `--key ${at('public.pem')}: expected a private key, found PUBLIC KEY  檔案內容不是所需的金鑰`,
  ],
  [
    ['policy', 'sign', at('bundle'), '--key', at('p256.pem'), ...release],
    `--key ${at('p256.pem')}: is not an Ed25519 key: make one with`,
  ],
  [['policy', 'sign', gone, '--key', at('private.pem'), ...release], `${gone}: ${NO_FOLDER}`],
  [
    [
      'policy',
      'sign',
      at('bundle'),
      '--key',
      at('private.pem'),
      '--release',
      '1',
      '--expires',
      '2000-01-01T00:00:00Z',
    ],
    '--expires 2000-01-01T00:00:00Z: is not after its begin, ',
  ],
  [
    [
      'policy',
      'sign',
      at('bundle'),
      '--key',
      at('private.pem'),
      '--release',
      '1',
      '--expires',
      '2999-02-30T00:00:00Z',
    ],
    '--expires 2999-02-30T00:00:00Z: write it like 2026-01-31T00:00:00Z',
  ],
  [
    [
      'policy',
      'sign',
      at('released'),
      '--key',
      at('private.pem'),
      '--release',
      '2',
      '--expires',
      '2999-01-01T00:00:00Z',
    ],
    `${at('released/release.json')}: says another bundle, version or time; --fresh forgets it`,
  ],
  [['policy', 'verify', at('bundle'), '--threshold', '2'], '--threshold: of whom? Name them with --signer'],
  [['policy', 'verify', at('bundle'), '--signer', gone], `--signer: ${gone}: ${NO_FILE}`],
  [
    ['policy', 'verify', at('bundle'), '--signer', at('private.pem')],
    `--signer: ${at('private.pem')}: expected a public key, found PRIVATE KEY`,
  ],
  [['policy', 'eval', gone], `${gone}: ${NO_FILE}`],
  [['policy', 'eval', broken], `${broken}: is not JSON in UTF-8: `],
  [['policy', 'explain', 'x', '--log', gone], `${gone}: ${NO_FOLDER}`],
  [['policy', 'replay', '--log', at('agency')], `${at('agency')}: holds no log; give ${at('agency/log')}`],
  [['policy', 'diff', gone, gone], `${gone}/manifest.json: is not there`],
  [['policy', 'diff', at('bundle'), at('bundle'), '--vectors', gone], `--vectors ${gone}: ${NO_FILE}`],
  [['policy', 'diff', at('bundle'), at('bundle'), '--vectors', broken], `${broken}: is not JSON: `],
  [['policy', 'test', gone], `${gone}: ${NO_FOLDER}`],
  [['policy', 'build', gone, '--out', at('out')], `${gone}: ${NO_FOLDER}`],
  [['device', 'enroll', ...service, '--name', 'x', '--ca', gone], `--ca: ${gone}: ${NO_FILE}`],
  [[...proxy, '--ca', gone, '--certificate', gone, '--key', gone], `--ca: ${gone}: ${NO_FILE}`],
  [['policy', 'test', at('bare')], `${at('bare/data/reasons.json')}: ${NO_FILE}`],
  [['policy', 'build', folder, '--out', at('out')], `${folder}: holds no Rego sources`],
  [['policy', 'build', broken, '--out', at('out')], `${broken}: is a file: name the folder`],
  // What `opa` tests is what a gateway decides with.
  [
    ['policy', 'build', at('huge'), '--out', at('out')],
    `${at('huge/data/limits.json')}: most: 1e400 would be read as null`,
  ],
  [
    ['policy', 'test', at('huge')],
    `${at('huge/data/limits.json')}: 0: 9007199254740993 would be read as 9007199254740992: `,
  ],
  [
    ['policy', 'build', at('twofold'), '--out', at('out')],
    `${at('twofold/data/limits.json')}: most is there twice`,
  ],
  [
    ['registry', 'add', 'members', at('twice.json'), '--dir', at('registry')],
    `${at('twice.json')}: id is there twice`,
  ],
  [['policy', 'test', broken], `${broken}: is a file: name the folder`],
  [['registry', 'status', '--dir', folder], `--dir ${folder}: holds no registry; troad registry create`],
  [['registry', 'status', '--dir', gone], `--dir ${gone}: holds no registry; troad registry create`],
  [['registry', 'status', '--dir', broken], `--dir ${broken}: is a file: name the folder`],
  [['registry', 'status', '--dir', at('damaged')], `${at('damaged/versions/3.json')}: `],
  [['registry', 'sign', '--dir', at('rootless')], `${at('rootless/registry-root.pem')}: ${NO_FILE}`],
  [['config', 'check', large], `${large}: ${TOO_LARGE}`],
  [['policy', 'eval', large], `${large}: ${TOO_LARGE}`],
  [['policy', 'sign', at('bundle'), '--key', large, ...release], `--key ${large}: ${TOO_LARGE}`],
  [['registry', 'add', 'members', large, '--dir', at('registry')], `${large}: ${TOO_LARGE}`],
  // What would be waited for without an end.
  [['run', '--config', pipe], `${pipe}: ${A_PIPE}`],
  [['config', 'check', pipe], `${pipe}: ${A_PIPE}`],
  [['config', 'check', '/dev/zero'], `/dev/zero: ${A_PIPE}`],
  [['policy', 'status', '--config', pipe], `${pipe}: ${A_PIPE}`],
  [['audit', 'verify', folder, '--trust', pipe], `--trust ${pipe}: ${A_PIPE}`],
  [['audit', 'show', 'x', '--log', folder, '--trust', pipe], `--trust ${pipe}: ${A_PIPE}`],
  [['attestor', 'run', '--config', pipe], `--config ${pipe}: ${A_PIPE}`],
  [['policy', 'sign', at('bundle'), '--key', pipe, ...release], `--key ${pipe}: ${A_PIPE}`],
  [['policy', 'verify', at('bundle'), '--signer', pipe], `--signer: ${pipe}: ${A_PIPE}`],
  [['policy', 'eval', pipe], `${pipe}: ${A_PIPE}`],
  [['policy', 'diff', at('bundle'), at('bundle'), '--vectors', pipe], `--vectors ${pipe}: ${A_PIPE}`],
  [['registry', 'add', 'members', pipe, '--dir', at('registry')], `${pipe}: ${A_PIPE}`],
  [['registry', 'certify', 'x', pipe, '--out', at('out'), '--dir', at('registry')], `${pipe}: ${A_PIPE}`],
  [['registry', 'sign', '--key', pipe, '--dir', at('registry')], `${pipe}: ${A_PIPE}`],
  [['registry', 'status', '--dir', at('piped')], `${at('piped/draft.json')}: ${A_PIPE}`],
  [['device', 'enroll', ...service, '--name', 'x', '--ca', pipe], `--ca: ${pipe}: ${A_PIPE}`],
  [
    [...proxy, '--ca', at('server.pem'), '--certificate', at('server.pem'), '--key', pipe],
    `--key: ${pipe}: ${A_PIPE}`,
  ],
  [
    [...proxy, '--ca', at('server.pem'), '--certificate', at('server.pem'), '--key', folder],
    `--key: ${folder}: ${A_FOLDER}`,
  ],
];
for (const [args, says] of slips) {
  void t.test(`troad ${args.join(' ').replaceAll(`${dir}/`, '')}`, async (t) => {
    const said = t.capture(console, 'error');
    t.equal(await main(['node', 'troad', ...args]), 2);
    const lines = said().map((call) => String(call.args[0]));
    said.restore();
    t.ok(
      lines.some((line) => line.includes(says)),
      lines.join('\n'),
    );
  });
}

const misspelled: readonly (readonly [what: string, args: readonly string[], says: RegExp])[] = [
  ['an address', [...proxy.slice(0, -1), 'a.example', '--ca', gone], /--gateway.*Expected an https URL/],
  ...['0x10', '1e3', '', '0', '1.5'].map(
    (version) =>
      [
        `version ${version} of a release,`,
        ['policy', 'sign', gone, '--key', gone, '--release', version],
        /--release.*Expected a whole number from 1/,
      ] as const,
  ),
  [
    'a threshold',
    ['policy', 'verify', gone, '--threshold', 'two'],
    /--threshold.*Expected a whole number from 1/,
  ],
  ['a time', ['policy', 'activate', '--config', gone, '--wait', '15s'], /--wait.*Expected a number from 0/],
];
for (const [what, args, says] of misspelled) {
  void t.test(`${what} that is none`, async (t) => {
    const said = t.capture(process.stderr, 'write', () => true);
    const status = await main(['node', 'troad', ...args]);
    const text = said()
      .map((call) => String(call.args[0]))
      .join('');
    said.restore();
    t.equal(status, 2);
    t.match(text, says);
  });
}

void t.test('audit verify tells where the log is', async (t) => {
  const said = t.capture(process.stdout, 'write', () => true);
  const status = await main(['node', 'troad', 'audit', 'verify', at('agency'), '--trust', at('trust.json')]);
  const text = said()
    .map(({ args }) => String(args[0]))
    .join('');
  said.restore();
  t.equal(status, 1);
  process.exitCode = 0;
  t.match(text, `holds no log; give ${at('agency/log')}`);
});

void t.test('what a program prints is read: a pipe that this process was started with', async (t) => {
  const cli = fileURLToPath(new URL('../cli.ts', import.meta.url));
  const troad = [...PLAIN_NODE, cli, 'audit', 'verify', folder, '--trust', '/dev/stdin'];
  const { status, stdout } = spawnSync('sh', ['-c', 'cat "$0" | "$@"', at('trust.json'), ...troad], {
    encoding: 'utf8',
  });
  t.equal(status, 1);
  t.match(stdout, 'holds no log');
});

void t.test('programs that listen and do not answer, and what is no socket', async (t) => {
  const place = mkdtempSync(join(tmpdir(), 'troad-')); // the path of a socket is short
  const silent = createServer(() => undefined).listen(join(place, 'agent.sock'));
  t.teardown(() => {
    silent.close();
    rmSync(place, { recursive: true });
  });
  const socket = join(place, 'agent.sock');
  const said = t.capture(console, 'error');
  const tried = await Promise.all(
    [
      ['device', 'status', '--dir', place],
      ['attestor', 'devices', '--socket', socket],
      ['attestor', 'approve', 'x', '--socket', socket],
      ['device', 'status', '--dir', broken],
    ].map((args) => main(['node', 'troad', ...args])),
  );
  const lines = said().map((call) => String(call.args[0]));
  said.restore();
  t.same(tried, [1, 1, 1, 1]);
  t.match(lines[0], `${broken}/agent.sock: a part of the path is a file: name the folder`);
  t.same(lines.slice(1), Array(3).fill(`${socket}: no answer in 10 s: is this the right program?`));
});
