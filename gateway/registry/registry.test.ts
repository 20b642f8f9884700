import fc from 'fast-check';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import t from 'tap';
import {
  ECHO,
  FILES,
  HOUSING,
  makeGateway,
  makeInstance,
  pinned,
  WELFARE,
} from '../../conformance/builders/instance.ts';
import { ConfigError, MalformedBytes } from '../core/errors.ts';
import type { MemberId, ServiceId, SubsystemId } from '../core/ids.ts';
import { PeerGateway } from '../identity/peer.ts';
import { noteSigner } from '../tlog/note.ts';
import type { RegistryDocument } from './document.ts';
import { messageKeyRow } from './keys.ts';
import { loadRegistry, openRegistry, signRegistry } from './load.ts';
import { signPayload } from './signature.ts';
import { trustFileOf } from './trust-file.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const { document, rootKeys, consumer, provider, authority } = await makeInstance(NOW);
const trust = pinned(rootKeys.privateKey);
/** Signs anything, good or not. */
const signed = async (content: unknown): Promise<Buffer> =>
  Buffer.from(await signPayload(Buffer.from(JSON.stringify(content)), [rootKeys.privateKey]));
const registry = await loadRegistry(
  Buffer.from(await signRegistry(document, [rootKeys.privateKey])),
  trust,
  NOW,
);

void t.test('looks up what the document says', async (t) => {
  t.equal(registry.version, 7);
  t.equal(registry.gateway(provider.name)?.member, 'TW/GOV/B07');
  t.same(registry.gateway(provider.name)?.target, {
    name: provider.name,
    host: '127.0.0.1',
    port: 5500,
    spki: provider.row.link.map(({ spki }) => spki),
  });
  t.equal(registry.gateway(provider.name)?.target, registry.gateway(provider.name)?.target, 'one object');
  t.equal(registry.subsystem(WELFARE)?.gateway.name, consumer.name);
  t.match(registry.service(ECHO), {
    code: 'echo',
    subsystem: HOUSING,
    type: 'REST',
    gateway: { name: provider.name },
  });
  t.equal(registry.member('TW/GOV/A11' as MemberId)?.name.zh, '福利部');
  t.same(
    registry.servicesOf(HOUSING).map(({ id }) => id),
    [ECHO, FILES],
  );
  t.same(
    registry.agreementsFor(WELFARE, ECHO).map(({ id }) => id),
    ['A-1'],
  );
  t.equal(registry.linkAnchorsPem, authority.rootPem);
  for (const nothing of [
    '',
    'gw.c01.tw.troad.example',
    '__proto__',
    provider.name.toUpperCase(),
    `${provider.name}.`,
  ]) {
    t.equal(registry.gateway(nothing), undefined, nothing);
  }
  t.same(registry.agreementsFor(HOUSING, ECHO), []);
  t.same(registry.agreementsFor(WELFARE, 'TW/GOV/B07/housing/none' as ServiceId), []);
  t.same(registry.servicesOf(WELFARE), []);
});

void t.test('gives message keys only for their gateway, their time and while active', async (t) => {
  const [row] = consumer.row.messageKeys;
  if (row === undefined) throw new Error('the builder gives each gateway a key');
  const key = registry.messageKey(consumer.name, row.kid, NOW);
  t.equal(key?.algorithm, 'ed25519');
  t.ok(key?.publicKey.equals(consumer.message.publicKey));
  t.equal(registry.messageKey(consumer.name, row.kid, NOW + 1)?.publicKey, key?.publicKey, 'made once');
  t.equal(
    registry.messageKey(provider.name, provider.row.messageKeys[0]?.kid ?? '', NOW)?.algorithm,
    'ecdsa-p256-sha256',
  );
  t.equal(registry.messageKey(provider.name, row.kid, NOW), undefined, 'of another gateway');
  t.equal(registry.messageKey(consumer.name, row.kid, row.notBefore - 1), undefined, 'too early');
  t.equal(registry.messageKey(consumer.name, row.kid, row.notAfter), undefined, 'too late');
  const gateways = document.gateways.map((gateway) => ({
    ...gateway,
    messageKeys: gateway.messageKeys.map((k) => ({ ...k, status: 'revoked' })),
  }));
  const revoked = await openRegistry(await signed({ ...document, gateways }), trust);
  t.equal(revoked.messageKey(consumer.name, row.kid, NOW), undefined, 'revoked');
});

