import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { requestLink } from '../../pki/authority.ts';
import { generateKeyPair, privateKeyPem } from '../../pki/keys.ts';
import { parseTrustFile } from '../audit/trust-file.ts';
import type { GatewayRow } from '../registry/document.ts';
import { initGateway } from './init/init.ts';
import { main } from './program.ts';
import { RegistryFolder } from './registry/folder.ts';

const NAME = 'gw.a11.tw.troad.example';
const MEMBER = 'TW/GOV/A11';

/** Runs a command in this process. */
async function troad(t: Test, ...args: readonly string[]) {
  const [out, err, complaint] = [
    t.capture(process.stdout, 'write', () => true),
    t.capture(process.stderr, 'write', () => true),
    t.capture(console, 'error'),
  ];
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    const status = await main(['node', 'troad', ...args]);
    const text = [...out(), ...err(), ...complaint()].map((call) => String(call.args[0])).join('\n');
    return { status, text };
  } finally {
    for (const captured of [out, err, complaint]) captured.restore();
    process.exitCode = before;
  }
}

/** A registry with one member and the gateway that applied for it; nothing signed. */
async function setUp(t: Test) {
  const dir = t.testdir({
    'member.json': JSON.stringify({ id: MEMBER, name: { en: 'Agency A', zh: '甲機關' } }),
    'system.json': JSON.stringify([{ id: `${MEMBER}/welfare`, gateway: NAME }]),
  });
  const at = (name: string): string => join(dir, name);
  const registry = (...args: readonly string[]) => troad(t, 'registry', ...args, '--dir', at('registry'));
  const good = async (...args: readonly string[]): Promise<string> => {
    const { status, text } = await registry(...args);
    t.equal(status, 0, `${args.join(' ')}: ${text}`);
    return text;
  };
  await good('create', '--instance', 'TW');
  await initGateway({ dir: at('gateway'), member: MEMBER, name: NAME, address: '127.0.0.1:5500' });
  await good('add', 'members', at('member.json'));
  await good('add', 'gateways', at('gateway/gateway.json'));
  return { at, registry, good };
}

void t.test('from nothing to a gateway that has its place, and its end', async (t) => {
  const { at, registry, good } = await setUp(t);
  for (const key of ['root.key', 'ca/root.key', 'ca/issuing.key'])
    t.equal(statSync(at(`registry/${key}`)).mode & 0o777, 0o600, key);
  t.match(await registry('status'), { status: 1, text: /nothing was signed yet/ });
  t.match(await good('certify', NAME, at('gateway/link.csr'), '--out', at('gateway/link.pem')), /90 days/);
  t.equal(readFileSync(at('gateway/link.pem'), 'utf8').match(/BEGIN CERTIFICATE/g)?.length, 2);

  const first = await good('sign', '--days', '10');
  t.match(first, /version 1, expires/);
  t.match(first, `+ members ${MEMBER}`);
  t.match(first, `+ gateways ${NAME}`);
  for (const file of ['ca.pem', 'registry.json', 'registry-root.pem'])
    writeFileSync(at(`gateway/${file}`), readFileSync(at(`registry/${file}`)));
  const { examine } = await import('./doctor/doctor.ts');
  const { findings } = await examine(at('gateway/gateway.yaml'));
  const subjects = ['registry', 'registered', 'link certificate', 'link chain', 'message key', 'log key'];
  for (const subject of subjects)
    t.ok(
      findings.some((finding) => finding.subject === subject && finding.level === 'ok'),
      `doctor: ${subject}`,
    );

  t.match(await good('add', 'subsystems', at('system.json')), `+ subsystems ${MEMBER}/welfare`);
  t.match(await good('status'), /version 1, signed [^]*\+ subsystems/);
  t.match(await good('remove', 'subsystems', `${MEMBER}/welfare`), /The draft changes nothing/);
  t.match(await good('revoke', NAME), `~ gateways ${NAME}`);
  t.match(await good('sign'), /version 2, expires/);
  t.match(await good('sign'), /version 3, expires/, 'the same again, for longer');
  t.strictSame(readdirSync(at('registry/versions')), ['1.json', '2.json', '3.json']);

  const folder = RegistryFolder.open(at('registry'), Date.now);
  const newest = await folder.newest();
  const row = newest?.document.gateways[0];
  t.strictSame([row?.link, row?.messageKeys.map(({ status }) => status)], [[], ['revoked']]);
  const trust = parseTrustFile(await good('trust'));
  t.ok(trust.gateways.has(NAME), 'its log can still be checked');
  t.equal(trust.logs.size, 1);
});

