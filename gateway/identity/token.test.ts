import { createHmac, sign } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import type { MemberId } from '../core/ids.ts';
import { ASSERTION_ALGORITHMS } from './algorithm.ts';
import { readPublicJwk } from './jwk.ts';
import { MAX_JWS_LENGTH, VerifiedToken } from './token.ts';
import {
  assertion,
  AUDIENCE,
  claimsOf,
  DIRECTORY,
  directoryOf,
  EXPECTED,
  ISSUER,
  issuerWith,
  KEY,
  keyPair,
  MEMBER,
  NOW,
  rawJws,
} from './tokens-fixture.ts';

const B = 'TW/GOV/B07' as MemberId;
const verify = (jws: string, expected = EXPECTED, directory = DIRECTORY) =>
  VerifiedToken.verify(jws, expected, directory);
const es256 = (input: Buffer) => sign('sha256', input, { key: KEY.privateKey, dsaEncoding: 'ieee-p1363' });
const HEADER = { alg: 'ES256', kid: KEY.kid, typ: 'at+jwt' };
const raw = (header: string | object, payload: string | object = claimsOf()) =>
  rawJws(header, payload, es256);
const hmac = (secret: string | Buffer) => (input: Buffer) =>
  createHmac('sha256', secret).update(input).digest();
const good = await assertion();

for (const algorithm of ASSERTION_ALGORITHMS) {
  void t.test(`accepts ${algorithm}, as another implementation signs it`, async (t) => {
    const key = keyPair(algorithm);
    const token = verify(await assertion({}, { key }), EXPECTED, directoryOf(issuerWith([key])));
    t.match(token.claims, {
      issuer: ISSUER,
      subject: 'u-4711',
      audience: AUDIENCE,
      authTime: NOW - 60,
      acr: 'aal3',
      amr: ['hwk', 'pin'],
      binding: { kind: 'none' },
    });
  });
}

void t.test('accepts what the profile leaves open', async (t) => {
  const thumbprint = Buffer.alloc(32, 7).toString('base64url');
  for (const changes of [
    { client_id: 'desk', azp: 'desk', scope: 'openid', sid: 's-1', typ: 'Bearer', nbf: NOW - 10 },
    { cnf: { jkt: thumbprint } },
    { cnf: { 'x5t#S256': thumbprint }, exp: NOW + 3000 },
    { iat: NOW + 30, auth_time: NOW + 30, exp: NOW + 100 },
    { exp: NOW - 29, iat: NOW - 100, auth_time: NOW - 100 },
    { acr: 'something-nobody-agreed-on', amr: ['unknown'] },
    { sub: '使用者-7' },
  ]) {
    const token = verify(await assertion(changes));
    t.equal(token.claims.issuer, ISSUER, JSON.stringify(changes));
  }
});