void t.test('is a directory that peers are proved with', async (t) => {
  const directory = { gatewayByName: (name: string) => registry.gateway(name) };
  const peer = PeerGateway.identify(consumer.link.der, 'client', directory, NOW);
  t.equal(peer.name, consumer.name);
  peer.requireCurrent(directory, NOW);
});

void t.test('serves until it expires', async (t) => {
  registry.requireFresh(registry.expiresAt - 1);
  t.throws(() => registry.requireFresh(registry.expiresAt), {
    name: 'Unavailable',
    code: 'registry.expired',
  });
});

/** A copy of the document with one value replaced (`undefined`: removed; last part `-`: appended). */
function patched(pointer: string, value: unknown, of: unknown = document): unknown {
  const copy: unknown = structuredClone(of);
  const path = pointer.split('/').slice(1);
  const last = path.pop() ?? '';
  let node: unknown = copy;
  for (const key of path) node = Reflect.get(Object(node), key);
  if (Array.isArray(node) && last === '-') node.push(value);
  else if (value === undefined) Reflect.deleteProperty(Object(node), last);
  // defineProperty, as assigning to `__proto__` would not make a property of that name; JSON.parse does.
  else Object.defineProperty(node, last, { value, enumerable: true });
  return copy;
}

const spki = (key: KeyObject): string => key.export({ type: 'spki', format: 'der' }).toString('base64');
const third = await makeGateway(authority, 'C01', NOW);
const [consumerKey] = consumer.row.messageKeys;
const [agreement] = document.agreements;
const second = { ...third.row, member: provider.member };
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
const keyOfRoot = messageKeyRow(consumer.name, consumer.log.publicKey, { notBefore: NOW, notAfter: NOW + 1 });
const vkey = (origin: string, parts = third): string => noteSigner(origin, parts.log.privateKey).vkey;

