// Real files, certificates and TLS, and a signed registry; the clock alone is ours.
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Authority, type Identity } from '../../pki/authority.ts';
import { generateKeyPair, privateKeyPem } from '../../pki/keys.ts';
import { PROFILES } from '../../pki/profiles.ts';
import type { GatewayConfig } from '../config/config.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import type { MemberId } from '../core/ids.ts';
import type { RegistryDocument } from '../registry/document.ts';
import { messageKeyId, messageKeyRow, spkiSha256 } from '../registry/keys.ts';
import { openRegistry, signRegistry } from '../registry/load.ts';
import type { Emit } from '../telemetry/events.ts';
import { CredentialsKeeper } from './credentials-keeper.ts';
import type { Credentials } from './credentials.ts';

const NAME = 'gw.a11.tw.troad.example';
const NOW = Date.now();
const DAY_MS = 86_400_000;
const clock = { now: () => NOW, monotonic: () => 0 };

const authority = await Authority.create('TW test', () => NOW);
const link = { old: await authority.issueLink(NAME), new: await authority.issueLink(NAME) };
const https = await authority.issueServer();
const [oldMessage, newMessage] = [generateKeyPair('ed25519'), generateKeyPair('p256')];
const root = generateKeyPair('ed25519');

const rowOf = ({ publicKey }: typeof oldMessage, validity = { notBefore: 0, notAfter: NOW + DAY_MS }) =>
  messageKeyRow(NAME, publicKey, validity);
/** What the registry says of this gateway. */
async function registryWith(spkis: readonly Identity[], messageKeys: readonly ReturnType<typeof rowOf>[]) {
  const member = 'TW/GOV/A11' as MemberId; // the test's own constant
  const document: RegistryDocument = {
    format: 'troad-registry-v1',
    instance: 'TW',
    version: 7,
    issuedAt: NOW,
    expiresAt: NOW + DAY_MS,
    members: [{ id: member, name: { en: 'A', zh: '甲' } }],
    gateways: [
      {
        name: NAME,
        member,
        address: '127.0.0.1:5500',
        link: spkis.map(({ privateKey }) => ({ spki: spkiSha256(createPublicKey(privateKey)) })),
        messageKeys,
        logs: [],
      },
    ],
    subsystems: [],
    services: [],
    agreements: [],
    linkAnchors: [authority.rootPem],
    identityProviders: [],
    attestors: [],
  };
  const file = await signRegistry(document, [root.privateKey]);
  return openRegistry(Buffer.from(file), { rootKeys: [root.publicKey] });
}
const both = await registryWith([link.old, link.new], [rowOf(oldMessage), rowOf(newMessage)]);

interface Files {
  readonly link?: Identity;
  readonly https?: Identity;
  readonly message?: string;
}

/** A gateway's files, and the keeper that has read them. */
function kept(t: Test, registry = both) {
  const dir = t.testdir({});
  const at = (name: string): string => join(dir, name);
  const write = (name: string, text: string): void => writeFileSync(at(name), text, { mode: 0o600 });
  const put = (files: Files): void => {
    for (const name of ['link', 'https'] as const) {
      const identity = files[name];
      if (identity === undefined) continue;
      write(`${name}.pem`, identity.chainPem);
      write(`${name}.key`, identity.keyPem);
    }
    if (files.message !== undefined) write('message.key', files.message);
  };
  write('ca.pem', authority.rootPem);
  put({ link: link.old, https, message: privateKeyPem(oldMessage.privateKey) });
  const config = {
    node: { name: NAME },
    listen: { hosts: [], https: { cert: at('https.pem'), key: at('https.key') } },
    link: { cert: at('link.pem'), key: at('link.key'), ca: at('ca.pem') },
    keys: { message: { file: at('message.key') } },
  } as unknown as GatewayConfig; // nothing else of it is read
  const events: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[] = [];
  const emit: Emit = (event, fields) => void events.push({ event, fields: { ...fields } });
  const told: Credentials[] = [];
  const options = {
    config,
    clock,
    emit,
    registry: () => Promise.resolve(registry),
    onCredentials: (next: Credentials) => Promise.resolve(void told.push(next)),
  };
  return { keeper: new CredentialsKeeper(options), options, events, told, put, write, at };
}

const fingerprint = ({ der }: Identity): string => base64url(sha256(der));

