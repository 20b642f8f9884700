import fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openssl, opensslMissing } from '../../conformance/builders/openssl.ts';
import { Authority, type LeafRequest } from '../../pki/authority.ts';
import { CLIENT_AUTH, DAY_MS, PROFILES, SERVER_AUTH } from '../../pki/profiles.ts';
import type { RefusalCode } from '../core/refusals.ts';
import type { MemberId } from '../core/ids.ts';
import { Denied } from '../core/errors.ts';
import { readCertificate } from '../x509/certificate.ts';
import { parsePem } from '../x509/pem.ts';
import { type KnownGateway, PeerGateway, type PeerRole } from './peer.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const NAME = 'gw.a11.tw.troad.example';
const MEMBER = 'TW/GOV/A11' as MemberId; // spelled as parseMemberId would accept it
const authority = await Authority.create('TW test', () => NOW);
const good = await authority.issueLink(NAME);
const spkiOf = (der: Uint8Array): string => readCertificate(der).spkiSha256;

function directory(...rows: readonly Partial<KnownGateway>[]) {
  const known = rows.map((row) => ({ name: NAME, member: MEMBER, linkSpki: [spkiOf(good.der)], ...row }));
  const byName = new Map(known.map((gateway) => [gateway.name, gateway]));
  return { gatewayByName: (name: string) => byName.get(name) };
}

const refusal = (code: RefusalCode) => ({ name: 'Denied', code });

void t.test('proves the gateway whose key is registered, as client and as server', async (t) => {
  for (const role of ['client', 'server'] as const) {
    const peer = PeerGateway.identify(good.der, role, directory({}), NOW);
    t.equal(peer.name, NAME);
    t.equal(peer.member, MEMBER);
    t.equal(peer.role, role);
    t.equal(peer.certificateSha256, readCertificate(good.der).sha256);
    t.equal(peer.spkiSha256, spkiOf(good.der));
  }
  const next = await authority.issueLink(NAME);
  const rotating = directory({ linkSpki: [spkiOf(good.der), spkiOf(next.der)] });
  t.equal(PeerGateway.identify(good.der, 'client', rotating, NOW).name, NAME, 'old key while rotating');
  t.equal(PeerGateway.identify(next.der, 'client', rotating, NOW).name, NAME, 'new key while rotating');
});

/** A good link certificate with one thing changed. Its key is registered for our gateway, whatever it says. */
const changed = async (change: Partial<LeafRequest>): Promise<Buffer> => {
  const request = { ...PROFILES.link, subject: { commonName: NAME }, names: { dns: [NAME] }, ...change };
  return (await authority.issue(request)).der;
};
const unnamed: LeafRequest = { ...PROFILES.link, subject: { commonName: NAME } };
const [root] = parsePem('CERTIFICATE', authority.rootPem);

/** Our name and usages in a certificate that openssl signs with SHA-1. */
const sha1 = (): Buffer => {
  const key = openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']);
  const extensions = [
    `subjectAltName=DNS:${NAME}`,
    'extendedKeyUsage=clientAuth',
    'keyUsage=digitalSignature',
    'basicConstraints=CA:FALSE',
  ];
  const config = `[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n${extensions.join('\n')}\n`;
  const dir = mkdtempSync(join(tmpdir(), 'troad-sha1-'));
  try {
    writeFileSync(join(dir, 'key.pem'), key);
    writeFileSync(join(dir, 'config'), config);
    const request = ['req', '-new', '-x509', '-sha1', '-subj', '/CN=x', '-days', '36500', '-outform', 'DER'];
    return openssl([...request, '-config', join(dir, 'config'), '-key', join(dir, 'key.pem')]);
  } finally {
    rmSync(dir, { recursive: true });
  }
};
const inTime = (der: Uint8Array): number => Math.max(NOW, readCertificate(der).notBefore);

