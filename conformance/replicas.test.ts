import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CLIENT_ID, SCRIPT_REDIRECT } from '../gateway/sandbox/agency-idp.ts';
import { DpopKey } from '../gateway/sandbox/client/dpop.ts';
import { GatewayClient } from '../gateway/sandbox/client/gateway-client.ts';
import { ask, type Answer } from '../gateway/sandbox/client/http.ts';
import { ScriptedPerson } from '../gateway/sandbox/client/scripted-person.ts';
import { ACR } from '../gateway/sandbox/idp/levels.ts';
import { personOf } from '../gateway/sandbox/idp/people.ts';
import { startStore, storeMissing, type Store } from './builders/store.ts';
import { openSession } from './harness/link-client.ts';
import { linkRequest, stolenKeys, type LinkRequest } from './harness/link-request.ts';
import { readiness, startReplica, type Replica } from './harness/replica.ts';
import { newFolder, startRoad } from './harness/road.ts';

// Two processes are one gateway: what was used at one is used at the other. Real gateways, a real store.

t.setTimeout(600_000);

const CLIENT = 'TW/GOV/A11/welfare';
const HOUSING = '/r1/TW/GOV/B07/housing';
const CASES = `${HOUSING}/cases`;

await t.test('replicas of one gateway', { skip: storeMissing }, async (t) => {
  const dir = newFolder(t);
  const persistent = ['--appendonly', 'yes', '--appendfsync', 'always'];
  let store: Store = await startStore({ dir: join(dir, 'store'), more: persistent });
  const { sandbox, ready } = await startRoad(dir, 1);
  const started: Replica[] = [];
  const replica = async (agency: 'a11' | 'b07', number: number): Promise<Replica> => {
    const one = await startReplica({ dir, agency, number, storePort: store.port });
    started.push(one);
    return one;
  };
  try {
    const [a1, a2, b1, b2] = await Promise.all([
      replica('a11', 1),
      replica('a11', 2),
      replica('b07', 1),
      replica('b07', 2),
    ]);
    const running = new Set([a1, a2, b1, b2]);
    const { identity } = ready;
    if (identity === undefined) throw new Error('the identity provider is not installed');
    const { issuer } = identity;
    const ca = readFileSync(identity.ca, 'utf8');
    const person = new ScriptedPerson('lin.meihua', join(dir, 'lin.json'), { issuer, ca });
    const party = { issuer, ca, clientId: CLIENT_ID.open, redirectUri: SCRIPT_REDIRECT };
    const signIn = (key?: DpopKey): Promise<string> =>
      person.signIn(party, { acr: ACR.aal2, resource: identity.resource }, { key });
    const at = ({ url }: Replica): GatewayClient => new GatewayClient({ url, client: CLIENT });

    await t.test('a message is taken by one of them', async (t) => {
      const keys = stolenKeys({ ready } as Parameters<typeof stolenKeys>[0]); // it reads nothing else
      const send = async ({ link }: Replica, message: LinkRequest): Promise<number | undefined> => {
        const session = await openSession(link, keys);
        const { answers } = await session.send(message, 'tidy');
        session.destroy();
        return answers[0]?.status;
      };
      const message = linkRequest({}, keys, Date.now());
      t.equal(await send(b1, message), 200);
      t.equal(await send(b2, message), 409);
      t.equal(await send(b1, message), 409);
      const copies = linkRequest({}, keys, Date.now());
      const each = await Promise.all([b1, b2, b1, b2, b1, b2].map((to) => send(to, copies)));
      t.same(
        each.toSorted((a = 0, b = 0) => a - b),
        [200, 409, 409, 409, 409, 409],
        'of copies that arrive together one passes',
      );
    });

    await t.test('an assertion that nothing binds is good once, at all of them together', async (t) => {
      const assertion = await signIn();
      t.equal((await at(a1).call('GET', CASES, { assertion })).status, 200);
      const replayed = await at(a2).call('GET', CASES, { assertion });
      t.equal(replayed.status, 401);
      t.match(replayed.body, /assertion\.replayed|used before/);
      t.match(replayed.headers['www-authenticate'], /error="invalid_token"/);
    });

    await t.test('a proof is good once, a nonce of one is good at the other', async (t) => {
      const key = DpopKey.create(Date.now);
      const assertion = await signIn(key);
      // For the proxy's name that both replicas are called by.
      const url = `http://localhost${CASES}`;
      const send = ({ url: base }: Replica, dpop: string): Promise<Answer> =>
        ask(base + CASES, {
          headers: { host: 'localhost', 'x-road-client': CLIENT, 't-road-assertion': assertion, dpop },
        });
      const first = await send(a1, key.proof({ method: 'GET', url, assertion }));
      t.equal(first.status, 401);
      const nonce = String(first.headers['dpop-nonce']);
      const proof = key.proof({ method: 'GET', url, assertion, nonce });
      const good = await send(a2, proof);
      t.equal(good.status, 200, `the nonce of the first, at the second: ${good.body}`);
      const replayed = await send(a1, proof);
      t.equal(replayed.status, 401);
      t.match(replayed.headers['www-authenticate'], /error="invalid_dpop_proof"/);
      t.equal(
        (await send(a1, key.proof({ method: 'GET', url, assertion, nonce }))).status,
        200,
        'a fresh one',
      );
    });

    await t.test('a session that has ended has ended at all of them', async (t) => {
      const subject = personOf('lin.meihua')?.subject ?? '';
      const { ended } = await openStream(a2, await signIn());
      const began = performance.now();
      const set = sessionRevoked(dir, identity.issuer, identity.resource, subject);
      const answer = await fetch(a1.signals, {
        method: 'POST',
        headers: { 'content-type': 'application/secevent+jwt' },
        body: set,
      });
      t.equal(answer.status, 202);
      t.equal(await ended, 'broken off', 'what runs at the other replica');
      t.comment(
        `told to one replica, the stream at the other ended after ${(performance.now() - began).toFixed(1)} ms`,
      );

      await kill(t, a2);
      running.delete(a2);
      const again = await a2.again();
      running.add(again);
      started.push(again);
      const old = await person.signIn(
        party,
        { acr: ACR.aal2, resource: identity.resource },
        { ageSeconds: 60 },
      );
      for (const each of [a1, again])
        t.equal((await at(each).call('GET', CASES, { assertion: old })).status, 401);
      t.match(again.lines.join('\n'), /identity\.signal|gateway\.started/);
    });

    await t.test('without the store nothing is carried, and they say why', async (t) => {
      store.child.kill('SIGKILL');
      await store.stop();
      for (const each of running) t.match(await readiness(each, 503), /store of the replicas/);
      const answer = await at(a1).call('GET', `${HOUSING}/echo/x`);
      t.equal(answer.status, 503);
      t.match(answer.body, /replicas of the gateway share/);
      store = await startStore({ dir: join(dir, 'store'), port: store.port, more: persistent });
      for (const each of running) await readiness(each, 200);
      t.equal((await at(a1).call('GET', `${HOUSING}/echo/x`)).status, 200);
      t.ok(a1.lines.some((line) => line.includes('"replicas.unavailable"')));
      t.ok(a1.lines.some((line) => line.includes('"replicas.available"')));
    });
  } finally {
    const ends = await Promise.allSettled(started.map(({ process: one }) => one.stop()));
    t.equal(ends.filter(({ status }) => status === 'rejected').length, 0, 'all end in order');
    await sandbox.stop();
    await store.stop();
  }
});