// One change to a good document each, and the problem it must name.
const nearMisses: readonly (readonly [what: string, pointer: string, value: unknown, problem: RegExp])[] = [
  ['another format', '/format', 'troad-registry-v2', /^\/format: expected "troad-registry-v1"/],
  ['an unknown key', '/revoked', [], /^\/revoked: unknown key$/],
  ['__proto__ as a key', '/__proto__', {}, /^\/__proto__: unknown key$/],
  ['a missing key', '/members', undefined, /^\/members: expected a list$/],
  ['version 0', '/version', 0, /^\/version: expected a whole number/],
  ['a version that is text', '/version', '7', /^\/version: /],
  ['a version no double holds', '/version', 2 ** 53, /^\/version: /],
  ['a fraction of a version', '/version', 7.5, /^\/version: /],
  ['an end before the beginning', '/expiresAt', NOW, /^\/expiresAt: not after issuedAt/],
  ['an instance with a slash', '/instance', 'TW/X', /^\/instance: /],
  ['members of another instance', '/instance', 'XX', /^\/members\/0\/id: of another instance/],

  ['a member twice', '/members/1/id', consumer.member, /^\/members\/1\/id: "?TW\/GOV\/A11"? is there twice/],
  ['a member of two parts', '/members/0/id', 'TW/GOV', /^\/members\/0\/id: expected instance\/class\/member/],
  ['a member with a dot segment', '/members/0/id', 'TW/../A11', /^\/members\/0\/id: /],
  ['a member in another spelling', '/members/0/id', 'TW/GOV/%411', /^\/members\/0\/id: /],
  ['a name with a line end', '/members/0/name/en', 'a\nb', /^\/members\/0\/name\/en: /],
  ['an empty name', '/members/0/name/zh', '', /^\/members\/0\/name\/zh: /],
  ['a name in a third language', '/members/0/name/ja', 'x', /^\/members\/0\/name\/ja: unknown key/],

  [
    'X06 two gateways of one name',
    '/gateways/-',
    { ...second, name: provider.name, logs: [], messageKeys: [] },
    /^\/gateways\/2\/name: .*twice/,
  ],
  [
    'a gateway of an unknown member',
    '/gateways/0/member',
    'TW/GOV/C01',
    /^\/gateways\/0\/member: unknown member/,
  ],
  [
    'a wildcard gateway',
    '/gateways/0/name',
    '*.tw.troad.example',
    /^\/gateways\/0\/name: expected a DNS name/,
  ],
  ['a gateway in upper case', '/gateways/0/name', 'GW.a11', /^\/gateways\/0\/name: /],
  ['a gateway with a dot at its end', '/gateways/0/name', `${consumer.name}.`, /^\/gateways\/0\/name: /],
  ['no port', '/gateways/0/address', '127.0.0.1', /^\/gateways\/0\/address: expected host:port/],
  ['port 0', '/gateways/0/address', '127.0.0.1:0', /^\/gateways\/0\/address: /],
  ['port 65536', '/gateways/0/address', '127.0.0.1:65536', /^\/gateways\/0\/address: /],
  ['an address with three parts', '/gateways/0/address', '127.0.1:5500', /^\/gateways\/0\/address: /],
  ['an address with a path', '/gateways/0/address', 'gw.example:1/x', /^\/gateways\/0\/address: /],
  [
    'a pin of 20 bytes',
    '/gateways/0/link/0/spki',
    Buffer.alloc(20).toString('base64url'),
    /^\/gateways\/0\/link\/0\/spki: /,
  ],
  [
    'a pin with padding',
    '/gateways/0/link/0/spki',
    Buffer.alloc(32).toString('base64'),
    /^\/gateways\/0\/link\/0\/spki: /,
  ],

  [
    'X06 two members with one link key',
    '/gateways/1/link/0',
    consumer.row.link[0],
    /^\/gateways\/1\/link\/0\/spki: the key is also that of gw\.a11/,
  ],
  [
    'X06 a message key of another gateway',
    '/gateways/1/messageKeys/0',
    messageKeyRow(provider.name, consumer.message.publicKey, { notBefore: NOW, notAfter: NOW + 1 }),
    /^\/gateways\/1\/messageKeys\/0\/spki: the key is also that of gw\.a11/,
  ],
  [
    'X06 a log key of another gateway',
    '/gateways/1/logs/0/vkey',
    vkey(provider.origin, consumer),
    /^\/gateways\/1\/logs\/0\/vkey: the key is also that of gw\.a11/,
  ],
  [
    'one key for messages and the log',
    '/gateways/0/messageKeys/-',
    keyOfRoot,
    /: the key is also a message key$/,
  ],
  [
    'a link key listed twice',
    '/gateways/0/link/-',
    consumer.row.link[0],
    /^\/gateways\/0\/link\/1\/spki: the key is listed twice/,
  ],
  [
    "the row of another gateway's key",
    '/gateways/1/messageKeys/0',
    consumerKey,
    /^\/gateways\/1\/messageKeys\/0\/kid: expected gw\.b07/,
  ],
  [
    'a key id with another hash',
    '/gateways/0/messageKeys/0/kid',
    `${consumer.name}#${Buffer.alloc(32).toString('base64url')}`,
    /\/kid: expected gw\.a11/,
  ],
  [
    "another algorithm than the key's",
    '/gateways/0/messageKeys/0/alg',
    'ecdsa-p256-sha256',
    /\/spki: spki: not a key for ecdsa/,
  ],
  ['an algorithm of no key', '/gateways/0/messageKeys/0/alg', 'hmac-sha256', /\/alg: expected "ed25519" or/],
  ['a key that is not base64', '/gateways/0/messageKeys/0/spki', '!', /\/spki: spki: not base64/],
  ['a key that is not a key', '/gateways/0/messageKeys/0/spki', 'MAA=', /\/spki: /],
  ['a P-384 key', '/gateways/1/messageKeys/0/spki', spki(p384.publicKey), /\/spki: spki: not a key for/],
  ['an RSA key of 1024 bits', '/gateways/1/messageKeys/0/spki', spki(weak.publicKey), /RSA of 1024 bits/],
  [
    'a point off the curve',
    '/gateways/1/messageKeys/0/spki',
    offCurve(spki(provider.message.publicKey)),
    /\/spki: spki: not a public key/,
  ],
  [
    'a key that ends before it begins',
    '/gateways/0/messageKeys/0/notAfter',
    1,
    /\/notAfter: not after notBefore/,
  ],
  [
    'a key of unknown status',
    '/gateways/0/messageKeys/0/status',
    'suspended',
    /\/status: expected "active" or "revoked"/,
  ],
  [
    "a log under another gateway's name",
    '/gateways/0/logs/0',
    { origin: third.origin, vkey: vkey(third.origin) },
    /\/logs\/0\/origin: does not begin with gw\.a11/,
  ],
  [
    'a verifier key of another name',
    '/gateways/0/logs/0/vkey',
    vkey(`${consumer.name}/x`, consumer),
    /\/vkey: is named unlike/,
  ],
  [
    'a verifier key with a wrong id',
    '/gateways/0/logs/0/vkey',
    vkey(consumer.origin, consumer).replace(/\+[0-9a-f]{8}\+/, '+00000000+'),
    /\/logs\/0\/vkey: /,
  ],
  ['one origin twice', '/gateways/0/logs/-', consumer.row.logs[0], /\/logs\/1\/origin: .* is there twice/],

  [
    'a subsystem of an unknown member',
    '/subsystems/0/id',
    'TW/GOV/C01/x',
    /^\/subsystems\/0\/id: of an unknown member/,
  ],
  [
    'a subsystem at an unknown gateway',
    '/subsystems/0/gateway',
    third.name,
    /^\/subsystems\/0\/gateway: unknown gateway/,
  ],
  [
    'a subsystem twice',
    '/subsystems/-',
    { id: WELFARE, gateway: provider.name },
    /^\/subsystems\/2\/id: .*twice/,
  ],
  [
    'a service of an unknown subsystem',
    '/services/0/id',
    'TW/GOV/B07/x/echo',
    /^\/services\/0\/id: of an unknown subsystem/,
  ],
  ['a service twice', '/services/1/id', ECHO, /^\/services\/1\/id: .*twice/],
  ['a SOAP service', '/services/0/type', 'WSDL', /^\/services\/0\/type: /],
  ...[
    'listMethods',
    'allowedMethods',
    'getOpenAPI',
    'listClients',
    'getWsdl',
    'LISTMETHODS',
    'getSecurityServerMetrics',
  ].map(
    (code) =>
      [
        `${code} as a service code`,
        '/services/0/id',
        `${HOUSING}/${code}`,
        /^\/services\/0\/id: .* is a reserved service code/,
      ] as const,
  ),

  [
    'an agreement of an unknown consumer',
    '/agreements/0/consumer',
    'TW/GOV/A11/x',
    /^\/agreements\/0\/consumer: unknown subsystem/,
  ],
  [
    'an agreement on an unknown service',
    '/agreements/0/service',
    `${HOUSING}/x`,
    /^\/agreements\/0\/service: unknown service/,
  ],
  ['an agreement id twice', '/agreements/1/id', agreement?.id, /^\/agreements\/1\/id: .*twice/],
  [
    'an agreement that ends before it begins',
    '/agreements/0/untilMs',
    1,
    /^\/agreements\/0\/untilMs: not after/,
  ],
  [
    'an agreement that demands what nobody checks',
    '/agreements/0/assertion',
    'aal2',
    /^\/agreements\/0\/assertion: expected "none"/,
  ],
  [
    'an agreement silent on assertions',
    '/agreements/0/assertion',
    undefined,
    /^\/agreements\/0\/assertion: expected "none"/,
  ],
  [
    'an agreement silent on devices',
    '/agreements/0/device',
    undefined,
    /^\/agreements\/0\/device: expected "none"/,
  ],
  [
    'a class with blanks',
    '/agreements/0/class',
    'very secret',
    /^\/agreements\/0\/class: expected small letters/,
  ],
  ['a class that is no text', '/agreements/0/class', 3, /^\/agreements\/0\/class: /],
  ['a class of no letters', '/agreements/0/class', '', /^\/agreements\/0\/class: /],
  ['"true" for true', '/agreements/0/enabledByProvider', 'true', /^\/agreements\/0\/enabledByProvider: /],
  [
    'a switch left out',
    '/agreements/0/enabledByConsumer',
    undefined,
    /^\/agreements\/0\/enabledByConsumer: /,
  ],
  ['a method in lower case', '/agreements/0/methods', ['post'], /^\/agreements\/0\/methods\/0: /],
  [
    'every method and one',
    '/agreements/0/methods',
    ['*', 'GET'],
    /^\/agreements\/0\/methods: \* stands alone/,
  ],
  [
    'a pattern without its slash',
    '/agreements/0/paths/0',
    'x',
    /^\/agreements\/0\/paths\/0: expected a path pattern/,
  ],
  ['a star inside a segment', '/agreements/0/paths/0', '/v*', /^\/agreements\/0\/paths\/0: /],
  ['two stars in the middle', '/agreements/0/paths/0', '/**/x', /^\/agreements\/0\/paths\/0: /],
  ['a dot segment', '/agreements/0/paths/0', '/a/../b', /^\/agreements\/0\/paths\/0: /],
  ['a query in a pattern', '/agreements/0/paths/0', '/a?b', /^\/agreements\/0\/paths\/0: /],

  ['an anchor that is no CA', '/linkAnchors/0', consumer.link.pem, /^\/linkAnchors\/0: not a CA certificate/],
  [
    'two anchors in one',
    '/linkAnchors/0',
    authority.rootPem + authority.issuingPem,
    /^\/linkAnchors\/0: expected one certificate/,
  ],
  ['an anchor that is a key', '/linkAnchors/0', consumer.link.keyPem, /^\/linkAnchors\/0: PEM: /],
];