void t.test('what gateways would refuse is not written, and says what is wrong', async (t) => {
  const { at, registry } = await setUp(t);
  const draft = (): string => readFileSync(at('registry/draft.json'), 'utf8');
  const before = draft();
  const other = generateKeyPair('p256');
  writeFileSync(at('other.csr'), await requestLink(NAME, other));
  writeFileSync(at('elsewhere.csr'), await requestLink('gw.b07.tw.troad.example', other));
  writeFileSync(at('other.key'), privateKeyPem(generateKeyPair('ed25519').privateKey), { mode: 0o600 });
  const row = JSON.parse(readFileSync(at('gateway/gateway.json'), 'utf8')) as GatewayRow; // of init
  const write = (name: string, content: unknown): string => {
    writeFileSync(at(name), JSON.stringify(content));
    return at(name);
  };
  const out = ['--out', at('new.pem')];
  const stranger = write('stranger.json', { id: 'TW/GOV/B07/x', gateway: 'gw.nobody.example' });
  const cases: readonly (readonly [args: readonly string[], says: RegExp])[] = [
    [['create', '--instance', 'TW'], /holds a registry already/],
    [['create', '--instance', 'T W'], /Expected a name like TW/],
    [['add', 'members', at('member.json')], /"?TW\/GOV\/A11"? is there already: --replace/],
    [['add', 'members', write('new.json', { id: 'TW/GOV/C' }), '--replace'], /is not there: leave --replace/],
    [['add', 'members', at('gone.json')], /gone\.json: there is no such file/],
    [['add', 'members', write('text.json', 'x')], /text\.json: expected an object with id/],
    [['add', 'member', at('member.json')], /Allowed choices are members/],
    [['add', 'subsystems', stranger], /\/subsystems\/0\//],
    [['add', 'gateways', write('row.json', { ...row, name: 'gw.b07.example' })], /\/gateways\/1\//],
    [
      ['add', 'gateways', write('extra.json', { ...row, extra: 1 }), '--replace'],
      /\/gateways\/0\/extra: unknown/,
    ],
    [['remove', 'members', MEMBER], /\/gateways\/0\/member: unknown member/],
    [['remove', 'members', 'TW/GOV/X'], /there is no TW\/GOV\/X; there are: TW\/GOV\/A11/],
    [['revoke', 'gw.x'], /gateways: there is no gw\.x/],
    [['certify', NAME, at('other.csr'), ...out], /not one of gw\.a11.*add \{"spki"/],
    [['certify', NAME, at('elsewhere.csr'), ...out], /elsewhere\.csr: .*asks for other names/],
    [['certify', NAME, at('member.json'), ...out], /member\.json: expected one certificate request/],
    [['certify', 'gw.x', at('other.csr'), ...out], /there is no gw\.x/],
    [['certify', NAME, at('gateway/link.csr'), '--out', at('other.csr')], /other\.csr: is there already/],
    [['sign', '--days', '0'], /from 1 to 400/],
    [['sign', '--key', at('other.key')], /none is that of .*registry-root\.pem/],
    [['sign', '--key', at('gone.key')], /gone\.key/],
    [['trust'], /nothing was signed yet/],
  ];
  for (const [args, says] of cases) {
    const { status, text } = await registry(...args);
    const what = args.join(' ').replaceAll(at(''), '');
    t.not(status, 0, what);
    t.match(text, says, what);
  }
  t.equal(draft(), before, 'nothing changed');
  t.notOk(existsSync(at('new.pem')));
  t.strictSame(readdirSync(at('registry/versions')), []);
  const elsewhere = await troad(t, 'registry', 'status', '--dir', at('gateway'));
  t.match(elsewhere, { status: 2, text: /holds no registry; troad registry create/ });

  const broken = JSON.parse(before) as { members: unknown[] }; // of this test
  broken.members.push({ id: 'nonsense' });
  writeFileSync(at('registry/draft.json'), JSON.stringify(broken));
  t.match(await registry('sign'), { status: 2, text: /\/members\/1/ }, 'edited by hand, and wrongly');
  writeFileSync(at('registry/draft.json'), '{}');
  t.match(await registry('sign'), { status: 2, text: /draft\.json: expected an object with the lists/ });
});

void t.test('two root keys while one is replaced; a version of somebody else', async (t) => {
  const { at, registry, good } = await setUp(t);
  const next = generateKeyPair('ed25519');
  writeFileSync(at('next.key'), privateKeyPem(next.privateKey), { mode: 0o600 });
  await good('sign', '--key', at('registry/root.key'), at('next.key'));
  const root = readFileSync(at('registry/registry-root.pem'));
  writeFileSync(at('registry/registry-root.pem'), next.publicKey.export({ type: 'spki', format: 'pem' }));
  t.match(await good('sign', '--key', at('next.key')), /version 2/, 'the new one goes on');
  writeFileSync(at('registry/registry-root.pem'), root);
  t.match(await registry('status'), { status: 2, text: /signed by 0 of the root keys/ });
});

void t.test('a number that gateways have seen is not given again, although its copy is gone', async (t) => {
  const { at, good } = await setUp(t);
  await good('sign');
  t.match(await good('sign'), /version 2, expires/);
  rmSync(at('registry/versions/2.json')); // a backup from before
  t.match(await good('status'), /^version 2, /);
  t.match(await good('sign'), /version 3, expires/);
  writeFileSync(at('registry/registry.json'), '{');
  t.match(await good('sign'), /version 4, expires/);
  rmSync(at('registry/registry.json'));
  t.match(await good('sign'), /version 5, expires/);
});
