import t from 'tap';
import { base64url, sha256 } from '../core/bytes.ts';
import { fieldValue } from '../core/fields.ts';
import { Denied } from '../core/errors.ts';
import { allocateTable, SharedTable } from '../core/shared-table.ts';
import { ReplayTable } from '../message/replay-table.ts';
import { IdleWatch } from './idle.ts';
import { Revocations } from './revocations.ts';
import { UserAssertion, type PossessionContext, type Shown } from './user-assertion.ts';
import { assertion, NOW, ORIGIN, PATH, proofFor, THUMBPRINT, verified } from './tokens-fixture.ts';
import type { VerifiedToken } from './token.ts';

const PLAIN: Shown = { proof: undefined, certificate: undefined, encrypted: false };
const CERTIFICATE = base64url(sha256('a certificate'));

const memory = (values = false) => allocateTable({ slots: 16, windowMs: 1000, seed: '', values });
const newWatch = (): IdleWatch => new IdleWatch(new SharedTable(memory(true)));

function context(now = NOW): PossessionContext & { now: number } {
  const assertions = new ReplayTable(memory(), 'assertion.replayed');
  const proofs = new ReplayTable(memory(), 'assertion.proof_replayed');
  return {
    request: {
      method: 'GET',
      origin: ORIGIN,
      path: PATH,
      isNonce: (nonce) => nonce === 'nonce-1',
      assertionSha256: () => Buffer.alloc(32),
    },
    now,
    revocations: new Revocations(),
    assertions: { claim: (id) => assertions.claim('c', id) },
    proofs: { claim: (id) => proofs.claim('c', id) },
  };
}

/** A token with a proof, and the context that fits both. */
async function bound(): Promise<{ token: VerifiedToken; shown: Shown; context: PossessionContext }> {
  const token = await verified({ cnf: { jkt: THUMBPRINT } });
  const proof = await proofFor(token.jws);
  const made = context();
  return {
    token,
    shown: { ...PLAIN, proof },
    context: { ...made, request: { ...made.request, assertionSha256: () => sha256(token.jws) } },
  };
}

void t.test('an assertion that nothing binds is for one request', async (t) => {
  const token = await verified();
  const c = context();
  const user = UserAssertion.prove(token, PLAIN, c);
  t.match(user, {
    issuer: 'https://idp.a11.example',
    subject: 'u-4711',
    member: 'TW/GOV/A11',
    level: { ial: 2, aal: 3, fal: 1 },
    boundBy: 'none',
    authTime: NOW - 60,
  });
  t.match(user.used, { assertion: /^[A-Za-z0-9_-]{43}$/ });
  t.throws(() => UserAssertion.prove(token, PLAIN, c), { code: 'assertion.replayed' }, 'J10');
  t.throws(() => UserAssertion.prove(token, { ...PLAIN, encrypted: true }, c), {
    code: 'assertion.replayed',
  });
});

void t.test('J10 the same id of another issuer, or of a new assertion, is another', async (t) => {
  const c = context();
  UserAssertion.prove(await verified(), PLAIN, c);
  UserAssertion.prove(await verified({ jti: 'another-one-of-16+' }), PLAIN, c);
  const again = await verified({ sub: 'u-4712' });
  t.throws(
    () => UserAssertion.prove(again, PLAIN, c),
    { code: 'assertion.replayed' },
    'the id counts, not the bytes',
  );
});

void t.test('a bound one comes as often as there are proofs', async (t) => {
  const { token, shown, context: c } = await bound();
  const user = UserAssertion.prove(token, shown, c);
  t.equal(user.boundBy, 'dpop');
  t.match(user.used, { proof: /^[A-Za-z0-9_-]{43}$/ });
  t.throws(() => UserAssertion.prove(token, shown, c), { code: 'assertion.proof_replayed' });
  const second = { ...shown, proof: await proofFor(token.jws) };
  t.equal(UserAssertion.prove(token, second, c).boundBy, 'dpop');
});

void t.test('RFC 9449 §7: a bound one is no bearer token', async (t) => {
  const { token, context: c } = await bound();
  t.throws(() => UserAssertion.prove(token, PLAIN, c), { code: 'assertion.proof_missing' });
  t.throws(() => UserAssertion.prove(token, { ...PLAIN, certificate: CERTIFICATE }, c), {
    code: 'assertion.proof_missing',
  });
});

void t.test('a proof that fails was not used up', async (t) => {
  const { token, shown, context: c } = await bound();
  const elsewhere = { ...c, request: { ...c.request, path: '/r1/other' } };
  t.throws(() => UserAssertion.prove(token, shown, elsewhere), { code: 'assertion.proof_invalid' });
  t.ok(UserAssertion.prove(token, shown, c));
});