void t.test('good files are taken, told of, and given to whoever begins later', async (t) => {
  const { keeper, events, told, put } = kept(t);
  const before = keeper.current;
  const renewedHttps = await authority.issueServer();
  put({ link: link.new, https: renewedHttps, message: privateKeyPem(newMessage.privateKey) });
  t.equal(keeper.current, before, 'nothing happens by itself');
  await keeper.reload();
  t.equal(told.length, 1, 'workers are told once');
  t.equal(told[0], keeper.current);
  t.equal(keeper.current.link.cert, link.new.chainPem);
  t.equal(keeper.current.https?.key, renewedHttps.keyPem);
  t.equal(keeper.current.message, privateKeyPem(newMessage.privateKey));
  t.match(events, [
    { event: 'credentials.loaded', fields: { setting: 'link', fingerprint: fingerprint(link.new), expiresAt: Number } },
    { event: 'credentials.loaded', fields: { setting: 'listen.https', fingerprint: fingerprint(renewedHttps) } },
    { event: 'credentials.loaded', fields: { setting: 'keys.message', fingerprint: messageKeyId(NAME, newMessage.publicKey), expiresAt: NOW + DAY_MS } },
  ]); // prettier-ignore
  events.length = 0;
  await keeper.reload();
  t.match(events, [{ event: 'credentials.unchanged' }]);
  t.equal(told.length, 1, 'and nobody is disturbed for nothing');
});

const expired = { notBefore: NOW - 3 * DAY_MS, notAfter: NOW - 2 * DAY_MS };
const early = { notBefore: NOW + DAY_MS, notAfter: NOW + 2 * DAY_MS };
const elsewhere = await Authority.create('another', () => NOW);
const stranger = generateKeyPair('ed25519');
/** Another certificate for the link key in use: the registry need not change for it. */
const issued = (more: object, from = authority): Promise<Identity> => {
  const { privateKey } = link.old;
  const names = { dns: [NAME] };
  return from.issue(
    { ...PROFILES.link, subject: { commonName: NAME }, names, ...more },
    { privateKey, publicKey: createPublicKey(privateKey) },
  );
};

void t.test('authorities alone', async (t) => {
  const { keeper, events, told, write } = kept(t);
  write('ca.pem', authority.rootPem + elsewhere.rootPem);
  await keeper.reload();
  t.match(events, [
    { event: 'credentials.loaded', fields: { setting: 'link', fingerprint: fingerprint(link.old) } },
  ]);
  t.equal(told[0]?.link.ca, authority.rootPem + elsewhere.rootPem);
});

