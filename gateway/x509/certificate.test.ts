import fc from 'fast-check';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test as T } from 'tap';
import { openssl, opensslMissing } from '../../conformance/builders/openssl.ts';
import { Authority } from '../../pki/authority.ts';
import { CLIENT_AUTH, PROFILES, SERVER_AUTH } from '../../pki/profiles.ts';
import { MalformedBytes } from '../core/errors.ts';
import { readCertificate } from './certificate.ts';
import { parsePem } from './pem.ts';

const NOW = Date.UTC(2026, 10, 22, 8);
const NAME = 'gw.a11.tw.troad.example';
const malformed = (message: RegExp) => ({ name: 'MalformedBytes', message });

const authority = await Authority.create('TW test', () => NOW);
const link = await authority.issueLink(NAME);

void t.test('says of a certificate what Node says of it', async (t) => {
  const facts = readCertificate(link.der);
  const node = new X509Certificate(link.der);
  t.equal(
    Buffer.from(facts.sha256, 'base64url').toString('hex'),
    node.fingerprint256.replaceAll(':', '').toLowerCase(),
  );
  t.equal(facts.notBefore, Date.parse(node.validFrom));
  t.equal(facts.notAfter, Date.parse(node.validTo));
  t.equal(facts.notAfter - facts.notBefore, 90 * 86_400_000);
  t.same(facts.extendedKeyUsage, node.keyUsage, 'Node calls the extended one keyUsage');
  t.same(facts.extendedKeyUsage, [CLIENT_AUTH, SERVER_AUTH]);
  t.same(facts.subjectAltNames, { dns: [NAME], uri: [], email: [], ip: [], others: 0 });
  t.same(facts.keyUsage, { digitalSignature: true, keyCertSign: false });
  t.equal(facts.isCa, node.ca);
  t.same(facts.key, { type: 'ec', curve: 'P-256' });
  t.equal(facts.signatureHash, 'sha256');
  t.same(facts.unknownCritical, []);
});

void t.test('tells a CA, and names by type', async (t) => {
  const [root] = parsePem('CERTIFICATE', authority.rootPem);
  const ca = readCertificate(root ?? Buffer.alloc(0));
  t.equal(ca.isCa, true);
  t.equal(ca.keyUsage?.keyCertSign, true);
  t.equal(ca.extendedKeyUsage, undefined);
  const names = {
    dns: ['a.example', 'b.example'],
    uri: ['spiffe://x/y'],
    ip: ['127.0.0.1', '::1'],
    email: ['x@y.example'],
  };
  const { der } = await authority.issue({ ...PROFILES.server, subject: {}, names });
  t.same(readCertificate(der).subjectAltNames, {
    ...names,
    ip: ['127.0.0.1', '0000:0000:0000:0000:0000:0000:0000:0001'],
    others: 0,
  });
});

void t.test('takes 16 names, refuses 17', async (t) => {
  const named = (count: number) =>
    authority.issue({
      ...PROFILES.link,
      subject: {},
      names: { dns: Array.from({ length: count }, (_, i) => `n${i}.example`) },
    });
  t.equal(readCertificate((await named(16)).der).subjectAltNames.dns.length, 16);
  const { der } = await named(17);
  t.throws(() => readCertificate(der), malformed(/more than 16 names/));
});

void t.test('names come out byte for byte', async (t) => {
  const replaced = (from: string, to: string): Buffer =>
    Buffer.from(Buffer.from(link.der).toString('latin1').replaceAll(from, to), 'latin1');
  t.same(readCertificate(replaced('gw.a11', 'gw\0a11')).subjectAltNames.dns, ['gw\0a11.tw.troad.example']);
  t.same(readCertificate(replaced('gw.a11', 'GW.\xc111')).subjectAltNames.dns, [
    'GW.\xc111.tw.troad.example',
  ]);
});

void t.test('refuses every truncation, and one byte more', async (t) => {
  for (let length = 0; length < link.der.length; length += 1) {
    t.throws(() => readCertificate(link.der.subarray(0, length)), { name: 'MalformedBytes' });
  }
  t.throws(() => readCertificate(Buffer.concat([link.der, Buffer.of(0)])), malformed(/bytes too many/));
  t.throws(() => readCertificate(Buffer.alloc(40_000)), malformed(/40000 bytes/));
});

void t.test('changed bytes are another certificate or malformed, never another error', async () => {
  const read = (der: Uint8Array): boolean => {
    try {
      return readCertificate(der).sha256 !== readCertificate(link.der).sha256;
    } catch (thrown) {
      return thrown instanceof MalformedBytes;
    }
  };
  fc.assert(
    fc.property(fc.nat(link.der.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const der = Buffer.from(link.der);
      der.writeUInt8(der.readUInt8(at) ^ flip, at);
      return read(der);
    }),
    { numRuns: 2000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), read));
});

void t.test('refuses two readings of one certificate', async (t) => {
  // subjectKeyIdentifier becomes a second authorityKeyIdentifier.
  const twice = swap(link.der, '0603551d0e', '0603551d23');
  t.throws(() => readCertificate(twice), malformed(/extension 2\.5\.29\.35 twice/));
  // ecdsa-with-SHA256 stands twice; only the outer one is changed, into ecdsa-with-SHA384.
  const at = link.der.lastIndexOf(Buffer.from('2a8648ce3d040302', 'hex'));
  const other = Buffer.from(link.der);
  other.writeUInt8(0x03, at + 7);
  t.throws(() => readCertificate(other), malformed(/two different signature algorithms/));
  t.throws(() => readCertificate(swap(link.der, 'a003020102', 'a003020101')), malformed(/not version 3/));
});

