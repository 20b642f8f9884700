import t, { type Test } from 'tap';
import { base64url, sha256 } from '../core/bytes.ts';
import { Denied } from '../core/errors.ts';
import { fieldValue, type Fields } from '../core/fields.ts';
import type { MemberId } from '../core/ids.ts';
import { SecurityEvent } from '../identity/security-event.ts';
import {
  assertion,
  encryptTo,
  ISSUER,
  keyPair,
  NOW,
  ORIGIN,
  PATH,
  proofFor,
  rawJws,
  THUMBPRINT,
} from '../identity/tokens-fixture.ts';
import { A, provedPeer } from '../trust/proofs-fixture.ts';
import { carriedFields, presentedUser, relayedUser, userFacts } from './users.ts';
import { provider, registryOf, SEALING, TestGateway } from './users-fixture.ts';

const MEMBER = 'TW/GOV/A11' as MemberId; // the tests' own constants
const ROW = provider(MEMBER, ISSUER);
const CERTIFICATE = base64url(sha256('certificate'));
const consumer = () => new TestGateway(A, [ROW]);
const relaying = () => new TestGateway('gw.b07.tw.troad.example', [ROW]);

const CLIENT: Fields = [['x-road-client', 'TW/GOV/A11/welfare']];
const present = (gateway: TestGateway, fields: Fields, certificate?: string) =>
  presentedUser(
    { fields: [...CLIENT, ...fields], method: 'GET', origin: ORIGIN, target: { path: PATH, query: '' } },
    certificate,
    MEMBER,
    gateway,
  );
const relay = (gateway: TestGateway, field: string, { method = 'GET', path = PATH, member = MEMBER } = {}) =>
  relayedUser({ fields: [['t-road-user', field]] }, { method, path }, provedPeer(member), gateway);
const bound = (more = {}) => assertion({ cnf: { jkt: THUMBPRINT }, ...more });

async function denied(t: Test, attempt: Promise<unknown>, code: string): Promise<Denied> {
  try {
    await attempt;
  } catch (thrown) {
    if (!(thrown instanceof Denied)) throw thrown;
    t.equal(thrown.code, code, thrown.message);
    return thrown;
  }
  throw new Error(`was accepted, not refused with ${code}`);
}

void t.test('nothing presented is nobody, and no error', async (t) => {
  t.equal(await present(consumer(), []), undefined);
  t.equal(await present(consumer(), [['dpop', 'of the service']]), undefined);
  t.same(
    carriedFields([['dpop', 'of the service']], undefined),
    [['dpop', 'of the service']],
    'it passes through',
  );
  t.same(userFacts(undefined), []);
});

void t.test('a proof, a sealed assertion: once through both gateways', async (t) => {
  const a = consumer();
  const jwe = await encryptTo(SEALING.publicKey, await bound());
  const proof = await proofFor(jwe, { nonce: a.users.nonces.current });
  const fields: Fields = [
    ['t-road-assertion', jwe],
    ['dpop', proof],
  ];
  const user = await present(a, fields);
  t.match(user?.assertion, { subject: 'u-4711', level: { ial: 2, aal: 3, fal: 3 }, boundBy: 'dpop' });
  const carried = carriedFields([...CLIENT, ...fields], user);
  t.same(
    carried.map(([name]) => name),
    ['x-road-client', 't-road-user'],
    'neither assertion nor proof beside it',
  );
  const field = fieldValue(carried, 't-road-user') ?? '';
  t.notOk(field.includes(jwe), 'relayed is what was inside');
  const b = relaying();
  const again = relay(b, field);
  t.match(again?.assertion, {
    subject: 'u-4711',
    issuer: ISSUER,
    level: { ial: 2, aal: 3, fal: 3 },
    boundBy: 'dpop',
  });
  t.match(userFacts(again), [
    ['t-road-user-issuer', ISSUER],
    ['t-road-user-subject', 'u-4711'],
    ['t-road-user-level', 'ial=2, aal=3, fal=3'],
  ]);
  t.throws(() => relay(b, field), { code: 'assertion.proof_replayed' }, 'the peer cannot use it twice');
});

void t.test('a subject travels in one field whatever it is', async (t) => {
  const user = await present(consumer(), [['t-road-assertion', await assertion({ sub: '王小明, admin' })]]);
  t.equal(fieldValue(userFacts(user), 't-road-user-subject'), encodeURIComponent('王小明, admin'));
});

