import { SignJWT } from 'jose';
import t from 'tap';
import { Revocations } from './revocations.ts';
import { SecurityEvent, type SecurityEventError } from './security-event.ts';
import { assertion, AUDIENCE, ISSUER, keyPair, NOW, verified } from './tokens-fixture.ts';

const KEY = keyPair('RS256'); // what CAEP's interoperability profile asks for
const ATTESTOR = 'attest.tw.troad.example';
const ISSUERS = {
  signalKeys: (name: string) => (name === ISSUER ? [KEY] : undefined),
  maySpeakOfDevices: (name: string, attestor: string) => name === ISSUER && attestor === ATTESTOR,
};
const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
const MACHINE = { format: 'complex', device: { format: 'iss_sub', iss: ATTESTOR, sub: 'pc-17' } };
const USER = { format: 'iss_sub', iss: ISSUER, sub: 'u-4711' };

let count = 0;
function set(
  changes: Readonly<Record<string, unknown>> = {},
  header: Readonly<Record<string, unknown>> = {},
  key = KEY,
): Promise<string> {
  const claims: Record<string, unknown> = {
    iss: ISSUER,
    iat: NOW,
    jti: `event-${++count}`,
    aud: AUDIENCE,
    sub_id: USER,
    events: { [`${CAEP}session-revoked`]: { event_timestamp: NOW - 1 } },
    ...changes,
  };
  for (const [name, value] of Object.entries(claims)) if (value === undefined) delete claims[name];
  return new SignJWT(claims)
    .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: 'secevent+jwt', ...header })
    .sign(key.privateKey);
}
const verify = (text: string, now = NOW) => SecurityEvent.verify(text, AUDIENCE, ISSUERS, now);
const event = (type: string, content: object = {}) => ({ events: { [CAEP + type]: content } });

void t.test('reads the events that end sessions', async (t) => {
  for (const [changes, facts] of [
    [{}, { type: 'session-revoked', effect: 'ended', subject: 'u-4711', session: undefined, at: NOW - 1 }],
    [
      event('credential-change', { change_type: 'revoke', credential_type: 'fido2-roaming' }),
      { type: 'credential-change', effect: 'ended', at: NOW },
    ],
    [
      event('assurance-level-change', {
        namespace: 'NIST-AAL',
        current_level: 'nist-aal1',
        previous_level: 'nist-aal3',
        change_direction: 'decrease',
      }),
      { effect: 'ended' },
    ],
    [event('assurance-level-change', { current_level: 'nist-aal1' }), { effect: 'ended' }],
    [event('assurance-level-change', { change_direction: 'increase' }), { effect: 'nothing' }],
    [event('device-compliance-change', { current_status: 'not-compliant' }), { effect: 'ended' }],
    [event('device-compliance-change', {}), { effect: 'ended' }],
    [event('device-compliance-change', { current_status: 'compliant' }), { effect: 'nothing' }],
    [event('token-claims-change', {}), { effect: 'nothing', type: 'token-claims-change' }],
    [{ events: { 'https://example.org/unheard-of': {} } }, { effect: 'nothing', type: 'unknown' }],
    [{ aud: [AUDIENCE, 'https://gw.b07.tw.troad.example'] }, { effect: 'ended' }],
    [
      { sub_id: { format: 'complex', user: USER, session: { format: 'opaque', id: 's-1' } } },
      { subject: 'u-4711', session: 's-1' },
    ],
    [
      { sub_id: { format: 'complex', session: { format: 'opaque', id: 's-1' } } },
      { subject: undefined, session: 's-1' },
    ],
    [
      { sub_id: MACHINE, ...event('device-compliance-change') },
      {
        subject: undefined,
        session: undefined,
        device: { attestor: ATTESTOR, name: 'pc-17' },
        effect: 'ended',
      },
    ],
    [
      { sub_id: { ...MACHINE, user: USER }, ...event('device-compliance-change') },
      { subject: 'u-4711', device: undefined },
    ],
    [{ sub_id: undefined, ...event('session-revoked', { subject: USER }) }, { subject: 'u-4711' }],
    [{ txn: 'a', toe: NOW, unknown: 1 }, { effect: 'ended' }],
    [
      {
        sub_id: undefined,
        events: { 'https://schemas.openid.net/secevent/ssf/event-type/verification': { state: 'x' } },
      },
      { type: 'verification', effect: 'nothing' },
    ],
  ] as const) {
    t.match(verify(await set(changes)), facts, JSON.stringify(changes));
  }
});

void t.test('what happened did not happen in the future', async (t) => {
  t.equal(verify(await set(event('session-revoked', { event_timestamp: NOW + 9_000_000 }))).at, NOW);
  t.equal(
    verify(await set(event('session-revoked', { event_timestamp: 'soon' }))).at,
    NOW,
    'else when it was said',
  );
  t.equal(verify(await set(event('session-revoked', { event_timestamp: NOW - 99.5 }))).at, NOW - 99);
});