const byCertificate: readonly (readonly [what: string, der: Uint8Array, why: RegExp, role?: PeerRole])[] = [
  ['P03 expired', await changed({ notBefore: NOW - 2 * DAY_MS, notAfter: NOW - 1000 }), /expired/],
  ['P03 not valid yet', await changed({ notBefore: NOW + 1000 }), /not valid yet/],
  ['P04 a CA certificate', root ?? Buffer.alloc(0), /exactly one subjectAltName/],
  ['P04 a CA with the right name', await changed({ ...PROFILES.issuing }), /CA certificate/],
  [
    'P04 a leaf that may sign certificates',
    await changed({ keyUsage: ['digitalSignature', 'keyCertSign'] }),
    /CA certificate/,
  ],
  ['P06 no extended key usage', await changed({ extendedKeyUsage: [] }), /does not allow client/],
  [
    'P06 serverAuth only, as client',
    await changed({ extendedKeyUsage: [SERVER_AUTH] }),
    /does not allow client/,
    'client',
  ],
  [
    'P06 clientAuth only, as server',
    await changed({ extendedKeyUsage: [CLIENT_AUTH] }),
    /does not allow server/,
    'server',
  ],
  ['P06 anyExtendedKeyUsage', await changed({ extendedKeyUsage: ['2.5.29.37.0'] }), /does not allow client/],
  [
    'P06 emailProtection',
    await changed({ extendedKeyUsage: ['1.3.6.1.5.5.7.3.4'] }),
    /does not allow client/,
  ],
  ['P06 a key not for signing', await changed({ keyUsage: ['cRLSign'] }), /digitalSignature/],
  [
    'P07 the right name in the common name only',
    (await authority.issue(unnamed)).der,
    /exactly one subjectAltName/,
  ],
  ['P07 the name as URI', await changed({ names: { uri: [NAME] } }), /exactly one subjectAltName/],
  [
    'P07 the name as e-mail address',
    await changed({ names: { email: [`x@${NAME}`] } }),
    /exactly one subjectAltName/,
  ],
  [
    'P07 a URI beside the name',
    await changed({ names: { dns: [NAME], uri: [`https://${NAME}`] } }),
    /exactly one/,
  ],
  [
    'P07 an e-mail address beside the name',
    await changed({ names: { dns: [NAME], email: ['x@y.example'] } }),
    /exactly one/,
  ],
  [
    'P07 an address beside the name',
    await changed({ names: { dns: [NAME], ip: ['127.0.0.1'] } }),
    /exactly one/,
  ],
  [
    'P08 two names, ours first',
    await changed({ names: { dns: [NAME, 'gw.b07.tw.troad.example'] } }),
    /exactly one/,
  ],
  [
    'P08 two names, ours last',
    await changed({ names: { dns: ['gw.b07.tw.troad.example', NAME] } }),
    /exactly one/,
  ],
  ['P08 our name twice', await changed({ names: { dns: [NAME, NAME] } }), /exactly one/],
  ['an unknown critical extension', criticalUnknown(good.der), /unknown critical extension 2\.5\.29\.99/],
  ['a truncated certificate', good.der.subarray(0, 200), /needs \d+ bytes/],
  ['no certificate', Buffer.alloc(0), /ends early/],
];
for (const [what, der, why, role = 'client'] of byCertificate) {
  void t.test(`refuses ${what} with peer.certificate`, async (t) => {
    // The key is pinned, so that only the change under test can be the reason.
    const linkSpki = der.length > 300 ? [spkiOf(der)] : [spkiOf(good.der)];
    const expected = { ...refusal('peer.certificate'), message: why };
    t.throws(() => PeerGateway.identify(der, role, directory({ linkSpki }), NOW), expected);
  });
}

void t.test('refuses a SHA-1 signature with peer.certificate', { skip: opensslMissing }, async (t) => {
  const der = sha1();
  const expected = { ...refusal('peer.certificate'), message: /SHA-1/ };
  const pinned = directory({ linkSpki: [spkiOf(der)] });
  t.throws(() => PeerGateway.identify(der, 'client', pinned, inTime(der)), expected);
});

/** keyUsage, which is critical, under the number of an extension that nobody has defined. */
function criticalUnknown(der: Buffer): Buffer {
  return Buffer.from(der.toString('hex').replace('0603551d0f', '0603551d63'), 'hex');
}

