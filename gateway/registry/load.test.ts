import fc from 'fast-check';
import { spawnSync } from 'node:child_process';
import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import t from 'tap';
import { makeInstance, pinned } from '../../conformance/builders/instance.ts';
import { PLAIN_NODE } from '../../conformance/harness/plain-node.ts';
import { generateKeyPair } from '../../pki/keys.ts';
import { ConfigError, MalformedBytes } from '../core/errors.ts';
import type { RegistryDocument } from './document.ts';
import { spkiSha256 } from './keys.ts';
import { loadRegistry, openRegistry, signRegistry } from './load.ts';
import { signPayload } from './signature.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const { document, rootKeys } = await makeInstance(NOW);
const root = rootKeys.privateKey;
const p256 = generateKeyPair('p256').privateKey;
const stranger = generateKeyPair('ed25519').privateKey;
const trust = pinned(root);

const file = async (change: Partial<RegistryDocument> = {}, ...keys: readonly KeyObject[]): Promise<Buffer> =>
  Buffer.from(await signRegistry({ ...document, ...change }, keys.length > 0 ? keys : [root]));
const good = await file();
const config = (message: RegExp) => ({ name: 'ConfigError', message });
const malformed = { name: 'MalformedBytes' };

interface Jws {
  readonly payload: string;
  readonly signatures: readonly { readonly protected: string; readonly signature: string }[];
}
const parsed = (bytes: Buffer): Jws => JSON.parse(bytes.toString()) as Jws; // we wrote it
const edited = (change: (jws: Jws) => unknown): Buffer => Buffer.from(JSON.stringify(change(parsed(good))));
const header = (fields: object): string => Buffer.from(JSON.stringify(fields)).toString('base64url');
const withHeader = (fields: object): Buffer =>
  edited(({ payload, signatures }) => ({
    payload,
    signatures: [{ ...signatures[0], protected: header(fields) }],
  }));
const typ = 'troad-registry+jws';
const kid = spkiSha256(rootKeys.publicKey);

void t.test('takes Ed25519 and P-256 root keys', async (t) => {
  t.equal((await loadRegistry(good, trust, NOW)).version, 7);
  t.equal((await loadRegistry(await file({}, p256), pinned(p256), NOW)).version, 7);
});

void t.test('asks for as many different root keys as configured', async (t) => {
  const two = { ...pinned(root, p256), threshold: 2 };
  t.equal((await loadRegistry(await file({}, root, p256), two, NOW)).version, 7);
  await t.rejects(
    loadRegistry(await file({}, root), two, NOW),
    config(/signed by 1 of the root keys, needs 2/),
  );
  const copies = edited(({ payload, signatures }) => ({
    payload,
    signatures: [...signatures, ...signatures],
  }));
  await t.rejects(
    loadRegistry(copies, two, NOW),
    config(/signed by 1 of/),
    'one signature twice counts once',
  );
  await t.rejects(loadRegistry(await file({}, root, stranger), two, NOW), config(/signed by 1 of/));
  await t.rejects(loadRegistry(good, { ...trust, threshold: 2 }, NOW), config(/1 root keys cannot give 2/));
  await t.rejects(loadRegistry(good, { ...trust, threshold: 0 }, NOW), config(/cannot give 0/));
  await t.rejects(loadRegistry(good, { rootKeys: [] }, NOW), config(/0 root keys/));
});

void t.test('passes over signatures of keys it does not know: root keys can be replaced', async (t) => {
  const both = await file({}, stranger, root);
  t.equal((await loadRegistry(both, trust, NOW)).version, 7);
  t.equal((await loadRegistry(both, pinned(stranger), NOW)).version, 7);
  await t.rejects(
    loadRegistry(await file({}, stranger), trust, NOW),
    config(/signed by 0 of/),
    'X06 unknown key',
  );
});

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
const hmac = ((): Buffer => {
  // The classic: the public key as the secret of an HMAC.
  const { payload } = parsed(good);
  const protectedHeader = header({ alg: 'HS256', kid, typ });
  const secret = rootKeys.publicKey.export({ type: 'spki', format: 'pem' });
  const signature = createHmac('sha256', secret).update(`${protectedHeader}.${payload}`).digest('base64url');
  return Buffer.from(JSON.stringify({ payload, signatures: [{ protected: protectedHeader, signature }] }));
})();
const forged = await (async (): Promise<Buffer> => {
  // Signed by a stranger who says he is the root key.
  const { payload, signatures } = parsed(await file({}, stranger));
  const [first] = signatures;
  return Buffer.from(
    JSON.stringify({ payload, signatures: [{ ...first, protected: header({ alg: 'EdDSA', kid, typ }) }] }),
  );
})();