/** A P-256 key whose point has one bit changed. */
function offCurve(base64: string): string {
  const der = Buffer.from(base64, 'base64');
  der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
  return der.toString('base64');
}

for (const [what, pointer, value, problem] of nearMisses) {
  void t.test(`refuses ${what}`, async (t) => {
    const file = await signed(patched(pointer, value));
    await t.rejects(openRegistry(file, trust), { name: 'ConfigError', problems: [problem] });
  });
}

void t.test('takes every kind of key, pattern and hosting that is meant to be taken', async (t) => {
  const row = messageKeyRow(consumer.name, rsa.publicKey, { notBefore: NOW, notAfter: NOW + 1000 });
  const more: readonly (readonly [string, unknown])[] = [
    ['/gateways/0/messageKeys/-', row],
    [
      '/gateways/0/logs/-',
      {
        origin: `${consumer.name}/troad-log/gw1/2`,
        vkey: vkey(`${consumer.name}/troad-log/gw1/2`, consumer),
      },
    ],
    ['/subsystems/-', { id: 'TW/GOV/B07/archive', gateway: consumer.name }],
    ['/agreements/0/paths', ['**', '/', '/*', '/a/*/b', '/a/**', '/a%2Fb', '/']],
    ['/agreements/0/methods', ['*']],
    ['/gateways/0/address', '[::1]:5500'],
  ];
  const content = more.reduce<unknown>(
    (before, [pointer, value]) => patched(pointer, value, before),
    document,
  );
  const taken = await openRegistry(await signed(content), trust);
  t.equal(taken.messageKey(consumer.name, row.kid, NOW)?.algorithm, 'rsa-pss-sha512');
  t.equal(taken.gateway(consumer.name)?.target.host, '::1');
  t.equal(taken.subsystem('TW/GOV/B07/archive' as SubsystemId)?.gateway.name, consumer.name, 'hosted');
});

