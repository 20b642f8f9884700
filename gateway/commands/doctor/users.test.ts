import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import t from 'tap';
import type { GatewayConfig } from '../../config/config.ts';
import { Authority } from '../../../pki/authority.ts';
import { Report } from './finding.ts';
import { checkUsers } from './users.ts';

const pemOf = (curve: string): string =>
  generateKeyPairSync('ec', { namedCurve: curve })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
const authority = await Authority.create('TW test', Date.now);
const one = await authority.issueLink('gw.a11.tw.troad.example');
const other = await authority.issueLink('gw.b07.tw.troad.example');
const dir = t.testdir({
  'p256.key': pemOf('P-256'),
  'p384.key': pemOf('P-384'),
  'cert.pem': one.chainPem,
  'cert.key': one.keyPem,
  'other.key': other.keyPem,
  good: `${'s'.repeat(40)}\n`,
  short: 'secret',
  empty: '\n',
  chinese: '權杖',
  lines: 'one\ntwo',
});
const at = (name: string): string => join(dir, name);

type Users = Pick<GatewayConfig, 'keys' | 'signals' | 'replicas'>;
const POLL = { url: 'https://idp.a11.example/poll', pauseMs: 1000 };
const KEYS = { message: { file: '' }, log: { file: '' } };
const PUSH = { host: '127.0.0.1', port: 0 };
const STORE = { host: '127.0.0.1', port: 6379, database: 0, tls: true };

const config = (key: string, tlsKey: string, token: string, secret: string, password: string): Users => ({
  keys: { ...KEYS, assertion: [{ file: at(key) }] },
  signals: {
    push: { ...PUSH, tls: { cert: at('cert.pem'), key: at(tlsKey) } },
    poll: [POLL, { ...POLL, tokenFile: at(token) }],
  },
  replicas: {
    store: STORE,
    secretFile: at(secret),
    passwordFile: at(password),
    ca: at('cert.pem'),
    timeoutMs: 1000,
  },
});

async function examined(users: Users) {
  const report = new Report();
  await checkUsers(report, users);
  return report.findings;
}

void t.test('what a start reads around users is read', async (t) => {
  const none = { keys: { ...KEYS, assertion: [] }, signals: { poll: [POLL] } };
  t.same(await examined(none), [], 'nothing is configured, and nothing is missed');
  const findings = await examined(config('p256.key', 'cert.key', 'good', 'good', 'good'));
  t.strictSame(
    findings.map(({ level, subject }) => `${level} ${subject}`),
    ['ok assertion key', 'ok signals certificate', 'ok signals token', 'ok replicas'],
  );
});

void t.test('what would keep a gateway from starting, in both languages', async (t) => {
  const findings = await examined(config('p384.key', 'other.key', 'chinese', 'short', 'good'));
  t.match(findings, [
    {
      subject: 'assertion key',
      what: `/keys/assertion/0: ${at('p384.key')}: is no private P-256 key: make one`,
    },
    { subject: 'signals certificate', what: `${at('other.key')}: is not the key of ${at('cert.pem')}` },
    {
      subject: 'signals token',
      what: `/signals/poll/1/tokenFile: ${at('chinese')}: expected one line of printable`,
    },
    {
      subject: 'replicas',
      what: `/replicas/secretFile: ${at('short')}: holds less than 32 characters: write one`,
    },
  ]);
  for (const { level, what } of findings) {
    t.equal(level, 'bad');
    t.match(what, /\S {2}.*\p{Script=Han}/u);
  }
  for (const token of ['empty', 'lines'])
    t.match(await examined(config('p256.key', 'cert.key', token, 'good', 'good')), [
      {},
      {},
      { level: 'bad', what: `${at(token)}: expected one line` },
      {},
    ]);
  t.match((await examined(config('p256.key', 'cert.key', 'good', 'good', 'empty'))).at(-1), {
    what: `/replicas/passwordFile: ${at('empty')}: is empty`,
  });
});