const refused: readonly (readonly [
  what: string,
  bytes: Buffer,
  expected: { name: string; message?: RegExp },
])[] = [
  [
    'X06 a changed payload',
    edited((jws) => ({ ...jws, payload: header({ ...document, version: 8 }) })),
    config(/does not verify/),
  ],
  ['X06 a signature in the name of the root key', forged, config(/does not verify/)],
  ['no signature', edited(({ payload }) => ({ payload, signatures: [] })), config(/signed by 0 of/)],
  ['alg none', withHeader({ alg: 'none', kid, typ }), config(/does not sign with none/)],
  ['an HMAC with the public key', hmac, config(/does not sign with HS256/)],
  [
    "another algorithm than the key's",
    withHeader({ alg: 'ES256', kid, typ }),
    config(/does not sign with ES256/),
  ],
  ['another type of JWS', withHeader({ alg: 'EdDSA', kid, typ: 'JWT' }), malformed],
  ['no type', withHeader({ alg: 'EdDSA', kid }), malformed],
  ['an embedded key', withHeader({ alg: 'EdDSA', kid, typ, jwk: {} }), malformed],
  ['a critical extension', withHeader({ alg: 'EdDSA', kid, typ, crit: ['b64'] }), malformed],
  ['an unencoded payload', withHeader({ alg: 'EdDSA', kid, typ, b64: false }), malformed],
  [
    'an unprotected header',
    edited(({ payload, signatures }) => ({ payload, signatures: [{ ...signatures[0], header: {} }] })),
    malformed,
  ],
  [
    'flattened serialization',
    edited(({ payload, signatures }) => ({ payload, ...signatures[0] })),
    malformed,
  ],
  [
    'compact serialization',
    edited(({ payload, signatures }) => `${signatures[0]?.protected}.${payload}.${signatures[0]?.signature}`),
    malformed,
  ],
  [
    '17 signatures',
    edited(({ payload, signatures }) => ({
      payload,
      signatures: Array.from({ length: 17 }, () => signatures[0]),
    })),
    malformed,
  ],
  ['signatures that are text', edited(({ payload }) => ({ payload, signatures: 'x' })), malformed],
  ['null', edited(() => null), malformed],
  ['a half of it', good.subarray(0, good.length / 2), malformed],
  ['nothing', Buffer.alloc(0), malformed],
  ['a byte order mark', Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), good]), malformed],
  ['bytes that are not UTF-8', Buffer.concat([good, Buffer.of(0xff)]), malformed],
  [
    'text that root keys signed, but not JSON',
    Buffer.from(await signPayload(Buffer.from('{'), [root])),
    malformed,
  ],
];
for (const [what, bytes, expected] of refused) {
  void t.test(`refuses ${what}`, async (t) => {
    await t.rejects(loadRegistry(bytes, trust, NOW), expected);
  });
}

void t.test('refuses root keys of other kinds', async (t) => {
  await t.rejects(loadRegistry(good, { rootKeys: [rsa] }, NOW), config(/neither Ed25519 nor P-256/));
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
  await t.rejects(loadRegistry(good, { rootKeys: [p384] }, NOW), config(/neither Ed25519 nor P-256/));
});

void t.test('X06 expired, or not issued yet', async (t) => {
  const expired = { name: 'Unavailable', code: 'registry.expired' };
  await t.rejects(loadRegistry(good, trust, document.expiresAt), expired);
  t.equal((await loadRegistry(good, trust, document.expiresAt - 1)).version, 7);
  t.equal((await openRegistry(good, trust)).version, 7, 'an auditor may still read it');
  await t.rejects(loadRegistry(good, trust, NOW - 300_001), config(/issued in the future/));
  t.equal((await loadRegistry(good, trust, NOW - 300_000)).version, 7, 'clocks may differ by five minutes');
});