void t.test('what is refused tells what would help, and gives a nonce where a proof is next', async (t) => {
  const a = consumer();
  const nonce = a.users.nonces.current;
  const token = await bound();
  const missing = await denied(t, present(a, [['t-road-assertion', token]]), 'assertion.proof_missing');
  t.match(fieldValue(missing.answerFields, 'www-authenticate'), /^DPoP error="use_dpop_nonce", algs="ES256/);
  t.equal(fieldValue(missing.answerFields, 'dpop-nonce'), nonce);
  const without = await proofFor(token, { nonce: undefined });
  const asked = await denied(
    t,
    present(a, [
      ['t-road-assertion', token],
      ['dpop', without],
    ]),
    'assertion.proof_nonce',
  );
  t.equal(fieldValue(asked.answerFields, 'dpop-nonce'), nonce);
  const followed = await proofFor(token, { nonce });
  t.ok(
    await present(a, [
      ['t-road-assertion', token],
      ['dpop', followed],
    ]),
    'a client that follows it is let in',
  );
  const expired = await denied(
    t,
    present(a, [
      ['t-road-assertion', await assertion({ iat: NOW - 300, exp: NOW - 100, auth_time: NOW - 300 })],
    ]),
    'assertion.time',
  );
  t.equal(fieldValue(expired.answerFields, 'www-authenticate'), 'Bearer error="invalid_token"');
});

void t.test('J10: used once, at either gateway', async (t) => {
  const a = consumer();
  const token = await assertion();
  const user = await present(a, [['t-road-assertion', token]]);
  await denied(t, present(a, [['t-road-assertion', token]]), 'assertion.replayed');
  const sealed = await encryptTo(SEALING.publicKey, token);
  await denied(t, present(a, [['t-road-assertion', sealed]]), 'assertion.replayed');
  const b = relaying();
  t.ok(relay(b, user?.field ?? ''));
  t.throws(() => relay(b, user?.field ?? ''), { code: 'assertion.replayed' });
});

void t.test('J10: a gateway that is both ends uses an id once at each', async (t) => {
  const both = consumer();
  const user = await present(both, [['t-road-assertion', await assertion()]]);
  t.ok(relay(both, user?.field ?? ''));
});

void t.test('J10: after a restart what the log remembers stays used', async (t) => {
  const token = await assertion();
  const user = await present(consumer(), [['t-road-assertion', token]]);
  const restarted = consumer();
  restarted.users.assertions.remember('c', user?.assertion.used.assertion ?? '');
  await denied(t, present(restarted, [['t-road-assertion', token]]), 'assertion.replayed');
});

void t.test("J17: a subject of one agency over another's connection", async (t) => {
  const b07 = 'TW/GOV/B07' as MemberId; // the tests' own constants
  const user = await present(consumer(), [['t-road-assertion', await assertion()]]);
  const gateway = new TestGateway('gw.c01.tw.troad.example', [
    ROW,
    provider(b07, 'https://idp.b07.example', [keyPair('ES256')]),
  ]);
  t.throws(() => relay(gateway, user?.field ?? '', { member: b07 }), { code: 'assertion.subject' });
});

void t.test('the audience is the gateway that the connection proved', async (t) => {
  const field = `assertion="${await assertion({ aud: 'https://gw.c01.tw.troad.example' })}"`;
  t.throws(() => relay(relaying(), field), { code: 'assertion.audience' });
  await denied(
    t,
    present(consumer(), [['t-road-assertion', await assertion({ aud: 'https://gw.c01.tw.troad.example' })]]),
    'assertion.audience',
  );
});

void t.test('what the provider checks again of a relayed proof', async (t) => {
  const b = relaying();
  const token = await bound();
  const field = async (changes = {}, more = '') =>
    `assertion="${token}", proof="${await proofFor(token, { nonce: 'of the consumer', ...changes })}"${more}`;
  for (const [what, text, route, code] of [
    ['another method', await field(), { method: 'POST' }, 'assertion.proof_invalid'],
    ['another path', await field(), { path: `${PATH}/8` }, 'assertion.proof_invalid'],
    ['made long ago', await field({ iat: NOW - 61 }), {}, 'assertion.proof_invalid'],
    ['about another assertion', await field({ ath: base64url(sha256('x')) }), {}, 'assertion.proof_invalid'],
    ['left out', `assertion="${token}"`, {}, 'assertion.proof_missing'],
    [
      'a certificate instead',
      `assertion="${token}", certificate=:${sha256('certificate').toString('base64')}:`,
      {},
      'assertion.proof_missing',
    ],
    [
      'a hash of a JWE that the proof is not about',
      `assertion="${token}", encrypted=:${sha256('x').toString('base64')}:, proof="${await proofFor(token)}"`,
      {},
      'assertion.proof_invalid',
    ],
    ['not our spelling', `assertion=${token}`, {}, 'message.inconsistent'],
  ] as const) {
    t.throws(() => relay(b, text, route), { name: 'Denied', code }, what);
  }
  t.ok(relay(b, await field()));
});

void t.test('certificate-bound: what TLS proved, and what the peer says that TLS proved', async (t) => {
  const token = await assertion({ cnf: { 'x5t#S256': CERTIFICATE } });
  const a = consumer();
  const user = await present(a, [['t-road-assertion', token]], CERTIFICATE);
  t.match(user?.field, /, certificate=:[^:]+:$/);
  await denied(t, present(a, [['t-road-assertion', token]]), 'assertion.certificate');
  await denied(
    t,
    present(a, [
      ['t-road-assertion', token],
      ['x-forwarded-client-cert', CERTIFICATE],
    ]),
    'assertion.certificate',
  );
  const b = relaying();
  t.equal(relay(b, user?.field ?? '')?.assertion.boundBy, 'certificate');
  t.throws(() => relay(b, `assertion="${token}", certificate=:${sha256('x').toString('base64')}:`), {
    code: 'assertion.certificate',
  });
});

void t.test('J18: a cached result does not outlive what it rested on', async (t) => {
  const a = consumer();
  const token = await assertion({ cnf: { 'x5t#S256': CERTIFICATE }, iat: NOW, exp: NOW + 3000 });
  const again = () => present(a, [['t-road-assertion', token]], CERTIFICATE);
  await again();
  await again();
  t.same(a.users.cache.stats, { hits: 1, misses: 1 });
  a.registry = registryOf([{ ...ROW, keys: new Map() }], 'registry-2');
  await denied(t, again(), 'assertion.key_unknown');
  a.registry = registryOf([{ ...ROW, acr: new Map([['aal3', { ial: 2, aal: 1 }]]) }], 'registry-3');
  t.equal((await again())?.assertion.level.aal, 1, 'a level that was taken back');
  a.registry = registryOf([{ ...ROW, maxLifetimeSeconds: 60 }], 'registry-4');
  await denied(t, again(), 'assertion.time');
  a.registry = registryOf([ROW]);
  a.now += 61_000;
  const before = a.users.cache.stats.misses;
  await again();
  t.equal(a.users.cache.stats.misses, before + 1, 'another minute');
});

void t.test('a session that ended: the next request, from the cache or not', async (t) => {
  const a = consumer();
  const signer = keyPair('ES256');
  const token = await assertion({ cnf: { 'x5t#S256': CERTIFICATE } });
  const again = () => present(a, [['t-road-assertion', token]], CERTIFICATE);
  const user = await again();
  const ended: string[] = [];
  if (user === undefined) throw new Error('nobody');
  const release = a.users.running.register(user.assertion, (cause) => ended.push(cause.code));
  const event = await revoked('u-4711', signer);
  a.users.revocations.add(event, NOW);
  t.equal(a.users.running.end(event), 1);
  t.same(ended, ['assertion.revoked']);
  const refused = await denied(t, again(), 'assertion.revoked');
  t.equal(
    fieldValue(refused.answerFields, 'www-authenticate'),
    'Bearer error="insufficient_user_authentication", max_age=0',
    'another assertion of the same authentication would not help',
  );
  release();
  t.equal(a.users.running.size, 0);
  t.equal(a.users.running.end(event), 0);
});

void t.test(
  'only exchanges of that user, from before the event, and of that session are ended',
  async (t) => {
    const a = consumer();
    const ended: string[] = [];
    for (const [name, claims] of [
      ['u', { sub: 'u', sid: 's-1' }],
      ['u, session unknown', { sub: 'u' }],
      ['u later', { sub: 'u', auth_time: NOW, iat: NOW }],
      ['v', { sub: 'v' }],
    ] as const) {
      const user = await present(a, [
        ['t-road-assertion', await assertion({ jti: `jti of ${name}`.padEnd(16, '-'), ...claims })],
      ]);
      if (user !== undefined) a.users.running.register(user.assertion, () => ended.push(name));
    }
    const signer = keyPair('ES256');
    a.users.running.end(await revoked('u', signer, 's-2'));
    t.same(ended, ['u, session unknown'], 'nobody can say that it is another one');
    a.users.running.end(await revoked('u', signer));
    t.same(ended.slice(1), ['u', 'u, session unknown']);
    t.equal(a.users.running.size, 4, 'each leaves when it is over');
  },
);

async function revoked(
  sub: string,
  signer: ReturnType<typeof keyPair>,
  session?: string,
): Promise<SecurityEvent> {
  const user = { format: 'iss_sub', iss: ISSUER, sub };
  const claims = {
    iss: ISSUER,
    iat: NOW,
    jti: `event about ${sub} ${session ?? ''}`,
    aud: `https://${A}`,
    sub_id:
      session === undefined ? user : { format: 'complex', user, session: { format: 'opaque', id: session } },
    events: {
      'https://schemas.openid.net/secevent/caep/event-type/session-revoked': { event_timestamp: NOW - 1 },
    },
  };
  const { sign } = await import('node:crypto');
  const set = rawJws({ alg: 'ES256', kid: signer.kid, typ: 'secevent+jwt' }, claims, (input) =>
    sign('sha256', input, { key: signer.privateKey, dsaEncoding: 'ieee-p1363' }),
  );
  return SecurityEvent.verify(
    set,
    `https://${A}`,
    { signalKeys: () => [signer], maySpeakOfDevices: () => false },
    NOW,
  );
}
