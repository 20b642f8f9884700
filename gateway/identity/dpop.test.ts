import { createHmac, sign } from 'node:crypto';
import t from 'tap';
import { base64url, sha256 } from '../core/bytes.ts';
import { clientFields } from '../message/headers.ts';
import { ASSERTION_ALGORITHMS } from './algorithm.ts';
import { checkProof, originOf, type KnownProofKey, type ProofTarget } from './dpop.ts';
import { DpopNonces } from './dpop-nonce.ts';
import { thumbprintOf } from './jwk.ts';
import {
  assertion,
  CLIENT_KEY,
  keyPair,
  NOW,
  ORIGIN,
  PATH,
  proofFor,
  rawJws,
  THUMBPRINT,
} from './tokens-fixture.ts';

const presented = await assertion({ cnf: { jkt: THUMBPRINT } });
const TARGET: ProofTarget = {
  method: 'GET',
  origin: ORIGIN,
  path: PATH,
  assertionSha256: () => sha256(presented),
  thumbprint: THUMBPRINT,
  isNonce: (nonce) => nonce === 'nonce-1',
  now: NOW,
};
const check = (proof: string, changes: Partial<ProofTarget> = {}, known?: KnownProofKey) =>
  checkProof(proof, { ...TARGET, ...changes }, known);
const other = keyPair('ES256');
const good = await proofFor(presented);

void t.test('accepts a proof, and the next one of the same key without reading the key again', async (t) => {
  const first = check(await proofFor(presented, { jti: 'one' }));
  t.equal(first.jti, 'one');
  const second = check(await proofFor(presented, { jti: 'two' }), {}, first.known);
  t.equal(second.known, first.known, 'the key object is the same');
});

for (const algorithm of ASSERTION_ALGORITHMS.filter((name) => name !== 'RS256')) {
  void t.test(`accepts ${algorithm}`, async (t) => {
    const key = keyPair(algorithm);
    t.ok(check(await proofFor(presented, {}, { key }), { thumbprint: thumbprintOf(key.jwk) }));
  });
}

void t.test('accepts other spellings of one URL', async (t) => {
  for (const [origin, htu] of [
    [ORIGIN, `HTTPS://GW.a11.tw.troad.example:8443${PATH}`],
    ['https://gw.a11.tw.troad.example', `https://gw.a11.tw.troad.example:443${PATH}`],
    ['http://127.0.0.1', `http://127.0.0.1:80${PATH}`],
    [ORIGIN, `${ORIGIN}${PATH}?a=b#c`],
    [undefined, `https://whatever.example${PATH}`],
  ] as const) {
    t.ok(check(await proofFor(presented, { htu }), { origin }), htu);
  }
  t.ok(check(await proofFor(presented, { htu: ORIGIN }), { path: '/' }), 'no path is the root');
  t.equal(originOf('HTTPS', 'A.example:443'), 'https://a.example');
  t.equal(originOf('http', '[::1]:8080'), 'http://[::1]:8080');
});

void t.test('accepts what the window allows', async (t) => {
  for (const iat of [NOW - 60, NOW + 30]) t.ok(check(await proofFor(presented, { iat })), String(iat - NOW));
  t.ok(check(await proofFor(presented, { exp: NOW + 60, nbf: NOW })));
  t.ok(check(await proofFor(presented, { nonce: undefined }), { isNonce: undefined }), 'nobody gave a nonce');
});

const { jwk } = CLIENT_KEY;
const privateJwk = CLIENT_KEY.privateKey.export({ format: 'jwk' });
const HEADER = { typ: 'dpop+jwt', alg: 'ES256', jwk };
const CLAIMS = {
  jti: 'j',
  htm: 'GET',
  htu: ORIGIN + PATH,
  iat: NOW,
  ath: base64url(TARGET.assertionSha256()),
  nonce: 'nonce-1',
};
const signed = (claims: string) =>
  rawJws(HEADER, claims, (input) =>
    sign('sha256', input, { key: CLIENT_KEY.privateKey, dsaEncoding: 'ieee-p1363' }),
  );
