import {
  createPrivateKey,
  createPublicKey,
  createHash,
  randomBytes,
  sign,
  type KeyObject,
} from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startSandbox } from './harness/sandbox.ts';

// Shared signals against two real gateways: the next request and the running stream of a subject end; how long it took is
// measured. What the identity provider would sign is signed here with its key.

const HOUSING = '/r1/TW/GOV/B07/housing';
const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
/** From the transmitter's POST to the client's broken stream; generous for a busy machine. */
const EFFECT_MS = 30_000;

// Not tap's own folder: that may be gone before the gateways have closed their logs in it.
const dir = mkdtempSync(join(tmpdir(), 'troad-signals-'));
const sandbox = await startSandbox(dir);
t.teardown(async () => {
  await sandbox.stop();
  rmSync(dir, { recursive: true, force: true });
});
const { consumer, provider, identity } = sandbox.ready;
if (identity === undefined) throw new Error('the identity provider is not installed');
const { issuer, resource: audience } = identity;
const key = createPrivateKey(readFileSync(join(dir, 'agencies', 'a11-idp', 'signing.key')));
const kid = createHash('sha256')
  .update(createPublicKey(key).export({ type: 'spki', format: 'der' }))
  .digest('base64url');
const now = (): number => Math.floor(Date.now() / 1000);
const unique = (): string => randomBytes(16).toString('base64url');

