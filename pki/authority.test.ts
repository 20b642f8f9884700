import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, createServer, type SecureContextOptions, type TLSSocket } from 'node:tls';
import t from 'tap';
import { openssl, opensslMissing } from '../conformance/builders/openssl.ts';
import { readCertificate } from '../gateway/x509/certificate.ts';
import { Authority, type Identity, requestLink } from './authority.ts';
import { generateKeyPair, readPrivateKey, writePrivateKey } from './keys.ts';
import { DAY_MS, PROFILES } from './profiles.ts';

const NAME = 'gw.a11.tw.troad.example';
const authority = await Authority.create('TW test', () => Date.now());
const link = await authority.issueLink(NAME);
const other = await authority.issueLink('gw.b07.tw.troad.example');

void t.test('openssl accepts what we issue, for the use it is for', { skip: opensslMissing }, async (t) => {
  const dir = t.testdir({ 'root.pem': authority.rootPem, 'issuing.pem': authority.issuingPem });
  const verify = (identity: Identity, ...more: string[]): string => {
    writeFileSync(join(dir, 'leaf.pem'), identity.pem);
    const anchors = ['-CAfile', join(dir, 'root.pem'), '-untrusted', join(dir, 'issuing.pem')];
    return openssl(['verify', '-x509_strict', ...anchors, ...more, join(dir, 'leaf.pem')]).toString();
  };
  const client = await authority.issueClient('welfare-app');
  const server = await authority.issueServer();
  t.match(verify(link, '-purpose', 'sslclient', '-verify_hostname', NAME), /OK/);
  t.match(verify(link, '-purpose', 'sslserver'), /OK/);
  t.match(verify(client, '-purpose', 'sslclient'), /OK/);
  t.match(verify(server, '-purpose', 'sslserver', '-verify_hostname', 'localhost'), /OK/);
  t.match(verify(server, '-verify_ip', '127.0.0.1'), /OK/);
  t.throws(() => verify(link, '-verify_hostname', 'gw.b07.tw.troad.example'), /hostname mismatch/i);
  t.throws(() => verify(client, '-purpose', 'sslserver'), /purpose/i);
  t.throws(() => verify(server, '-purpose', 'sslclient'), /purpose/i);
  t.throws(() => verify(link, '-attime', String(Math.floor(Date.now() / 1000) + 91 * 86_400)), /expired/);

  const text = openssl(['x509', '-noout', '-text'], link.pem).toString();
  t.match(text, /Key Usage: critical\n\s+Digital Signature\n/);
  t.match(text, /TLS Web Client Authentication, TLS Web Server Authentication\n/);
  t.match(text, new RegExp(`Subject Alternative Name: \\n\\s+DNS:${NAME.replaceAll('.', '\\.')}\n`));
  t.match(text, /CA:FALSE/);
});

void t.test('the issuing CA cannot make another CA', { skip: opensslMissing }, async (t) => {
  const rogue = await authority.issue({ ...PROFILES.issuing, subject: { commonName: 'rogue CA' } });
  // A CA built on the rogue one, with the rogue key.
  const below = await Authority.fromParts(
    { ...authority.parts, issuingPem: rogue.pem, issuingKey: rogue.privateKey },
    Date.now,
  ).issueLink(NAME);
  const dir = t.testdir({
    'root.pem': authority.rootPem,
    'mid.pem': authority.issuingPem + rogue.pem,
    'leaf.pem': below.pem,
  });
  const at = (name: string): string => join(dir, name);
  t.throws(
    () => openssl(['verify', '-CAfile', at('root.pem'), '-untrusted', at('mid.pem'), at('leaf.pem')]),
    /path length/,
  );
});