const unsigned = (header: object) => rawJws(header, CLAIMS, () => Buffer.alloc(64));
const hmac = (input: Buffer) => createHmac('sha256', JSON.stringify(jwk)).update(input).digest();
const cut = good.lastIndexOf('.');

// The numbers are those of RFC 9449 §4.3.
const nearMisses: readonly (readonly [
  number: number,
  what: string,
  proof: string | Promise<string>,
  code?: string,
])[] = [
  [2, 'no JWT', 'proof'],
  [2, 'two JWTs', `${good},${good}`],
  [2, 'a signature that is cut off', good.slice(0, cut)],
  [2, 'a header that is a list', rawJws('[]', CLAIMS, () => Buffer.alloc(64))],
  [2, 'a claim twice', signed(JSON.stringify(CLAIMS).replace('{', '{"htm":"GET",'))],
  [3, 'no jti', proofFor(presented, { jti: undefined })],
  [3, 'a jti that is a number', proofFor(presented, { jti: 7 })],
  [3, 'an endless jti', proofFor(presented, { jti: 'j'.repeat(201) })],
  [3, 'no htm', proofFor(presented, { htm: undefined })],
  [3, 'no htu', proofFor(presented, { htu: undefined })],
  [3, 'no iat', proofFor(presented, { iat: undefined })],
  [3, 'iat as text', proofFor(presented, { iat: String(NOW) })],
  [3, 'an unknown claim', proofFor(presented, { admin: true })],
  [4, 'typ JWT', proofFor(presented, {}, { header: { typ: 'JWT' } })],
  [4, 'an assertion as its own proof', presented],
  [5, 'alg none', unsigned({ ...HEADER, alg: 'none' })],
  [5, 'HMAC with the key as text', rawJws({ ...HEADER, alg: 'HS256' }, CLAIMS, hmac)],
  [5, 'RS256', proofFor(presented, {}, { key: keyPair('RS256') })],
  [5, 'an algorithm that is not the key’s', unsigned({ ...HEADER, alg: 'PS256' })],
  [6, 'an empty signature', `${good.slice(0, cut)}.`],
  [6, "another key's signature", proofFor(presented, {}, { key: { ...other, jwk } })],
  [6, 'one bit of the claims', good.replace(/\.([^.])/, (_, c: string) => `.${c === 'e' ? 'f' : 'e'}`)],
  [7, 'the private key inside', unsigned({ ...HEADER, jwk: privateJwk })],
  [7, 'a symmetric key', unsigned({ ...HEADER, jwk: { kty: 'oct', k: 'AAAA' } })],
  [7, 'a point off the curve', unsigned({ ...HEADER, jwk: { ...jwk, y: jwk['x'] } })],
  [7, 'no key', unsigned({ typ: 'dpop+jwt', alg: 'ES256' })],
  [8, 'another method', proofFor(presented, { htm: 'POST' })],
  [8, 'the method in lower case', proofFor(presented, { htm: 'get' })],
  [9, 'another path', proofFor(presented, { htu: `${ORIGIN}${PATH}/8` })],
  [9, 'another host', proofFor(presented, { htu: `https://gw.b07.tw.troad.example:8443${PATH}` })],
  [9, 'another port', proofFor(presented, { htu: `https://gw.a11.tw.troad.example${PATH}` })],
  [9, 'another scheme', proofFor(presented, { htu: ORIGIN.replace('https', 'http') + PATH })],
  [9, 'user info in front', proofFor(presented, { htu: `https://x@gw.a11.tw.troad.example:8443${PATH}` })],
  [
    9,
    'a path in another encoding',
    proofFor(presented, { htu: ORIGIN + PATH.replace('people', '%70eople') }),
  ],
  [9, 'a path only', proofFor(presented, { htu: PATH })],
  [10, 'no nonce', proofFor(presented, { nonce: undefined }), 'proof_nonce'],
  [10, 'another nonce', proofFor(presented, { nonce: 'nonce-2' }), 'proof_nonce'],
  [10, 'a nonce that is a list', proofFor(presented, { nonce: ['nonce-1'] }), 'proof_nonce'],
  [11, 'too old', proofFor(presented, { iat: NOW - 61 })],
  [11, 'from the future', proofFor(presented, { iat: NOW + 31 })],
  [11, 'expired by its own word', proofFor(presented, { exp: NOW - 30 })],
  [11, 'not valid yet by its own word', proofFor(presented, { nbf: NOW + 31 })],
  [12, 'no ath', proofFor(presented, { ath: undefined })],
  [12, 'ath of another assertion', proofFor(`${presented}x`)],
  [12, 'ath in hexadecimal', proofFor(presented, { ath: sha256(presented).toString('hex') })],
  [12, 'another key', proofFor(presented, {}, { key: other })],
];
for (const [number, what, proof, code = 'proof_invalid'] of nearMisses) {
  void t.test(`check ${number}: refuses ${what} with assertion.${code}`, async (t) => {
    const text = await proof;
    t.throws(() => check(text), { name: 'Denied', code: `assertion.${code}` });
  });
}