type Change = (gateway: ReturnType<typeof kept>) => void | Promise<void>;
const rows: readonly (readonly [what: string, change: Change, detail: RegExp])[] = [
  ['a link key of another certificate', ({ write }) => write('link.key', link.new.keyPem), /^\/link\/key: \S+link\.key: is not the key of \S+link\.pem {2}與憑證不符$/],
  ['half a link certificate', ({ write }) => write('link.pem', link.new.pem.slice(0, 300)), /^\/link\/cert: \S+link\.pem: .+/],
  ['an expired link certificate', async ({ put }) => put({ link: await issued(expired) }), /^\/link\/cert: \S+: expired on \d{4}-\d\d-\d\d: have it issued again {2}憑證已過期/],
  ['a link certificate of tomorrow', async ({ put }) => put({ link: await issued(early) }), /^\/link\/cert: \S+: is not valid before .* {2}憑證尚未生效/],
  ['a link certificate of another name', async ({ put }) => put({ link: await authority.issueLink('gw.b07.tw.troad.example') }), /^\/link\/cert: \S+: other gateways would refuse it as that of gw\.a11.* \(peer\.unknown.* {2}憑證不是簽發給此閘道的/],
  ['a link key that is not registered', async ({ put }) => put({ link: await authority.issueLink(NAME) }), /^\/link\/cert: \S+: other gateways would refuse it .*\(peer\.key.*listed beside the old one.* {2}名冊未列入/],
  ['a link certificate for one role', async ({ put }) => put({ link: await issued({ extendedKeyUsage: [PROFILES.server.extendedKeyUsage[0]] }) }), /\(peer\.certificate: .*extendedKeyUsage.* {2}其他閘道不會接受/],
  ['a link certificate of another authority', async ({ put }) => put({ link: await issued({}, elsewhere) }), /^\/link\/cert: \S+: TLS with itself: .*ca\.pem the anchor {2}憑證鏈不完整/],
  ['a link certificate without its issuer', ({ write }) => { write('link.pem', link.new.pem); write('link.key', link.new.keyPem); }, /TLS with itself: .* {2}憑證鏈不完整/],
  ['authorities that are none', ({ write }) => write('ca.pem', ''), /^\/link\/ca: \S+ca\.pem: holds no certificate in PEM {2}/],
  ['a link key open to others', ({ put, at }) => { put({ link: link.new }); chmodSync(at('link.key'), 0o644); }, /^\/link\/key: \S+link\.key is open to others \(mode 0644\): chmod 600 {2}私鑰檔/],
  ['a file that is not there', ({ at }) => rmSync(at('https.key')), /^\/listen\/https\/key: \S+https\.key: there is no such file: check the path {2}/],
  ['an https key of another certificate', ({ write }) => write('https.key', link.new.keyPem), /^\/listen\/https\/key: .*is not the key of/],
  ['an expired https certificate', async ({ put }) => put({ https: await issued(expired) }), /^\/listen\/https\/cert: \S+: expired on/],
  ['an https certificate of another name', async ({ put }) => put({ https: await authority.issueServer({ dns: ['www.example'] }) }), /^\/listen\/https\/cert: \S+: is for none of localhost, gw\.a11.*listen\.hosts and restart {2}憑證不屬於/],
  ['a message key nobody knows', ({ put }) => put({ message: privateKeyPem(stranger.privateKey) }), /^\/keys\/message\/file: \S+: version 7 of the registry does not list gw\.a11\S+#\S+ as a key in force: .* {2}名冊未將此金鑰列為有效/],
  ['a key that signs no messages', ({ put }) => put({ message: privateKeyPem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey) }), /^\/keys\/message\/file: \S+: a message key is P-256, Ed25519 or RSA {2}此種金鑰不能簽署訊息/],
  ['a message key that is none', ({ write }) => write('message.key', 'x'), /^\/keys\/message\/file: \S+: holds no private key in PEM {2}/],
  ['a message key open to others', ({ put, at }) => { put({ message: privateKeyPem(newMessage.privateKey) }); chmodSync(at('message.key'), 0o640 | 0o004); }, /^\/keys\/message\/file: .*open to others/],
]; // prettier-ignore

for (const [what, change, detail] of rows)
  void t.test(`keeps what is in use: ${what}`, async (t) => {
    const gateway = kept(t);
    const before = gateway.keeper.current;
    await change(gateway);
    await gateway.keeper.reload();
    t.match(gateway.events, [{ event: 'credentials.problem', fields: { detail } }]);
    t.equal(gateway.events.length, 1);
    t.equal(gateway.keeper.current, before);
    t.equal(gateway.told.length, 0);
  });

for (const [what, validity] of [
  ['not in force yet', { notBefore: NOW + 1, notAfter: NOW + DAY_MS }],
  ['past its date', { notBefore: 0, notAfter: NOW }],
] as const)
  void t.test(`keeps the message key: the new one is listed, and ${what}`, async (t) => {
    const registry = await registryWith([link.old], [rowOf(oldMessage), rowOf(newMessage, validity)]);
    const { keeper, events, put } = kept(t, registry);
    put({ message: privateKeyPem(newMessage.privateKey) });
    await keeper.reload();
    t.match(events, [{ event: 'credentials.problem', fields: { detail: /does not list/ } }]);
    t.equal(keeper.current.message, privateKeyPem(oldMessage.privateKey));
  });

void t.test('what is good does not wait for what is not', async (t) => {
  const { keeper, events, told, put } = kept(t);
  const renewedHttps = await authority.issueServer();
  put({ https: renewedHttps, message: privateKeyPem(stranger.privateKey) });
  await Promise.all([keeper.reload(), keeper.reload()]);
  t.match(events, [
    { event: 'credentials.problem' },
    { event: 'credentials.loaded', fields: { setting: 'listen.https' } },
    { event: 'credentials.problem' },
  ]);
  t.equal(told.length, 1, 'the second found nothing new but what is wrong');
  t.equal(keeper.current.message, privateKeyPem(oldMessage.privateKey));
  t.equal(keeper.current.https?.cert, renewedHttps.chainPem);
});

void t.test('without a registry nothing changes, and it says so', async (t) => {
  const { keeper, events, put, options } = kept(t);
  put({ https: await authority.issueServer() });
  const broken = new CredentialsKeeper({
    ...options,
    registry: () => Promise.reject(new Error('it is away')),
  });
  await broken.reload();
  t.match(events, [{ event: 'credentials.problem', fields: { detail: /it is away/ } }]);
  await keeper.reload();
  t.match(events[1], { event: 'credentials.loaded' });
});