// One change each, and its refusal. J01 to J15: the attack catalogue's ids.
const pem = KEY.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const hs256 = { ...HEADER, alg: 'HS256' };
const other = keyPair('ES256', KEY.kid);
const nearMisses: readonly (readonly [what: string, token: string | Promise<string>, code: string])[] = [
  ['J01 alg none', rawJws({ ...HEADER, alg: 'none' }, claimsOf(), () => Buffer.alloc(0)), 'algorithm'],
  ['J01 alg NONE', rawJws({ ...HEADER, alg: 'NONE' }, claimsOf(), () => Buffer.alloc(0)), 'algorithm'],
  ['J01 alg nOnE', rawJws({ ...HEADER, alg: 'nOnE' }, claimsOf(), () => Buffer.alloc(0)), 'algorithm'],
  ['J01 an empty signature', rawJws(HEADER, claimsOf(), () => Buffer.alloc(0)), 'signature'],
  ['J01 no signature part', good.slice(0, good.lastIndexOf('.')), 'malformed'],
  ['J01 both dots missing', good.replaceAll('.', ''), 'malformed'],
  ['J01 alg absent', raw({ kid: KEY.kid, typ: 'at+jwt' }), 'algorithm'],
  ['J01 alg as a list', raw({ ...HEADER, alg: ['ES256'] }), 'algorithm'],
  ['J02 HMAC with the public key in PEM', rawJws(hs256, claimsOf(), hmac(pem)), 'algorithm'],
  ['J02 the same with a blank before it', rawJws(hs256, claimsOf(), hmac(` ${pem}`)), 'algorithm'],
  ['J02 HMAC with the key as JWK', rawJws(hs256, claimsOf(), hmac(JSON.stringify(KEY.jwk))), 'algorithm'],
  ['J03 ES384 in the header', raw({ ...HEADER, alg: 'ES384' }), 'algorithm'],
  ['J03 EdDSA for an ES256 key', raw({ ...HEADER, alg: 'EdDSA' }), 'algorithm'],
  ['J03 an algorithm in another case', raw({ ...HEADER, alg: 'es256' }), 'algorithm'],
  ['J04 a kid that is a path', raw({ ...HEADER, kid: '../../etc/passwd' }), 'key_unknown'],
  ['J04 a kid in SQL', raw({ ...HEADER, kid: "'--1=1" }), 'key_unknown'],
  ['J04 a kid that is a list', raw({ ...HEADER, kid: [KEY.kid] }), 'key_unknown'],
  ['J04 a kid of 3 KB', raw({ ...HEADER, kid: 'k'.repeat(3000) }), 'key_unknown'],
  ['J04 a kid with a line end', raw({ ...HEADER, kid: `${KEY.kid}\n` }), 'key_unknown'],
  ['J04 no kid', raw({ alg: 'ES256', typ: 'at+jwt' }), 'key_unknown'],
  ['J04 __proto__ as kid', raw({ ...HEADER, kid: '__proto__' }), 'key_unknown'],
  ['J05 jku', raw({ ...HEADER, jku: 'https://evil.example/jwks' }), 'header'],
  ['J05 x5u', raw({ ...HEADER, x5u: 'https://evil.example/x' }), 'header'],
  ['J05 x5c', raw({ ...HEADER, x5c: ['MIIB'] }), 'header'],
  ['J05 jwk', raw({ ...HEADER, jwk: other.jwk }), 'header'],
  ['J06 crit', raw({ ...HEADER, crit: ['exp'] }), 'header'],
  ['J06 b64', raw({ ...HEADER, b64: false, crit: ['b64'] }), 'header'],
  ['J06 a member twice', raw(`{"alg":"ES256","alg":"ES256","kid":"${KEY.kid}","typ":"at+jwt"}`), 'malformed'],
  ['J06 a claim twice', raw(HEADER, JSON.stringify(claimsOf()).replace('{', '{"sub":"root",')), 'malformed'],
  [
    'J06 a claim twice, escaped',
    raw(HEADER, JSON.stringify(claimsOf()).replace('{', '{"s\\u0075b":"root",')),
    'malformed',
  ],
  [
    'J06 __proto__ in the claims',
    raw(HEADER, JSON.stringify(claimsOf()).replace('{', '{"__proto__":{},')),
    'malformed',
  ],
  ['J07 no exp', assertion({ exp: undefined }), 'time'],
  ['J07 exp past', assertion({ exp: NOW - 30, iat: NOW - 100 }), 'time'],
  ['J07 exp as text', assertion({ exp: String(NOW + 60) }), 'time'],
  ['J07 exp of 1e308', assertion({ exp: 1e308 }), 'time'],
  ['J07 a fraction', assertion({ exp: NOW + 60.5 }), 'time'],
  ['J07 a negative time', assertion({ auth_time: -1 }), 'time'],
  ['J07 nbf in the future', assertion({ nbf: NOW + 31 }), 'time'],
  ['J07 iat in the future', assertion({ iat: NOW + 31, auth_time: NOW }), 'time'],
  ['J07 unbound for more than five minutes', assertion({ iat: NOW, exp: NOW + 301 }), 'time'],
  [
    'J07 bound for more than the row allows',
    assertion({ iat: NOW, exp: NOW + 3601, cnf: { jkt: 'A'.repeat(43) } }),
    'time',
  ],
  ['J07 over before it begins', assertion({ iat: NOW, exp: NOW }), 'time'],
  ['J08 no aud', assertion({ aud: undefined }), 'audience'],
  ['J08 of another agency', assertion({ aud: 'https://gw.b07.tw.troad.example' }), 'audience'],
  ['J08 a list with us in it', assertion({ aud: [AUDIENCE, 'https://gw.b07.tw.troad.example'] }), 'audience'],
  ['J08 a list of us', assertion({ aud: [AUDIENCE] }), 'audience'],
  ['J08 another case', assertion({ aud: AUDIENCE.toUpperCase() }), 'audience'],
  ['J08 a slash more', assertion({ aud: `${AUDIENCE}/` }), 'audience'],
  ['J09 iss as a list', assertion({ iss: [ISSUER] }), 'issuer'],
  ['J09 a slash more', assertion({ iss: `${ISSUER}/` }), 'issuer'],
  ['J09 another case', assertion({ iss: 'https://IDP.a11.example' }), 'issuer'],
  ['J09 no iss', assertion({ iss: undefined }), 'issuer'],
  ['J09 signed by another with the same kid', assertion({}, { key: other }), 'signature'],
  ['J11 two bindings', assertion({ cnf: { jkt: 'A'.repeat(43), 'x5t#S256': 'A'.repeat(43) } }), 'claims'],
  ['J11 an empty binding', assertion({ cnf: {} }), 'claims'],
  ['J11 null for a binding', assertion({ cnf: null }), 'claims'],
  ['J11 a binding of another kind', assertion({ cnf: { jwk: other.jwk } }), 'claims'],
  ['J11 a short thumbprint', assertion({ cnf: { jkt: 'AAAA' } }), 'claims'],
  ['J12 amr as text', assertion({ amr: 'hwk' }), 'claims'],
  ['J12 no methods', assertion({ amr: [] }), 'claims'],
  ['J12 a method that is a number', assertion({ amr: ['hwk', 1] }), 'claims'],
  ['J12 no acr', assertion({ acr: undefined }), 'claims'],
  ['J12 an acr that would end a quoted text', assertion({ acr: 'a b' }), 'claims'],
  ['J13 no auth_time', assertion({ auth_time: undefined }), 'time'],
  ['J13 auth_time in the future', assertion({ auth_time: NOW + 31, iat: NOW + 5 }), 'time'],
  ['J13 auth_time after iat', assertion({ auth_time: NOW + 25, iat: NOW - 10 }), 'time'],
  ['J14 an ID token', assertion({}, { header: { typ: 'JWT' } }), 'type'],
  ['J14 no typ', raw({ alg: 'ES256', kid: KEY.kid }), 'type'],
  ['J14 a logout token', assertion({}, { header: { typ: 'logout+jwt' } }), 'type'],
  ['J14 a security event', assertion({}, { header: { typ: 'secevent+jwt' } }), 'type'],
  ['J14 a DPoP proof', assertion({}, { header: { typ: 'dpop+jwt' } }), 'type'],
  ['J14 typ in another case', assertion({}, { header: { typ: 'AT+JWT' } }), 'type'],
  ['J15 compressed', raw({ ...HEADER, zip: 'DEF' }), 'header'],
  ['J15 a detached payload', good.replace(/\.[^.]+\./, '..'), 'malformed'],
  ['a claim of no profile', assertion({ email: 'someone@a11.example' }), 'claims'],
  ['authorization details', assertion({ authorization_details: [] }), 'claims'],
  ['a subject that is a number', assertion({ sub: 4711 }), 'claims'],
  ['a subject with a line end', assertion({ sub: 'a\nb' }), 'claims'],
  ['a long subject', assertion({ sub: 'u'.repeat(256) }), 'claims'],
  ['a jti that can be guessed', assertion({ jti: '1' }), 'claims'],
  ['a payload that is a list', raw(HEADER, '[]'), 'malformed'],
  [
    'a payload that is not UTF-8',
    rawJws(HEADER, Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1'), es256),
    'malformed',
  ],
  ['a header that nests', raw(`{"alg":"ES256","kid":"k","typ":"at+jwt","x":[[[[[[[[]]]]]]]]}`), 'malformed'],
  ['padding', `${good}=`, 'malformed'],
  ['a blank', ` ${good}`, 'malformed'],
  ['a fourth part', `${good}.`, 'malformed'],
  ['more than anybody needs', `${good}${'A'.repeat(MAX_JWS_LENGTH)}`, 'malformed'],
  ['nothing', '', 'malformed'],
];
for (const [what, token, code] of nearMisses) {
  void t.test(`refuses ${what} with assertion.${code}`, async (t) => {
    const jws = await token;
    t.throws(() => verify(jws), { name: 'Denied', code: `assertion.${code}` });
  });
}

void t.test('J03 the key says the algorithm, whatever is possible with it', async (t) => {
  const rsa = keyPair('PS256');
  const pinned = directoryOf(issuerWith([rsa]));
  const jws = await assertion({}, { key: { ...rsa, algorithm: 'RS256' } });
  t.throws(() => verify(jws, EXPECTED, pinned), { code: 'assertion.algorithm' });
  const ed = keyPair('EdDSA');
  const spelled = await assertion({}, { key: { ...ed, algorithm: 'Ed25519' } });
  t.throws(() => verify(spelled, EXPECTED, directoryOf(issuerWith([ed]))), { code: 'assertion.algorithm' });
  // With the neutral point as the key, R = neutral and S = 0 would be a signature over everything.
  const neutral = Buffer.alloc(32);
  neutral[0] = 1;
  const { publicKey } = readPublicJwk('EdDSA', {
    kty: 'OKP',
    crv: 'Ed25519',
    x: neutral.toString('base64url'),
  });
  const weak = directoryOf(issuerWith([{ kid: 'weak', algorithm: 'EdDSA', publicKey }]));
  const forged = rawJws({ alg: 'EdDSA', kid: 'weak', typ: 'at+jwt' }, claimsOf(), () =>
    Buffer.concat([neutral, Buffer.alloc(32)]),
  );
  t.throws(() => verify(forged, EXPECTED, weak), { code: 'assertion.signature' });
});

void t.test('J09, J17: an issuer speaks for its own member only', async (t) => {
  const jws = await assertion();
  t.throws(() => verify(jws, { ...EXPECTED, member: B }), { code: 'assertion.subject' });
  const both = directoryOf(
    issuerWith(),
    issuerWith([other], { issuer: 'https://idp.b07.example', member: B }),
  );
  t.throws(() => verify(jws, { ...EXPECTED, member: B }, both), { code: 'assertion.subject' });
  const asOther = await assertion({ iss: 'https://idp.b07.example' });
  t.throws(() => verify(asOther, EXPECTED, both), { code: 'assertion.subject' });
  t.throws(() => verify(asOther, { ...EXPECTED, member: B }, both), { code: 'assertion.signature' });
  t.throws(() => verify(jws, EXPECTED, directoryOf()), { code: 'assertion.issuer' });
});

void t.test('one subject of two issuers is two people', async (t) => {
  const second = issuerWith([other], { issuer: 'https://idp2.a11.example' });
  const directory = directoryOf(issuerWith(), second);
  const a = verify(await assertion(), EXPECTED, directory);
  const b = verify(await assertion({ iss: second.issuer }, { key: other }), EXPECTED, directory);
  t.equal(a.claims.subject, b.claims.subject);
  t.not(a.claims.issuer, b.claims.issuer);
});

void t.test('the moments at the edges', async (t) => {
  const jws = await assertion({ iat: NOW - 100, exp: NOW, nbf: NOW - 50, auth_time: NOW - 100 });
  for (const [now, passes] of [
    [NOW - 131, false],
    [NOW + 29, true],
    [NOW + 30, false],
    [NOW - 80, true],
    [NOW - 81, false],
  ] as const) {
    const attempt = () => verify(jws, { ...EXPECTED, now });
    if (passes) t.doesNotThrow(attempt, String(now - NOW));
    else t.throws(attempt, { code: 'assertion.time' }, String(now - NOW));
  }
});

void t.test('cut off anywhere it is refused, and nothing else happens', async (t) => {
  for (let length = 0; length < good.length; length++)
    t.throws(() => verify(good.slice(0, length)), { name: 'Denied', code: /^assertion\./ });
});

void t.test('one character changed anywhere: refused', async () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=';
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(alphabet.length - 1), (at, by) => {
      const changed = good.slice(0, at) + alphabet.charAt(by) + good.slice(at + 1);
      if (changed === good) return true;
      try {
        verify(changed);
      } catch (thrown) {
        return thrown instanceof Error && thrown.name === 'Denied';
      }
      return false;
    }),
    { numRuns: 400 },
  );
});

void t.test('whatever is signed, it is read or refused', async () => {
  fc.assert(
    fc.property(
      fc.record({
        name: fc.constantFrom(...Object.keys(claimsOf()), 'cnf', 'nbf', 'sid'),
        value: fc.jsonValue(),
      }),
      ({ name, value }) => {
        try {
          verify(raw(HEADER, { ...claimsOf(), [name]: value }));
          return true;
        } catch (thrown) {
          return thrown instanceof Error && thrown.name === 'Denied';
        }
      },
    ),
    { numRuns: 300 },
  );
});

void t.test('the member is part of what was proved', async (t) => {
  t.equal(verify(good).issuer.member, MEMBER);
});