void t.test('names all problems at once, and not more than a hundred', async (t) => {
  const twice = patched('/version', -1, patched('/gateways/0/address', 'x'));
  const problems = async (file: Buffer): Promise<readonly string[]> => {
    const thrown: unknown = await openRegistry(file, trust).catch((cause: unknown) => cause);
    return thrown instanceof ConfigError ? thrown.problems : [];
  };
  t.match(await problems(await signed(twice)), [/^\/version: /, /^\/gateways\/0\/address: /]);
  const many = patched(
    '/members',
    Array.from({ length: 500 }, () => 1),
  );
  t.equal((await problems(await signed(many))).length, 100);
});

void t.test('does not sign what gateways would refuse', async (t) => {
  const bad: RegistryDocument = { ...document, members: [] };
  await t.rejects(signRegistry(bad, [rootKeys.privateKey]), { name: 'ConfigError' });
});

void t.test('the trust file holds keys and origins, nothing else', async (t) => {
  const trustFile = trustFileOf(registry, []);
  t.equal(trustFile.instance, 'TW');
  t.same(Object.keys(trustFile), ['instance', 'gateways']);
  const [first] = trustFile.gateways;
  t.same(Object.keys(first ?? {}), ['name', 'member', 'logs', 'messageKeys', 'link']);
  t.same(first?.logs, consumer.row.logs);
  const { status, ...key } = consumerKey ?? { status: 'none' };
  t.equal(status, 'active');
  t.same(first?.messageKeys, [key]);
});