void t.test('revocation lists are what openssl reads and enforces', { skip: opensslMissing }, async (t) => {
  const revoked = [
    { serial: link.serial, at: Date.now(), reason: 'keyCompromise' },
    { serial: (await authority.issueLink('x.example')).serial, at: Date.now(), reason: 'unspecified' },
  ] as const;
  const lists = await authority.revocationLists(revoked, { number: 128n });
  const dir = t.testdir({
    'ca.pem': authority.rootPem + authority.issuingPem + lists.join(''),
    'leaf.pem': link.pem,
    'other.pem': other.pem,
  });
  const verify = (leaf: string): string =>
    openssl(['verify', '-crl_check_all', '-CAfile', join(dir, 'ca.pem'), join(dir, leaf)]).toString();
  t.match(verify('other.pem'), /OK/);
  t.throws(() => verify('leaf.pem'), /certificate revoked/);
  const [, issuing = ''] = lists;
  const text = openssl(['crl', '-noout', '-text'], issuing).toString();
  t.match(text, /X509v3 CRL Number: \n\s+128\n/);
  t.match(text, new RegExp(`Serial Number: ${link.serial.toUpperCase()}`));
  t.match(text, /Key Compromise/);
});

/** One connection. @returns what the server made of the client: the leaf that was proved, or OpenSSL's code */
async function handshake(
  server: SecureContextOptions,
  client: SecureContextOptions,
): Promise<Buffer | string> {
  const base = { minVersion: 'TLSv1.3', ca: authority.rootPem } as const;
  // Not rejecting here is what lets the test see why the certificate was not accepted.
  const listener = createServer({ ...base, requestCert: true, rejectUnauthorized: false, ...server });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo; // a TCP listener has one
  const socket = connect({ ...base, ...client, host: '127.0.0.1', port, servername: NAME });
  try {
    const seen = await new Promise<TLSSocket>((resolve, reject) => {
      listener.once('secureConnection', resolve);
      listener.once('tlsClientError', reject);
      socket.once('error', reject);
    });
    // Node puts the code here, whatever its types say.
    if (!seen.authorized) return String(seen.authorizationError);
    return seen.getPeerX509Certificate()?.raw ?? 'none';
  } finally {
    socket.destroy();
    listener.close();
  }
}

const end = (identity: Identity): SecureContextOptions => ({ key: identity.keyPem, cert: identity.chainPem });

void t.test('mutual TLS 1.3 works with them, and not with others', async (t) => {
  t.same(
    await handshake(end(link), end(other)),
    other.der,
    'P14: the leaf, not another certificate of the chain',
  );

  const stranger = await (await Authority.create('TW test', Date.now)).issueLink('gw.b07.tw.troad.example');
  t.match(
    await handshake(end(link), end(stranger)),
    /^(UNABLE_TO|CERT_SIGNATURE)/,
    'P04: same names, another root',
  );
  t.equal(await handshake(end(link), {}), 'UNABLE_TO_GET_ISSUER_CERT', 'P02: no certificate');
  const late = await authority.issueLink(NAME, {
    notBefore: Date.now() - 2 * DAY_MS,
    notAfter: Date.now() - DAY_MS,
  });
  t.equal(await handshake(end(link), end(late)), 'CERT_HAS_EXPIRED', 'P03');
  const early = await authority.issueLink(NAME, { notBefore: Date.now() + DAY_MS });
  t.equal(await handshake(end(link), end(early)), 'CERT_NOT_YET_VALID', 'P03');
  t.equal(await handshake(end(link), end(await authority.issueServer())), 'INVALID_PURPOSE', 'P06');

  const padded = { key: other.keyPem, cert: other.pem + link.pem + authority.issuingPem };
  t.same(await handshake(end(link), padded), other.der, 'P14: an unrelated certificate changes nothing');

  const forged = await Authority.fromParts(
    { ...authority.parts, issuingPem: other.pem, issuingKey: other.privateKey },
    Date.now,
  ).issueLink(NAME);
  const chain = forged.pem + other.pem + authority.issuingPem;
  const outcome = await handshake(end(link), { key: forged.keyPem, cert: chain });
  t.match(outcome, /^(INVALID_CA|UNSPECIFIED)$/, 'P04: leaf signs leaf');
});

void t.test('TLS with our lists refuses the revoked leaf only', async (t) => {
  const crl = await authority.revocationLists(
    [{ serial: other.serial, at: Date.now(), reason: 'superseded' }],
    { number: 1n },
  );
  t.equal(await handshake({ ...end(link), crl: [...crl] }, end(other)), 'CERT_REVOKED');
  t.same(await handshake({ ...end(link), crl: [...crl] }, end(link)), link.der);
});

