import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { compactDecrypt, createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import t from 'tap';
import { Authority } from '../../../pki/authority.ts';
import { Browser } from '../client/browser.ts';
import { DpopKey } from '../client/dpop.ts';
import { ask } from '../client/http.ts';
import { beginSignIn, codeOf, redeem, type Pending, type RelyingParty } from '../client/relying-party.ts';
import { ScriptedPerson } from '../client/scripted-person.ts';
import { SoftwarePasskey, type EnrolmentOptions, type SignInOptions } from './authenticator.ts';
import { AUDIENCE, REDIRECT, SEALED, startIdp } from './idp-fixture.ts';
import { ACR } from './levels.ts';
import { Passkeys } from './passkeys.ts';
import { personOf } from './people.ts';

const dir = t.testdir();
const clock = { ahead: 0 };
const lab = await startIdp(dir, () => Date.now() + clock.ahead);
t.teardown(() => lab.idp.close());
const { idp, ca } = lab;
const { issuer } = idp;
const party: RelyingParty = { issuer, ca, clientId: 'app', redirectUri: REDIRECT };
const certificate = { cert: lab.client.pem, key: lab.client.keyPem };
const mtls: RelyingParty = { ...party, clientId: 'app-mtls', certificate };
const lin = new ScriptedPerson('lin.meihua', join(dir, 'lin.json'), { issuer, ca });
const SUBJECT = personOf('lin.meihua')?.subject;
const plain = { acr: ACR.aal2, resource: AUDIENCE } as const;

const jwks = async (): Promise<ReturnType<typeof createLocalJWKSet>> => {
  const answer = await ask(`${issuer}/jwks`, { ca });
  return createLocalJWKSet(JSON.parse(answer.body) as Parameters<typeof createLocalJWKSet>[0]); // our own provider
};

void t.test('an assertion is what the gateways want, and nothing more', async (t) => {
  const assertion = await lin.signIn(party, plain);
  const { payload, protectedHeader } = await jwtVerify(assertion, await jwks(), {
    issuer,
    audience: AUDIENCE,
    typ: 'at+jwt',
    algorithms: ['ES256'],
  });
  t.same(Object.keys(protectedHeader).toSorted(), ['alg', 'kid', 'typ']);
  const names = ['acr', 'amr', 'aud', 'auth_time', 'exp', 'iat', 'iss', 'jti', 'sub'];
  t.same(Object.keys(payload).toSorted(), names);
  t.match(payload, { sub: SUBJECT, acr: ACR.aal2, amr: ['swk', 'pin', 'user', 'mfa'], aud: AUDIENCE });
  t.equal((payload.exp ?? 0) - (payload.iat ?? 0), 300);
  t.ok(Math.abs(Number(payload['auth_time']) - Date.now() / 1000) < 60);
  t.ok((payload.jti ?? '').length >= 16);
  t.not(decodeJwt(await lin.signIn(party, plain)).jti, payload.jti);
});

void t.test('how somebody signs in decides the level', async (t) => {
  for (const [acr, amr] of [
    [ACR.aal1, ['swk', 'user']],
    [ACR.aal2, ['swk', 'pin', 'user', 'mfa']],
    [ACR.aal3, ['hwk', 'pin', 'user', 'mfa']],
  ] as const) {
    const payload = decodeJwt(await lin.signIn(party, { acr, resource: AUDIENCE }));
    t.match(payload, { acr, amr });
  }
});

void t.test('a sign-in can be said to be older, not newer', async (t) => {
  const payload = decodeJwt(await lin.signIn(party, plain, { ageSeconds: 3600 }));
  t.ok(Math.abs(Number(payload['auth_time']) - (Date.now() / 1000 - 3600)) < 60);
  await t.rejects(lin.signIn(party, plain, { ageSeconds: -60 }), { name: 'SignInFailed' });
});

void t.test('DPoP binds the assertion to the key, with a nonce of the provider', async (t) => {
  const key = DpopKey.create(Date.now);
  const { cnf } = decodeJwt(await lin.signIn(party, plain, { key })) as { cnf?: { jkt?: string } };
  const [header = ''] = key.proof({ method: 'GET', url: 'https://x/' }).split('.');
  const { jwk } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { jwk: Record<string, string> };
  const { crv, kty, x, y } = jwk;
  t.same(cnf, { jkt: createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url') });
});

void t.test('a certificate binds it as well; only ours can', async (t) => {
  const { cnf } = decodeJwt(await lin.signIn(mtls, plain)) as { cnf?: Record<string, string> };
  t.same(cnf, { 'x5t#S256': createHash('sha256').update(lab.client.der).digest('base64url') });
  const { certificate: _, ...bare } = mtls;
  await t.rejects(lin.signIn(bare, plain), /invalid_client/, 'no certificate');
  const stranger = await (
    await Authority.create('TW test', Date.now)
  ).issueClient('welfare information system');
  const forged = { cert: stranger.chainPem, key: stranger.keyPem };
  await t.rejects(
    lin.signIn({ ...mtls, certificate: forged }, plain),
    /invalid_client/,
    'same name, other CA',
  );
});

void t.test('FAL2: encrypted to the gateway', async (t) => {
  const sealed = await lin.signIn(
    party,
    { acr: ACR.aal3, resource: SEALED },
    { key: DpopKey.create(Date.now) },
  );
  t.match(decodeProtectedHeader(sealed), {
    alg: 'ECDH-ES+A256KW',
    enc: 'A256GCM',
    cty: 'at+jwt',
    kid: 'gw-1',
    iss: issuer,
    aud: AUDIENCE,
  });
  const { plaintext } = await compactDecrypt(sealed, lab.gatewayKey);
  const { payload } = await jwtVerify(Buffer.from(plaintext).toString(), await jwks(), {
    audience: AUDIENCE,
  });
  t.match(payload, { sub: SUBJECT, acr: ACR.aal3 });
});

/** Walks to the interaction page. @returns where it is; or the redirect URI, when nobody had to sign in */
async function walk(browser: Browser, pending: Pending): Promise<string> {
  let at = `${issuer}/auth?${pending.query}`;
  while (!at.startsWith(REDIRECT) && !new URL(at).pathname.startsWith('/interaction/'))
    at = await browser.follow(at);
  return at;
}

async function signInAt(
  browser: Browser,
  at: string,
  passkey: SoftwarePasskey,
  verified: boolean,
): Promise<string> {
  const options = (await browser.post(`${at}/options`, {})) as unknown as SignInOptions; // our own provider
  const { next } = await browser.post(`${at}/finish`, {
    response: passkey.signIn(options, issuer, verified),
  });
  let to = String(next);
  while (!to.startsWith(REDIRECT)) to = await browser.follow(to);
  return to;
}

async function enrolled(login: string, synced: boolean): Promise<SoftwarePasskey> {
  const browser = new Browser(ca);
  const passkey = SoftwarePasskey.create(synced);
  const options = (await browser.post(`${issuer}/enrol/options`, { login })) as unknown as EnrolmentOptions;
  await browser.post(`${issuer}/enrol/finish`, { login, response: passkey.register(options, issuer) });
  return passkey;
}

const acrOf = async (pending: Pending, at: string): Promise<unknown> =>
  decodeJwt((await redeem(party, pending, codeOf(party, pending, at))).assertion)['acr'];

void t.test('step-up: a session serves until more is asked for', async (t) => {
  const browser = new Browser(ca);
  const hardware = await enrolled('chen.zhiming', false);
  const weak = beginSignIn(party, { acr: ACR.aal1, resource: AUDIENCE });
  t.equal(await acrOf(weak, await signInAt(browser, await walk(browser, weak), hardware, false)), ACR.aal1);

  const again = beginSignIn(party, { resource: AUDIENCE });
  t.equal(await acrOf(again, await walk(browser, again)), ACR.aal1, 'nobody is asked twice');

  const strong = beginSignIn(party, { acr: `${ACR.aal2} ${ACR.aal3}`, resource: AUDIENCE });
  const asked = await walk(browser, strong);
  t.match(new URL(asked).pathname, /^\/interaction\//);
  t.equal(await acrOf(strong, await signInAt(browser, asked, hardware, true)), ACR.aal3);

  const old = beginSignIn(party, { maxAgeSeconds: 60, resource: AUDIENCE });
  t.match(await walk(browser, old), /^http:\/\/localhost\/callback/, 'new enough');
  const zero = beginSignIn(party, { maxAgeSeconds: 0, resource: AUDIENCE });
  await new Promise((resolve) => setTimeout(resolve, 1100));
  t.match(new URL(await walk(browser, zero)).pathname, /^\/interaction\//, 'too old');
});

void t.test(
  'who has only a synced passkey does not reach AAL3, and does not go around in circles',
  async (t) => {
    const browser = new Browser(ca);
    const synced = await enrolled('wang.yating', true);
    const pending = beginSignIn(party, { acr: ACR.aal3, resource: AUDIENCE });
    const at = await signInAt(browser, await walk(browser, pending), synced, true);
    t.equal(await acrOf(pending, at), ACR.aal2);
  },
);

void t.test('refused sign-ins', async (t) => {
  const passkey = await enrolled('lin.meihua', false);
  const nobodys = SoftwarePasskey.create(false);
  const begin = async (): Promise<{ browser: Browser; at: string; options: SignInOptions }> => {
    const browser = new Browser(ca);
    const at = await walk(browser, beginSignIn(party, plain));
    return { browser, at, options: (await browser.post(`${at}/options`, {})) as unknown as SignInOptions };
  };
  const flipped = (text: string): string => {
    const bytes = Buffer.from(text, 'base64url');
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
    return bytes.toString('base64url');
  };
  const other = await begin();
  // What a program sends instead of the right answer to these options.
  const nearMisses: readonly (readonly [string, (options: SignInOptions) => unknown, RegExp])[] = [
    ['another origin', (o) => passkey.signIn(o, 'https://evil.example', true), /origin/i],
    ['another sign-in', () => passkey.signIn(other.options, issuer, true), /challenge/i],
    ['no challenge of ours', (o) => passkey.signIn({ ...o, challenge: 'AAAA' }, issuer, true), /challenge/i],
    ['another party', (o) => passkey.signIn({ ...o, rpId: 'evil.example' }, issuer, true), /RP ID/i],
    ['an unknown passkey', (o) => nobodys.signIn(o, issuer, true), /not enrolled/],
    [
      'the same key, said to be synced',
      (o) => SoftwarePasskey.from({ ...passkey.kept, synced: true }).signIn(o, issuer, true),
      /changed its kind/,
    ],
    [
      'a changed signature',
      (o) => {
        const { response, ...rest } = passkey.signIn(o, issuer, true);
        return { ...rest, response: { ...response, signature: flipped(response.signature) } };
      },
      /signature/,
    ],
    ['nothing', () => ({}), /not enrolled/],
  ];
  for (const [what, response, why] of nearMisses) {
    const { browser, at, options } = await begin();
    await t.rejects(browser.post(`${at}/finish`, { response: response(options) }), { message: why }, what);
  }
  const used = await begin();
  const good = passkey.signIn(used.options, issuer, true);
  t.ok((await used.browser.post(`${used.at}/finish`, { response: good }))['next']);
  await t.rejects(used.browser.post(`${used.at}/finish`, { response: good }), /challenge/i, 'a second time');

  const late = await begin();
  clock.ahead = 301_000;
  const response = passkey.signIn(late.options, issuer, true);
  await t.rejects(late.browser.post(`${late.at}/finish`, { response }), /challenge/i, 'after five minutes');
  clock.ahead = 0;
});

void t.test('refused codes', async (t) => {
  const passkey = await enrolled('lin.meihua', false);
  const fresh = async (): Promise<{ pending: Pending; code: string; at: string }> => {
    const pending = beginSignIn(party, plain);
    const browser = new Browser(ca);
    const at = await signInAt(browser, await walk(browser, pending), passkey, true);
    return { pending, at, code: codeOf(party, pending, at) };
  };
  const first = await fresh();
  const second = await fresh();
  await t.rejects(
    redeem(party, { ...first.pending, verifier: second.pending.verifier }, first.code),
    /invalid_grant/,
  );
  t.match(await redeem(party, second.pending, second.code), { assertion: String, subject: String });
  await t.rejects(redeem(party, second.pending, second.code), /invalid_grant/, 'a code is good once');
  t.throws(() => codeOf(party, second.pending, first.at), /another question/);
  const mixed = first.at.replace(/iss=[^&]*/, 'iss=https%3A%2F%2Fevil.example');
  t.throws(() => codeOf(party, first.pending, mixed), /another provider/, 'RFC 9207');
});

void t.test('refused requests', async (t) => {
  const location = async (change: (query: URLSearchParams) => void): Promise<string> => {
    const query = new URLSearchParams(beginSignIn(party, plain).query);
    change(query);
    const answer = await ask(`${issuer}/auth?${query.toString()}`, { ca });
    return answer.headers.location ?? answer.body;
  };
  t.match(await location((query) => query.delete('code_challenge')), /invalid_request/, 'PKCE');
  t.match(
    await location((query) => query.set('resource', 'https://gw.b07.tw.troad.example')),
    /invalid_target/,
  );
  t.match(await location((query) => query.set('redirect_uri', 'https://evil.example/')), /redirect_uri/);
  t.match(await location((query) => query.set('client_id', 'nobody')), /invalid_client/);
});

void t.test('only our own pages, under our own name', async (t) => {
  const status = (path: string, headers: Record<string, string>, method = 'POST'): Promise<number> =>
    new Promise((resolve, reject) => {
      const outgoing = request(`${idp.browserUrl}${path}`, { method, headers }, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
      outgoing.on('error', reject);
      outgoing.end(method === 'POST' ? '{"login":"lin.meihua"}' : undefined);
    });
  const json = { 'content-type': 'application/json' };
  t.equal(await status('/enrol/options', json), 200);
  t.equal(await status('/enrol/options', { ...json, origin: idp.browserUrl }), 200);
  t.equal(await status('/enrol/options', { ...json, origin: 'https://evil.example' }), 403, 'CSRF');
  t.equal(await status('/enrol/options', { 'content-type': 'text/plain' }), 415, 'a form of another site');
  t.equal(await status('/enrol', { host: 'evil.example' }, 'GET'), 421, 'DNS rebinding');
  t.equal(await status('/nothing', {}, 'GET'), 404);
  const page = await ask(`${idp.browserUrl}/enrol`);
  t.match(page.headers['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/);
  t.notMatch(page.body, /<script>|onclick|style=/);
});

void t.test(
  'enrolled passkeys survive a restart, once and for one person; the file holds nothing secret',
  async (t) => {
    const passkey = await enrolled('lin.meihua', false);
    t.ok(existsSync(lab.passkeysFile));
    const text = readFileSync(lab.passkeysFile, 'utf8');
    t.match(text, passkey.kept.id);
    t.notMatch(text, /PRIVATE|"d"/);
    const reopened = await Passkeys.open(lab.passkeysFile, [issuer], Date.now);
    const asked = await reopened.signInOptions('x', true);
    t.match(await reopened.signIn('x', passkey.signIn(asked, issuer, true)), {
      subject: SUBJECT,
      userVerified: true,
      backupEligible: false,
    });
    const options = (await new Browser(ca).post(`${issuer}/enrol/options`, {
      login: 'lin.meihua',
    })) as unknown as EnrolmentOptions;
    const response = passkey.register(options, issuer);
    await t.rejects(
      new Browser(ca).post(`${issuer}/enrol/finish`, { login: 'lin.meihua', response }),
      /already enrolled/,
    );
    const again = (await new Browser(ca).post(`${issuer}/enrol/options`, {
      login: 'lin.meihua',
    })) as unknown as EnrolmentOptions;
    await t.rejects(
      new Browser(ca).post(`${issuer}/enrol/finish`, {
        login: 'chen.zhiming',
        response: SoftwarePasskey.create(false).register(again, issuer),
      }),
      /challenge/i,
      'a challenge is for one person',
    );
    await t.rejects(new Browser(ca).post(`${issuer}/enrol/options`, { login: 'nobody' }), /no such person/);
  },
);