void t.test('RFC 8705: the certificate that TLS proved, and no other', async (t) => {
  const token = await verified({ cnf: { 'x5t#S256': CERTIFICATE } });
  const c = context();
  const shown = { ...PLAIN, certificate: CERTIFICATE };
  for (let i = 0; i < 3; i++) t.equal(UserAssertion.prove(token, shown, c).boundBy, 'certificate');
  t.same(UserAssertion.prove(token, shown, c).used, {});
  for (const certificate of [undefined, base64url(sha256('another'))]) {
    t.throws(() => UserAssertion.prove(token, { ...PLAIN, certificate }, c), {
      code: 'assertion.certificate',
    });
  }
  const proof = await proofFor(token.jws);
  t.throws(() => UserAssertion.prove(token, { ...shown, proof }, c), { code: 'assertion.proof_invalid' });
});

void t.test('J11 a proof for an assertion whose binding was left out proves nothing', async (t) => {
  const token = await verified();
  const proof = await proofFor(token.jws);
  t.throws(() => UserAssertion.prove(token, { ...PLAIN, proof }, context()), {
    code: 'assertion.proof_invalid',
  });
});

void t.test('12 hours after the authentication it is over, whatever the agreement says', async (t) => {
  const hours = (h: number, seconds: number) => verified({ auth_time: NOW - h * 3600 - seconds });
  t.ok(UserAssertion.prove(await hours(11, 59 * 60), PLAIN, context()));
  t.ok(UserAssertion.prove(await hours(12, 0), PLAIN, context()));
  const late = await hours(12, 60);
  try {
    UserAssertion.prove(late, PLAIN, context());
    t.fail('was accepted');
  } catch (thrown) {
    t.match(thrown, { code: 'assertion.insufficient' });
    if (!(thrown instanceof Denied)) throw thrown;
    t.equal(
      fieldValue(thrown.answerFields, 'www-authenticate'),
      'Bearer error="insufficient_user_authentication", acr_values="aal3", max_age=43200',
    );
  }
});

void t.test('idle for 15 minutes at AAL3, for 30 below: the user authenticates again', async (t) => {
  for (const [acr, amr, limit] of [
    ['aal3', ['hwk', 'pin'], 900],
    ['aal2', ['pwd', 'otp'], 1800],
  ] as const) {
    const token = await verified({
      acr,
      amr,
      cnf: { 'x5t#S256': CERTIFICATE },
      iat: NOW - 10,
      exp: NOW + 3500,
    });
    const shown = { ...PLAIN, certificate: CERTIFICATE };
    const at = (now: number) => UserAssertion.prove(token, shown, context(now));
    const idle = newWatch();
    await idle.requireActive(at(NOW + 100), NOW + 100);
    await idle.requireActive(at(NOW + limit), NOW + limit);
    await idle.requireActive(at(NOW + limit + 600), NOW + limit + 600);
    const asleep = newWatch();
    await asleep.requireActive(at(NOW + 100), NOW + 100);
    await t.rejects(
      () => asleep.requireActive(at(NOW + 101 + limit), NOW + 101 + limit),
      {
        code: 'assertion.insufficient',
        answerFields: [['www-authenticate', new RegExp(`acr_values="${acr}", max_age=${limit}$`)]],
      },
      acr,
    );
    const fresh = newWatch();
    await t.resolves(fresh.requireActive(at(NOW - 10 + limit), NOW - 10 + limit), 'its issue is activity');
    await t.rejects(() => newWatch().requireActive(at(NOW - 9 + limit), NOW - 9 + limit), {
      code: 'assertion.insufficient',
    });
  }
});

void t.test(
  'activity at another replica counts, and is asked for only where it makes a difference',
  async (t) => {
    const token = await verified({ cnf: { 'x5t#S256': CERTIFICATE }, iat: NOW - 10, exp: NOW + 3500 });
    const shown = { ...PLAIN, certificate: CERTIFICATE };
    const at = (now: number) => UserAssertion.prove(token, shown, context(now));
    const told = new Map<string, number>();
    let asked = 0;
    const store = {
      lastActive: async (session: string) => {
        asked += 1;
        return told.get(session) ?? 0;
      },
      saw: (session: string, when: number) => void told.set(session, when),
    };
    const watch = () => new IdleWatch(new SharedTable(memory(true)), store);
    const [one, other] = [watch(), watch()];
    await one.requireActive(at(NOW + 800), NOW + 800);
    t.equal(asked, 0);
    t.notOk(JSON.stringify([...told]).includes('u-4711'), 'nobody is named');
    await other.requireActive(at(NOW + 1600), NOW + 1600);
    t.equal(asked, 1);
    await t.rejects(watch().requireActive(at(NOW + 2800), NOW + 2800), { code: 'assertion.insufficient' });
  },
);

class CountingTable extends SharedTable {
  looked = 0;
  override valueOf(text: string): number {
    this.looked += 1;
    return super.valueOf(text);
  }
}