void t.test('answers certificate requests', async (t) => {
  const keys = generateKeyPair('p256');
  const request = await requestLink(NAME, keys);
  const certificate = await authority.certifyLinkRequest(request, NAME);
  const facts = readCertificate(certificate.der);
  t.same(facts.subjectAltNames.dns, [NAME]);
  t.ok(new X509Certificate(certificate.der).checkPrivateKey(keys.privateKey));
  t.same(certificate.publicKey.equals(keys.publicKey), true);

  await t.rejects(
    authority.certifyLinkRequest(request, 'gw.b07.tw.troad.example'),
    { name: 'MalformedBytes' },
    'another name',
  );
  await t.rejects(
    authority.certifyLinkRequest(request + request, NAME),
    { name: 'MalformedBytes' },
    'two requests',
  );
  await t.rejects(authority.certifyLinkRequest(link.pem, NAME), { name: 'MalformedBytes' }, 'a certificate');

  // The signature proves possession: one changed byte in the key, and nobody has shown to hold it.
  const der = Buffer.from(request.replaceAll(/-----[^-]+-----|\n/g, ''), 'base64');
  for (const at of [der.length - 1, der.indexOf(Buffer.from('03420004', 'hex')) + 20]) {
    const changed = Buffer.from(der);
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${changed.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    await t.rejects(authority.certifyLinkRequest(pem, NAME), { name: 'MalformedBytes' }, `byte ${at}`);
  }
});

void t.test('exchanges requests with openssl', { skip: opensslMissing }, async (t) => {
  const ed25519 = generateKeyPair('ed25519');
  for (const keys of [
    generateKeyPair('p256'),
    ed25519,
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ]) {
    const text = openssl(['req', '-noout', '-text', '-verify'], await requestLink(NAME, keys)).toString();
    t.match(text, new RegExp(`DNS:${NAME.replaceAll('.', '\\.')}`));
  }
  const key = join(t.testdir(), 'key.pem');
  await writePrivateKey(key, ed25519.privateKey);
  const ask = ['req', '-new', '-key', key, '-subj', '/CN=x'];
  const theirs = openssl([...ask, '-addext', `subjectAltName=DNS:${NAME}`]).toString();
  const { publicKey } = await authority.certifyLinkRequest(theirs, NAME);
  t.ok(publicKey.equals(ed25519.publicKey));
  const greedy = openssl([
    ...ask,
    '-addext',
    `subjectAltName=DNS:${NAME},DNS:gw.b07.tw.troad.example`,
  ]).toString();
  await t.rejects(authority.certifyLinkRequest(greedy, NAME), { name: 'MalformedBytes' });
  await t.rejects(
    authority.certifyLinkRequest(openssl(ask).toString(), NAME),
    { name: 'MalformedBytes' },
    'no name',
  );
});

void t.test('goes on after a restart', async (t) => {
  const again = Authority.fromParts(authority.parts, Date.now);
  const later = await again.issueLink('gw.c01.tw.troad.example');
  t.same(await handshake(end(link), end(later)), later.der);
  const { rootPem, rootKey, issuingPem } = authority.parts;
  t.throws(() => Authority.fromParts({ rootPem, rootKey, issuingPem, issuingKey: rootKey }, Date.now), {
    name: 'MalformedBytes',
    message: /not that of the key/,
  });
});

void t.test('serial numbers are positive and do not repeat', async (t) => {
  const serials = await Promise.all(
    Array.from({ length: 50 }, async () => (await authority.issueClient('x')).serial),
  );
  t.equal(new Set(serials).size, 50);
  t.ok(serials.every((serial) => /^[4-7][0-9a-f]{31}$/.test(serial)));
});

void t.test('private keys are for their owner only', async (t) => {
  const path = join(t.testdir(), 'message.key');
  const { privateKey } = generateKeyPair('ed25519');
  await writePrivateKey(path, privateKey);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.match(readFileSync(path, 'utf8'), /^-----BEGIN PRIVATE KEY-----\n/);
  t.ok(createPublicKey(readPrivateKey(path)).equals(createPublicKey(privateKey)));
  await t.rejects(writePrivateKey(path, privateKey), { code: 'EEXIST' }, 'never overwrites');
  chmodSync(path, 0o640);
  t.throws(() => readPrivateKey(path), /mode 640, expected 600/);
});