void t.test('whatever root keys sign, it is read or refused, and nothing else happens', async () => {
  const text = JSON.stringify(document);
  const pointers = paths(document);
  const acceptable = async (content: unknown): Promise<boolean> => {
    try {
      return (await openRegistry(await signed(content), trust)).instance.length > 0;
    } catch (thrown) {
      return thrown instanceof ConfigError || thrown instanceof MalformedBytes;
    }
  };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...pointers), fc.jsonValue(), (pointer, value) =>
      acceptable(patched(pointer, value)),
    ),
    { numRuns: 300 },
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...pointers), fc.constantFrom(...pointers), (to, from) => {
      const value: unknown = from
        .split('/')
        .slice(1)
        .reduce<unknown>((node, key) => Reflect.get(Object(node), key), document);
      return acceptable(patched(to, value));
    }),
    { numRuns: 300 },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.nat(text.length - 1),
      fc.nat(text.length - 1),
      fc.string({ maxLength: 3 }),
      async (a, b, insert) => {
        const payload = Buffer.from(text.slice(0, a) + insert + text.slice(b));
        const file = Buffer.from(await signPayload(payload, [rootKeys.privateKey]));
        return openRegistry(file, trust).then(
          () => true,
          (thrown: unknown) => thrown instanceof ConfigError || thrown instanceof MalformedBytes,
        );
      },
    ),
    { numRuns: 200 },
  );
});

/** JSON pointers of every value in a document. */
function paths(value: unknown, at = ''): string[] {
  if (typeof value !== 'object' || value === null) return at === '' ? [] : [at];
  const inside = Object.entries(value).flatMap(([key, item]) => paths(item, `${at}/${key}`));
  return at === '' ? inside : [at, ...inside];
}