void t.test('a session ends that began by a clock ahead of ours, and ended by it', async (t) => {
  const revocations = new Revocations();
  // 20 s ahead: the user authenticated two seconds ago, and signed out one second ago.
  const token = await verified({ auth_time: NOW + 18, iat: NOW + 18 });
  const ended = await set({ iat: NOW + 20, ...event('session-revoked', { event_timestamp: NOW + 19 }) });
  revocations.add(verify(ended), NOW);
  t.throws(() => revocations.requireValid(token), { code: 'assertion.revoked' });
  t.equal(
    verify(await set({ iat: NOW + 20, ...event('session-revoked', { event_timestamp: NOW + 99 }) })).at,
    NOW + 20,
  );
});

const other = keyPair('RS256', KEY.kid);
const nearMisses: readonly (readonly [
  what: string,
  token: string | Promise<string>,
  code: SecurityEventError,
])[] = [
  ['typ JWT', set({}, { typ: 'JWT' }), 'invalid_request'],
  ['an assertion', assertion(), 'invalid_request'],
  ['no typ', set({}, { typ: undefined }), 'invalid_request'],
  ['jku', set({}, { jku: 'https://evil.example' }), 'invalid_request'],
  ['exp', set({ exp: NOW + 60 }), 'invalid_request'],
  ['sub', set({ sub: 'u-4711' }), 'invalid_request'],
  ['another iss', set({ iss: 'https://evil.example' }), 'invalid_issuer'],
  ['iss as a list', set({ iss: [ISSUER] }), 'invalid_issuer'],
  ["another's key", set({}, {}, other), 'invalid_key'],
  ['an unknown key', set({}, { kid: 'k' }), 'invalid_key'],
  ['another algorithm with the same key', set({}, {}, { ...KEY, algorithm: 'PS256' }), 'invalid_key'],
  ['another aud', set({ aud: 'https://gw.b07.tw.troad.example' }), 'invalid_audience'],
  ['a list without us', set({ aud: [] }), 'invalid_audience'],
  ['no aud', set({ aud: undefined }), 'invalid_audience'],
  ['no jti', set({ jti: undefined }), 'invalid_request'],
  ['no iat', set({ iat: undefined }), 'invalid_request'],
  ['iat in the future', set({ iat: NOW + 31 }), 'invalid_request'],
  ['iat half a day ago', set({ iat: NOW - 12 * 3600 - 1 }), 'invalid_request'],
  ['no event', set({ events: {} }), 'invalid_request'],
  ['two events', set({ events: { [`${CAEP}a`]: {}, [`${CAEP}b`]: {} } }), 'invalid_request'],
  ['an event that is text', set({ events: { [`${CAEP}session-revoked`]: 'now' } }), 'invalid_request'],
  ['no subject', set({ sub_id: undefined }), 'invalid_request'],
  [
    'a subject of another issuer',
    set({ sub_id: { ...USER, iss: 'https://idp.b07.example' } }),
    'invalid_request',
  ],
  [
    'a subject that is an address',
    set({ sub_id: { format: 'email', email: 'a@b.example' } }),
    'invalid_request',
  ],
  [
    'a complex subject of members nobody knows',
    set({ sub_id: { format: 'complex', tenant: USER } }),
    'invalid_request',
  ],
  ['a machine that is signed out', set({ sub_id: MACHINE }), 'invalid_request'],
  [
    'a machine of an attestation service that is not for the issuer',
    set({
      sub_id: { format: 'complex', device: { ...MACHINE.device, iss: 'attest.b07.example' } },
      ...event('device-compliance-change'),
    }),
    'invalid_request',
  ],
  [
    "a machine in another's session",
    set({ sub_id: { ...MACHINE, session: USER }, ...event('device-compliance-change') }),
    'invalid_request',
  ],
  [
    'a machine without a name',
    set({
      sub_id: { format: 'complex', device: { ...MACHINE.device, sub: '' } },
      ...event('device-compliance-change'),
    }),
    'invalid_request',
  ],
  ['nothing', '', 'invalid_request'],
  ['more than anybody needs', 'A'.repeat(20_000), 'invalid_request'],
];
for (const [what, token, code] of nearMisses) {
  void t.test(`refuses ${what} with ${code}`, async (t) => {
    const text = await token;
    t.throws(() => verify(text), { name: 'SecurityEventRefused', code });
  });
}

void t.test('whoever authenticated before is out, whoever does after is in', async (t) => {
  const revocations = new Revocations();
  const before = await verified({ auth_time: NOW - 60 });
  const at = await verified({ auth_time: NOW - 1 });
  const after = await verified({ auth_time: NOW, iat: NOW });
  const somebody = await verified({ sub: 'u-4712' });
  revocations.requireValid(before);
  t.equal(revocations.add(verify(await set()), NOW), true);
  t.throws(() => revocations.requireValid(before), { code: 'assertion.revoked' });
  t.throws(() => revocations.requireValid(at), { code: 'assertion.revoked' }, 'in the very second');
  revocations.requireValid(after);
  revocations.requireValid(somebody);
  t.pass();
});