void t.test('in one second a session is looked up once, in the next again', async (t) => {
  const token = await verified({ cnf: { 'x5t#S256': CERTIFICATE }, iat: NOW - 10, exp: NOW + 3500 });
  const other = await verified({ sub: 'other', cnf: { 'x5t#S256': CERTIFICATE }, iat: NOW - 10 });
  const table = new CountingTable(memory(true));
  const idle = new IdleWatch(table);
  const ask = async (who: typeof token, now: number): Promise<number> => {
    table.looked = 0;
    const shown = { ...PLAIN, certificate: CERTIFICATE };
    await idle.requireActive(UserAssertion.prove(who, shown, context(NOW)), now);
    return table.looked;
  };
  t.equal(await ask(token, NOW), 1);
  t.equal(await ask(token, NOW), 0);
  t.equal(await ask(other, NOW), 1, 'of somebody else nothing is known');
  t.equal(await ask(token, NOW + 1), 1, 'nor of another second');
  t.equal(await ask(token, NOW), 1, 'nor of one before');
  await t.rejects(ask(token, NOW + 3000), { code: 'assertion.insufficient' });
  await t.rejects(ask(token, NOW + 3000), { code: 'assertion.insufficient' }, 'a refusal is not remembered');
});

void t.test(
  'what was found in one second is not taken for the next, however long others were asked',
  async (t) => {
    const token = await verified({ cnf: { 'x5t#S256': CERTIFICATE }, iat: NOW - 10, exp: NOW + 3500 });
    const user = UserAssertion.prove(token, { ...PLAIN, certificate: CERTIFICATE }, context(NOW));
    const table = new CountingTable(memory(true));
    const asked: ((seen: number) => void)[] = [];
    const lastActive = () => new Promise<number>((resolve) => asked.push(resolve));
    const idle = new IdleWatch(table, { lastActive, saw: () => undefined });
    const early = idle.requireActive(user, NOW + 2000);
    const late = idle.requireActive(user, NOW + 2001);
    asked[0]?.(NOW + 1500);
    await early;
    table.looked = 0;
    await idle.requireActive(user, NOW + 2001);
    t.equal(table.looked, 1);
    asked[1]?.(NOW + 1500);
    await late;
  },
);

void t.test('activity at one worker is activity at the other', async (t) => {
  const token = await verified({ cnf: { 'x5t#S256': CERTIFICATE }, iat: NOW - 10, exp: NOW + 3500 });
  const shown = { ...PLAIN, certificate: CERTIFICATE };
  const at = (now: number) => UserAssertion.prove(token, shown, context(now));
  const shared = memory(true);
  const [one, other] = [new IdleWatch(new SharedTable(shared)), new IdleWatch(new SharedTable(shared))];
  await one.requireActive(at(NOW + 800), NOW + 800);
  await t.resolves(other.requireActive(at(NOW + 1600), NOW + 1600));
  await t.rejects(one.requireActive(at(NOW + 2501), NOW + 2501), { code: 'assertion.insufficient' });
});

void t.test('sessions are forgotten rather than remembered without end', async (t) => {
  const idle = newWatch();
  const shown = { ...PLAIN, certificate: CERTIFICATE };
  for (const sub of 'abcdefghijklmnopqrst') {
    const token = await verified({ sub, cnf: { 'x5t#S256': CERTIFICATE } });
    await t.resolves(idle.requireActive(UserAssertion.prove(token, shown, context()), NOW));
  }
});

void t.test('time goes on for a token that was verified before', async (t) => {
  const token = await verified({ cnf: { 'x5t#S256': CERTIFICATE } });
  const shown = { ...PLAIN, certificate: CERTIFICATE };
  t.ok(UserAssertion.prove(token, shown, context(NOW + 200)));
  t.throws(() => UserAssertion.prove(token, shown, context(NOW + 230)), { code: 'assertion.time' });
});

void t.test('levels: what was sent how', async (t) => {
  const of = async (changes: Readonly<Record<string, unknown>>, shown: Partial<Shown> = {}) =>
    UserAssertion.prove(await verified(changes), { ...PLAIN, ...shown }, context()).level;
  t.same(await of({}), { ial: 2, aal: 3, fal: 1 });
  t.same(await of({}, { encrypted: true }), { ial: 2, aal: 3, fal: 2 });
  const cnf = { 'x5t#S256': CERTIFICATE };
  t.same(await of({ cnf }, { encrypted: true, certificate: CERTIFICATE }), { ial: 2, aal: 3, fal: 3 });
  t.same(
    await of({ cnf }, { certificate: CERTIFICATE }),
    { ial: 2, aal: 3, fal: 1 },
    'bound, but not encrypted',
  );
  t.same(await of({ acr: 'unheard-of' }), { ial: 0, aal: 0, fal: 1 });
  t.same(await of({ amr: ['pwd'] }), { ial: 2, aal: 1, fal: 1 }, 'the methods bound what the acr says');
});

void t.test('the assertion itself goes along for the peer', async (t) => {
  const jws = await assertion();
  t.equal(UserAssertion.prove(await verified(), PLAIN, context()).jws.split('.')[1], jws.split('.')[1]);
});