function jws(typ: string, claims: object, signer: KeyObject = key): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${part({ alg: 'ES256', kid, typ })}.${part(claims)}`;
  return `${input}.${sign('sha256', Buffer.from(input), { key: signer, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

function assertion(sub: string, changes: object = {}): string {
  const at = now();
  return jws('at+jwt', {
    iss: issuer,
    sub,
    aud: audience,
    iat: at,
    exp: at + 200,
    auth_time: at,
    jti: unique(),
    acr: 'urn:troad:aal2',
    amr: ['pwd', 'otp'],
    ...changes,
  });
}

function event(sub: string, type = 'session-revoked', content: object = {}, more: object = {}): string {
  return jws('secevent+jwt', {
    iss: issuer,
    iat: now(),
    jti: unique(),
    aud: audience,
    sub_id: { format: 'iss_sub', iss: issuer, sub },
    events: { [CAEP + type]: content },
    ...more,
  });
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly challenge: string | undefined;
}

function get(path: string, token: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'x-road-client': 'TW/GOV/A11/welfare', 't-road-assertion': token };
    const outgoing = request(consumer.url + HOUSING + path, { headers }, (answer) => {
      let body = '';
      answer.setEncoding('utf8');
      answer.on('data', (text: string) => (body += text));
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, body, challenge: answer.headers['www-authenticate'] }),
      );
      answer.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

async function push(set: string, url = consumer.signals, type = 'application/secevent+jwt'): Promise<Answer> {
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': type }, body: set });
  return { status: answer.status, body: await answer.text(), challenge: undefined };
}

/** An event stream of a user. `ended` tells when and how it was broken off. */
function stream(
  token: string,
): Promise<{ readonly ended: Promise<{ at: number; clean: boolean }>; events: () => number }> {
  return new Promise((resolve, reject) => {
    const headers = { 'x-road-client': 'TW/GOV/A11/welfare', 't-road-assertion': token };
    let events = 0;
    const outgoing = request(`${consumer.url}${HOUSING}/events?count=1000&ms=50`, { headers }, (answer) => {
      const ended = new Promise<{ at: number; clean: boolean }>((end) => {
        answer.on('end', () => end({ at: performance.now(), clean: true }));
        answer.on('error', () => end({ at: performance.now(), clean: false }));
      });
      answer.on('data', () => {
        events += 1;
        if (events === 3) resolve({ ended, events: () => events });
      });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

void t.test('a session that ends takes its running stream along, and the next request', async (t) => {
  const { ended } = await stream(assertion('zhao'));
  const other = await stream(assertion('qian'));
  const kept = assertion('zhao');
  const began = performance.now();
  t.equal((await push(event('zhao'))).status, 202);
  const acknowledged = performance.now();
  const { at, clean } = await ended;
  t.notOk(clean, 'broken off, never a tidy end');
  t.ok(at - began < EFFECT_MS, `stream ended ${(at - began).toFixed(1)} ms after the event was sent`);
  t.comment(
    `stream ended after ${(at - began).toFixed(1)} ms, acknowledged after ${(acknowledged - began).toFixed(1)} ms`,
  );
  const next = await get('/cases', kept);
  t.equal(next.status, 401, 'an assertion from before is no use any more');
  t.match(next.body, /身分提供者|ended this session/);
  const before = other.events();
  while (other.events() === before) await new Promise((resolve) => setTimeout(resolve, 20));
  t.pass("another user's stream goes on");
  await new Promise((resolve) => setTimeout(resolve, 1100)); // a new authentication is in a later second
  t.equal((await get('/cases', assertion('zhao'))).status, 200, 'who signs in again is in again');
  t.equal((await push(event('qian', 'credential-change', { change_type: 'revoke' }))).status, 202);
  t.notOk((await other.ended).clean);
});

void t.test('an assurance level that falls ends what rests on it; one that rises does not', async (t) => {
  const token = assertion('sun', { auth_time: now() - 60 });
  await push(event('sun', 'assurance-level-change', { change_direction: 'increase' }));
  t.equal((await get('/cases', token)).status, 200);
  await push(event('sun', 'assurance-level-change', { change_direction: 'decrease' }));
  t.equal((await get('/cases', assertion('sun', { auth_time: now() - 60 }))).status, 401);
});

void t.test(
  'what is no event of ours is refused with the codes of RFC 8935, and changes nothing',
  async (t) => {
    const refused = async (what: string, set: string, status: number, err?: string): Promise<void> => {
      const answer = await push(set);
      t.equal(answer.status, status, what);
      if (err !== undefined) t.match(JSON.parse(answer.body), { err }, what);
    };
    const token = (): string => assertion('li', { auth_time: now() - 60 });
    const { privateKey: stranger } = await import('node:crypto').then((c) =>
      c.generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    );
    const claims = {
      iss: issuer,
      iat: now(),
      jti: unique(),
      aud: audience,
      sub_id: { format: 'iss_sub', iss: issuer, sub: 'li' },
      events: { [`${CAEP}session-revoked`]: {} },
    };
    await refused("a stranger's", jws('secevent+jwt', claims, stranger), 400, 'invalid_key');
    await refused('an assertion', token(), 400, 'invalid_request');
    await refused(
      'another issuer',
      event('li', 'session-revoked', {}, { iss: 'https://evil.example' }),
      400,
      'invalid_issuer',
    );
    await refused(
      'another audience',
      event('li', 'session-revoked', {}, { aud: 'https://gw.b07.tw.troad.example' }),
      400,
      'invalid_audience',
    );
    await refused(
      'with exp',
      event('li', 'session-revoked', {}, { exp: now() + 60 }),
      400,
      'invalid_request',
    );
    await refused('too long', 'A'.repeat(20_000), 413);
    t.equal((await push(event('li'), consumer.signals, 'application/json')).status, 415);
    t.equal((await fetch(consumer.signals)).status, 405);
    t.equal((await fetch(new URL('/', consumer.signals))).status, 404);
    t.equal((await get('/cases', token())).status, 200, 'she is still in');
  },
);

void t.test("the provider's gateway takes events of its peers' identity providers, too", async (t) => {
  const { ended } = await stream(assertion('zhou'));
  const set = event('zhou', 'session-revoked', {}, { aud: 'https://gw.b07.tw.troad.example' });
  t.equal((await push(set, provider.signals)).status, 202);
  t.notOk((await ended).clean);
  t.equal(
    (await get('/cases', assertion('zhou', { auth_time: now() - 60 }))).status,
    401,
    'refused by the provider',
  );
});

void t.test('nobody is named in a log line', async (t) => {
  // As a word: the letters alone come by chance in some random id.
  for (const name of ['zhao', 'qian', 'zhou'])
    t.notMatch(sandbox.output.join('\n'), new RegExp(`\\b${name}\\b`), name);
});