void t.test('X06 versions never go back, and one version has one content', async (t) => {
  const previous = await loadRegistry(good, trust, NOW);
  const next = await loadRegistry(await file({ version: 9 }), trust, NOW, previous);
  t.equal(next.version, 9);
  t.equal(await loadRegistry(good, trust, NOW, previous), previous, 'the same file is the same registry');
  await t.rejects(loadRegistry(good, trust, NOW, next), config(/version 7 is older than 9/));
  const another = await file({ expiresAt: document.expiresAt + 1 });
  await t.rejects(loadRegistry(another, trust, NOW, previous), config(/another content under the version 7/));
  const foreign = await file({
    instance: 'XX',
    version: 9,
    members: [],
    gateways: [],
    subsystems: [],
    services: [],
    agreements: [],
  });
  await t.rejects(loadRegistry(foreign, trust, NOW, previous), config(/of instance XX, not TW/));
});

void t.test('a removed member is gone, and keys that stay are not read again', async (t) => {
  const previous = await loadRegistry(good, trust, NOW);
  const [first] = document.gateways;
  const [kept] = first?.messageKeys ?? [];
  const smaller = await file({
    version: 8,
    members: document.members.slice(0, 1),
    gateways: document.gateways.slice(0, 1),
    subsystems: document.subsystems.slice(0, 1),
    services: [],
    agreements: [],
  });
  const next = await loadRegistry(smaller, trust, NOW, previous);
  t.equal(next.gateway(document.gateways[1]?.name ?? ''), undefined);
  const name = first?.name ?? '';
  t.ok(next.messageKey(name, kept?.kid ?? '', NOW));
  t.equal(
    next.messageKey(name, kept?.kid ?? '', NOW)?.publicKey,
    previous.messageKey(name, kept?.kid ?? '', NOW)?.publicKey,
  );

  // A key that was one gateway's stays under that name: reuse must not let it through under another.
  const [second] = document.gateways.slice(1);
  const moved = { ...second, messageKeys: [kept] } as typeof second;
  const stolen = { ...document, version: 9, gateways: [{ ...first, messageKeys: [] }, moved] };
  const bytes = Buffer.from(await signPayload(Buffer.from(JSON.stringify(stolen)), [root]));
  await t.rejects(
    loadRegistry(bytes, trust, NOW, previous),
    config(/\/gateways\/1\/messageKeys\/0\/kid: expected gw\.b07/),
  );
});

void t.test('a changed byte is refused, and in no other way', async () => {
  const refusedWell = (bytes: Uint8Array): Promise<boolean> =>
    loadRegistry(bytes, trust, NOW).then(
      ({ sha256 }) => sha256 === GOOD, // white space of the envelope is nobody's statement
      (thrown: unknown) => thrown instanceof ConfigError || thrown instanceof MalformedBytes,
    );
  const GOOD = (await loadRegistry(good, trust, NOW)).sha256;
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = Buffer.from(good);
      bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
      return refusedWell(bytes);
    }),
    { numRuns: 500 },
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 2), (length) => refusedWell(good.subarray(0, length))),
  );
  await fc.assert(fc.asyncProperty(fc.json(), (json) => refusedWell(Buffer.from(json))));
});

void t.test('a file that nobody signed cannot use up the memory', (t) => {
  // Eight megabytes that become some two hundred of objects: nothing catches the end of a heap.
  const program = `
    const { loadRegistry } = await import(${JSON.stringify(new URL('load.ts', import.meta.url).href)});
    const { generateKeyPairSync } = await import('node:crypto');
    const rootKeys = [generateKeyPairSync('ed25519').publicKey];
    for (const flood of ['{},', '[],', '1,']) {
      const list = Buffer.alloc(8 << 20, flood).toString('latin1');
      const file = '{"payload":[' + list.slice(0, list.lastIndexOf(',')) + '],"signatures":[]}';
      await loadRegistry(Buffer.from(file), { rootKeys }, 0).catch(({ message }) => console.log(message));
    }`;
  const [env, ...start] = PLAIN_NODE;
  const heap = ['--max-old-space-size=64', '--input-type=module', '--eval', program];
  const { status, stdout } = spawnSync(env, [...start, ...heap], { encoding: 'utf8' });
  t.equal(status, 0);
  t.equal(stdout, 'registry: holds more than a payload and its signatures\n'.repeat(3));
  t.end();
});