/** Same length as the real name: written over it, the certificate stays well-formed. */
const overwritten = (name: string): Buffer =>
  Buffer.from(good.der.toString('latin1').replaceAll(NAME, name), 'latin1');

const byName: readonly (readonly [what: string, der: Uint8Array])[] = [
  ['P07 another agency', await changed({ names: { dns: ['gw.c01.tw.troad.example'] } })],
  ['P07 a NUL in the name', overwritten('gw.a11.tw.troad.exampl\0')],
  ['P07 upper case', overwritten('GW.a11.tw.troad.example')],
  ['P07 a wildcard', await changed({ names: { dns: ['*.a11.tw.troad.example'] } })],
  ['P07 a dot at the end', await changed({ names: { dns: [`${NAME}.`] } })],
  ['P07 a URI in the dNSName', await changed({ names: { dns: [`https://${NAME}`] } })],
  ['P07 a high byte', overwritten('gw.\xe111.tw.troad.example')],
  ['P08 our name as prefix', await changed({ names: { dns: [`${NAME}.evil.example`] } })],
  ['P08 our name as suffix', await changed({ names: { dns: [`evil.${NAME}`] } })],
  ['P08 our name, shortened', await changed({ names: { dns: ['gw.a11.tw.troad.exampl'] } })],
  ['the empty name', await changed({ names: { dns: [''] } })],
  ['a name that objects have', await changed({ names: { dns: ['__proto__'] } })],
];
for (const [what, der] of byName) {
  void t.test(`refuses ${what} with peer.unknown`, async (t) => {
    t.throws(
      () => PeerGateway.identify(der, 'client', directory({ linkSpki: [spkiOf(der)] }), NOW),
      refusal('peer.unknown'),
    );
  });
}

void t.test('P09 refuses a key that is not the registered one with peer.key', async (t) => {
  const another = await authority.issueLink(NAME);
  t.throws(() => PeerGateway.identify(another.der, 'client', directory({}), NOW), refusal('peer.key'));
  t.throws(
    () => PeerGateway.identify(good.der, 'client', directory({ linkSpki: [] }), NOW),
    refusal('peer.key'),
  );
});

void t.test('refuses a gateway in quarantine with peer.quarantined', async (t) => {
  const quarantine = directory({ quarantined: true });
  t.throws(() => PeerGateway.identify(good.der, 'client', quarantine, NOW), refusal('peer.quarantined'));
});

void t.test('looks again before every exchange', async (t) => {
  const peer = PeerGateway.identify(good.der, 'client', directory({}), NOW);
  peer.requireCurrent(directory({}), peer.notAfter);
  const rows = [
    ['P05 expired meanwhile', directory({}), peer.notAfter + 1, 'peer.certificate'],
    ['P16 the clock went back', directory({}), peer.notBefore - 1, 'peer.certificate'],
    ['removed from the registry', directory(), NOW, 'peer.unknown'],
    ['moved to another member', directory({ member: 'TW/GOV/C01' as MemberId }), NOW, 'peer.unknown'],
    ['key replaced', directory({ linkSpki: ['x'] }), NOW, 'peer.key'],
    ['quarantined', directory({ quarantined: true }), NOW, 'peer.quarantined'],
  ] as const;
  for (const [what, then, now, code] of rows) {
    t.throws(() => peer.requireCurrent(then, now), refusal(code), what);
  }
});

void t.test('no bytes give a proof or another error than a refusal', async () => {
  const pinned = directory({});
  const refused = (der: Uint8Array): boolean => {
    try {
      return PeerGateway.identify(der, 'client', pinned, NOW).name === NAME;
    } catch (thrown) {
      return thrown instanceof Denied && thrown.code.startsWith('peer.');
    }
  };
  fc.assert(
    fc.property(fc.nat(good.der.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const der = Buffer.from(good.der);
      der.writeUInt8(der.readUInt8(at) ^ flip, at);
      return refused(der);
    }),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), refused));
});