async function kill(t: Test, { process: gateway }: Replica): Promise<void> {
  process.kill(gateway.pid, 'SIGKILL');
  t.match(await gateway.unexpectedEnd, /SIGKILL/);
}

/** Resolves when the first events were there. */
async function openStream({ url }: Replica, assertion: string): Promise<{ readonly ended: Promise<string> }> {
  const opened = Promise.withResolvers<{ readonly ended: Promise<string> }>();
  const headers = { 'x-road-client': CLIENT, 't-road-assertion': assertion };
  request(`${url}${HOUSING}/events?count=2000&ms=50`, { headers }, (answer) => {
    const ended = new Promise<string>((resolve) => {
      answer.on('end', () => resolve('whole'));
      answer.on('error', () => resolve('broken off'));
    });
    answer.once('data', () => opened.resolve({ ended }));
  })
    .on('error', opened.reject)
    .end();
  return opened.promise;
}

function sessionRevoked(dir: string, issuer: string, audience: string, sub: string): string {
  const key = createPrivateKey(readFileSync(join(dir, 'agencies', 'a11-idp', 'signing.key')));
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const kid = createHash('sha256').update(spki).digest('base64url');
  const claims = {
    iss: issuer,
    iat: Math.floor(Date.now() / 1000),
    jti: randomBytes(16).toString('base64url'),
    aud: audience,
    sub_id: { format: 'iss_sub', iss: issuer, sub },
    events: { 'https://schemas.openid.net/secevent/caep/event-type/session-revoked': {} },
  };
  const parts = [{ alg: 'ES256', kid, typ: 'secevent+jwt' }, claims];
  const input = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}