void t.test('one session of a user ends, the other goes on', async (t) => {
  const revocations = new Revocations();
  const sub_id = { format: 'complex', user: USER, session: { format: 'opaque', id: 's-1' } };
  revocations.add(verify(await set({ sub_id })), NOW);
  const first = await verified({ sid: 's-1' });
  t.throws(() => revocations.requireValid(first), { code: 'assertion.revoked' });
  revocations.requireValid(await verified({ sid: 's-2' }));
  revocations.requireValid(await verified({ sub: 'u-4712' }));
  t.equal(revocations.list().length, 1);
});

void t.test('an assertion without sid may be of the very session that its user ended', async (t) => {
  const revocations = new Revocations();
  const sub_id = { format: 'complex', user: USER, session: { format: 'opaque', id: 's-1' } };
  revocations.add(verify(await set({ sub_id })), NOW);
  const nameless = await verified();
  t.throws(() => revocations.requireValid(nameless), { code: 'assertion.revoked' });
  const restarted = new Revocations();
  restarted.restore(revocations.list());
  t.throws(() => restarted.requireValid(nameless), { code: 'assertion.revoked' });
  revocations.requireValid(await verified({ auth_time: NOW, iat: NOW }));
});

void t.test('an event that came before is not taken again; an older one takes nothing back', async (t) => {
  const revocations = new Revocations();
  const text = await set();
  t.equal(revocations.add(verify(text), NOW), true);
  t.equal(revocations.add(verify(text), NOW), false, 'the same jti');
  revocations.add(verify(await set(event('session-revoked', { event_timestamp: NOW - 600 }))), NOW);
  const token = await verified({ auth_time: NOW - 60 });
  t.throws(() => revocations.requireValid(token), { code: 'assertion.revoked' });
});

void t.test('survives a restart, and is forgotten when nothing can be as old', async (t) => {
  const revocations = new Revocations();
  revocations.add(verify(await set()), NOW);
  const restarted = new Revocations();
  restarted.restore(revocations.list());
  const token = await verified();
  t.throws(() => restarted.requireValid(token), { code: 'assertion.revoked' });
  const much = NOW + 13 * 3600;
  restarted.add(verify(await set({ iat: much, sub_id: { ...USER, sub: 'another' } }), much), much);
  t.equal(restarted.size, 1);
});

void t.test('a user who signs out every few hours keeps nobody else in memory', async (t) => {
  const revocations = new Revocations();
  const signOut = async (sub: string, iat: number) =>
    revocations.add(
      verify(await set({ iat, sub_id: { ...USER, sub }, ...event('session-revoked') }), iat),
      iat,
    );
  for (let hour = 0; hour < 240; hour += 6) {
    await signOut('often', NOW + hour * 3600);
    await signOut(`once, ${hour}`, NOW + hour * 3600 + 1);
  }
  t.ok(revocations.size <= 4, `${revocations.size} after ten days`);
});

void t.test('events that were long on their way are counted for as long as they are kept', async (t) => {
  const revocations = new Revocations(16);
  for (let i = 0; i < 200; i++) {
    const now = NOW + i * 60;
    const text = await set({
      iat: now - 12 * 3600,
      sub_id: { ...USER, sub: `u-${i}` },
      ...event('session-revoked', { event_timestamp: now }),
    });
    try {
      revocations.add(verify(text, now), now);
    } catch (thrown) {
      t.match(thrown, { name: 'Unavailable', code: 'gateway.overloaded' });
    }
  }
  t.ok(revocations.size <= 16, `${revocations.size} are kept`);
});

void t.test('one issuer with very many events does not keep those of another out', async (t) => {
  const revocations = new Revocations(64);
  const elsewhere = 'https://idp.b07.example';
  const issuers = { ...ISSUERS, signalKeys: () => [KEY] };
  const hoard = async (): Promise<boolean> => {
    const text = await set({ iss: elsewhere, sub_id: { ...USER, iss: elsewhere, sub: `invented-${count}` } });
    return revocations.add(SecurityEvent.verify(text, AUDIENCE, issuers, NOW), NOW);
  };
  let taken = 0;
  await t.rejects(
    (async () => {
      for (; taken < 1000; taken++) await hoard();
    })(),
    { name: 'Unavailable', code: 'gateway.overloaded' },
  );
  t.equal(taken, 32, 'no more than is left for others');
  t.equal(revocations.add(verify(await set()), NOW), true, 'which are heard');
  const token = await verified();
  t.throws(() => revocations.requireValid(token), { code: 'assertion.revoked' });
  for (let i = 0; i < 15; i++)
    revocations.add(verify(await set({ sub_id: { ...USER, sub: `u-${i}` } })), NOW);
  t.equal(revocations.size, 48);
});

void t.test('what cannot be kept is not taken', async (t) => {
  const revocations = new Revocations(1);
  revocations.add(verify(await set()), NOW);
  const next = verify(await set());
  t.throws(() => revocations.add(next, NOW), { name: 'Unavailable', code: 'gateway.overloaded' });
});

void t.test('an increase changes nothing', async (t) => {
  const revocations = new Revocations();
  revocations.add(verify(await set(event('assurance-level-change', { change_direction: 'increase' }))), NOW);
  t.equal(revocations.size, 0);
});