void t.test('names critical extensions it does not know', async (t) => {
  // keyUsage, which is critical, becomes 2.5.29.99.
  t.same(readCertificate(swap(link.der, '0603551d0f', '0603551d63')).unknownCritical, ['2.5.29.99']);
});

function swap(der: Uint8Array, from: string, to: string): Buffer {
  const text = Buffer.from(der).toString('hex');
  if (!text.includes(from)) throw new Error(`the certificate has no ${from}`);
  return Buffer.from(text.replace(from, to), 'hex');
}

/** A self-signed certificate that openssl makes. */
function selfSigned(t: T, keyArgs: readonly string[], reqArgs: readonly string[] = []): Buffer {
  const key = join(t.testdir(), 'key.pem');
  writeFileSync(key, openssl(keyArgs));
  return openssl([
    'req',
    '-new',
    '-x509',
    '-key',
    key,
    '-subj',
    '/CN=x',
    '-days',
    '30',
    '-outform',
    'DER',
    ...reqArgs,
  ]);
}

const rsa = (bits: number): string[] => [
  'genpkey',
  '-algorithm',
  'RSA',
  '-pkeyopt',
  `rsa_keygen_bits:${bits}`,
];
const ec = (curve: string, encoding = 'named_curve'): string[] => [
  'genpkey',
  '-algorithm',
  'EC',
  '-pkeyopt',
  `ec_paramgen_curve:${curve}`,
  '-pkeyopt',
  `ec_param_enc:${encoding}`,
];

void t.test('reads what openssl writes', { skip: opensslMissing }, async (t) => {
  const rows: readonly (readonly [string, string[], string[], object])[] = [
    ['RSA-2048', rsa(2048), [], { key: { type: 'rsa', bits: 2048 }, signatureHash: 'sha256' }],
    [
      'RSA-3072 with PSS',
      rsa(3072),
      ['-sigopt', 'rsa_padding_mode:pss', '-sha384'],
      { key: { type: 'rsa', bits: 3072 }, signatureHash: 'sha384' },
    ],
    ['P-384', ec('P-384'), ['-sha512'], { key: { type: 'ec', curve: 'P-384' }, signatureHash: 'sha512' }],
    [
      'Ed25519',
      ['genpkey', '-algorithm', 'ED25519'],
      [],
      { key: { type: 'ed25519' }, signatureHash: 'ed25519' },
    ],
    ['SHA-1', ec('P-256'), ['-sha1'], { signatureHash: 'sha1' }],
  ];
  for (const [what, key, args, expected] of rows) {
    const der = selfSigned(t, key, args);
    const facts = readCertificate(der);
    t.match(facts, expected, what);
    const spki = new X509Certificate(der).publicKey.export({ type: 'spki', format: 'der' });
    t.equal(
      facts.spkiSha256,
      openssl(['dgst', '-sha256', '-binary'], spki).toString('base64url'),
      `${what}: SPKI hash`,
    );
  }
});

void t.test('refuses weak and odd keys', { skip: opensslMissing }, async (t) => {
  const rows: readonly (readonly [string, string[], RegExp])[] = [
    ['RSA-1024', rsa(1024), /RSA of 1024 bits/],
    ['an RSA exponent of 3', [...rsa(2048), '-pkeyopt', 'rsa_keygen_pubexp:3'], /RSA exponent/],
    ['another curve', ec('secp256k1'), /neither P-256 nor P-384/],
    ['P-521', ec('P-521'), /neither P-256 nor P-384/],
    ['explicit curve parameters', ec('P-256', 'explicit'), /expected tag 6/],
    ['Ed448', ['genpkey', '-algorithm', 'ED448'], /neither RSA, EC nor Ed25519|not known/],
    [
      'an RSASSA-PSS key',
      ['genpkey', '-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'],
      /neither RSA, EC/,
    ],
  ];
  for (const [what, key, message] of rows) {
    const der = selfSigned(t, key);
    t.throws(() => readCertificate(der), malformed(message), what);
  }
});

void t.test('PEM: one kind of block, whole, in its one spelling', async (t) => {
  t.same(parsePem('CERTIFICATE', `# leaf\n${link.chainPem}`).length, 2);
  const key = link.keyPem;
  for (const [what, text] of [
    ['a private key among certificates', link.pem + key],
    ['no end', link.pem.slice(0, -10)],
    ['a begin inside', `-----BEGIN CERTIFICATE-----\n${link.pem}`],
    ['an end alone', '-----END CERTIFICATE-----\n'],
    ['a byte that is not base64', link.pem.replace('\nMII', '\nM*I')],
    ['nothing inside', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'],
  ] as const) {
    t.throws(() => parsePem('CERTIFICATE', text), { name: 'MalformedBytes' }, what);
  }
  t.same(parsePem('CERTIFICATE', ''), []);
  t.same(parsePem('CERTIFICATE', link.pem.replaceAll('\n', '\r\n')), [link.der]);
});