void t.test('check 1: a second DPoP field is refused before anything is read', async (t) => {
  t.throws(() => clientFields(['X-Road-Client', 'TW/GOV/A11/welfare', 'DPoP', good, 'dpop', good]), {
    code: 'header.duplicate',
  });
});

void t.test('each check says its number to the operator', async (t) => {
  for (const [number, , proof, code] of nearMisses) {
    if (code !== undefined) continue;
    const text = await proof;
    // What is wrong with a key shows in three checks: its type, its members, its thumbprint.
    t.throws(() => check(text), {
      message: number === 5 || number === 7 ? /: [567]: / : new RegExp(`: ${number}: `),
    });
  }
});

void t.test('a known key does not make a proof of another', async (t) => {
  const { known } = check(good);
  const foreign = await proofFor(presented, {}, { key: other });
  t.throws(() => check(foreign, {}, known), { code: 'assertion.proof_invalid' });
  const forged = `${good.split('.', 1)[0]}.${foreign.split('.').slice(1).join('.')}`;
  t.throws(() => check(forged, {}, known), { code: 'assertion.proof_invalid' });
});

void t.test('headers beside the three are refused', async (t) => {
  for (const header of [{ kid: 'k' }, { jku: 'https://evil.example' }, { crit: ['exp'] }]) {
    const proof = rawJws({ ...HEADER, ...header }, CLAIMS, () => Buffer.alloc(64));
    t.throws(() => check(proof), { code: 'assertion.proof_invalid' });
  }
});

void t.test('nonces are accepted for two to four minutes, and nobody can make one', async (t) => {
  let now = 1_000_000_000;
  const clock = { now: () => now, monotonic: () => now };
  const nonces = new DpopNonces(Buffer.alloc(32, 1), clock);
  const nonce = nonces.current;
  t.match(nonce, /^[A-Za-z0-9_-]{22}$/);
  t.ok(nonces.isOurs(nonce));
  now += 120_000;
  t.ok(nonces.isOurs(nonce), 'still');
  t.not(nonces.current, nonce);
  now += 120_000;
  t.notOk(nonces.isOurs(nonce), 'over');
  const stranger = new DpopNonces(Buffer.alloc(32, 2), clock);
  t.notOk(nonces.isOurs(stranger.current));
  for (const wrong of ['', 'x', `${nonces.current}=`, nonces.current.slice(1)]) t.notOk(nonces.isOurs(wrong));
  const worker = new DpopNonces(Buffer.alloc(32, 1), clock);
  t.ok(worker.isOurs(nonces.current), 'every worker with the secret knows it');
});
