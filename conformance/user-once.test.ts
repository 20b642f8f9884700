import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { formatUser } from '../gateway/message/user-field.ts';
import { CLIENT_ID, SCRIPT_REDIRECT } from '../gateway/sandbox/agency-idp.ts';
import { DpopKey } from '../gateway/sandbox/client/dpop.ts';
import { ask, type Answer } from '../gateway/sandbox/client/http.ts';
import { ScriptedPerson } from '../gateway/sandbox/client/scripted-person.ts';
import { ACR } from '../gateway/sandbox/idp/levels.ts';
import type { SandboxReady } from '../gateway/sandbox/sandbox.ts';
import { openSession } from './harness/link-client.ts';
import { linkRequest, stolenKeys } from './harness/link-request.ts';
import { newFolder, startRoad } from './harness/road.ts';

// What a user showed is used once: over kill -9 of both gateways, and by all workers of one. Sign-ins are real.

t.setTimeout(600_000);

const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const CASES = '/r1/TW/GOV/B07/housing/cases';
const CLIENT = { 'x-road-client': 'TW/GOV/A11/welfare' };

/** Somebody who signs in at the sandbox's provider. */
function personOf(dir: string, { identity }: SandboxReady) {
  if (identity === undefined) throw new Error('the identity provider is not installed');
  const { issuer, resource } = identity;
  const ca = readFileSync(identity.ca, 'utf8');
  const person = new ScriptedPerson('lin.meihua', join(dir, 'lin.json'), { issuer, ca });
  const party = { issuer, ca, clientId: CLIENT_ID.open, redirectUri: SCRIPT_REDIRECT };
  return (key?: DpopKey, ageSeconds = 0): Promise<string> =>
    person.signIn(party, { acr: ACR.aal2, resource }, { key, ageSeconds });
}

const get = ({ consumer }: SandboxReady, fields: Record<string, string>): Promise<Answer> =>
  ask(consumer.url + CASES, { headers: { ...CLIENT, connection: 'close', ...fields } });

/** What a thief with the keys of agency A's gateway sends to the provider's gateway, past its own. */
async function relay(ready: SandboxReady, field: string): Promise<number | undefined> {
  const keys = stolenKeys({ ready } as Parameters<typeof stolenKeys>[0]); // it reads nothing else
  const session = await openSession(ready.provider.link, keys);
  const message = linkRequest(
    { method: 'GET', path: CASES, body: '', fields: { 't-road-user': field } },
    keys,
    Date.now(),
  );
  const { answers } = await session.send(message, 'tidy');
  session.destroy();
  return answers[0]?.status;
}

function kill(t: Test, pid: number): void {
  t.ok(process.kill(pid, 'SIGKILL'), 'no orderly end: only the log remembers');
}

await t.test('assertions and proofs that were used before kill -9 are refused after it', async (t) => {
  const dir = newFolder(t);
  const first = await startRoad(dir, 1);
  const signIn = personOf(dir, first.ready);
  const used = { 't-road-assertion': await signIn() };
  t.equal((await get(first.ready, used)).status, 200);

  const key = DpopKey.create(Date.now);
  const assertion = await signIn(key);
  const url = first.ready.consumer.url + CASES;
  const asked = await get(first.ready, {
    't-road-assertion': assertion,
    dpop: key.proof({ method: 'GET', url, assertion }),
  });
  const nonce = String(asked.headers['dpop-nonce']);
  const proof = key.proof({ method: 'GET', url, assertion, nonce });
  t.equal((await get(first.ready, { 't-road-assertion': assertion, dpop: proof })).status, 200);
  const relayed = formatUser({ jws: await signIn() });
  t.equal(await relay(first.ready, relayed), 200, 'at the provider alone');
  const provedAtProvider = formatUser({ jws: assertion, proof });
  t.equal(await relay(first.ready, provedAtProvider), 401, 'a proof the provider has seen');

  kill(t, first.ready.consumer.pid);
  kill(t, first.ready.provider.pid);
  await first.sandbox.stop().catch(() => undefined); // it says that two were killed
  const { ready, sandbox } = await startRoad(dir, 1);
  t.equal(ready.identity?.issuer, first.ready.identity?.issuer, 'the provider is where it was');
  try {
    const again = await get(ready, used);
    t.equal(again.status, 401);
    t.match(again.body, /used before/);
    t.equal(
      await relay(ready, formatUser({ jws: used['t-road-assertion'] })),
      401,
      'nor past the gateway of A',
    );
    t.equal(await relay(ready, relayed), 401);
    t.equal(await relay(ready, provedAtProvider), 401);
    t.equal((await get(ready, { 't-road-assertion': assertion, dpop: proof })).status, 401);
    t.equal((await get(ready, { 't-road-assertion': await signIn() })).status, 200, 'a new one is taken');
  } finally {
    await sandbox.stop();
  }
});

await t.test('two workers: an assertion, a proof and a sign-out are those of both', async (t) => {
  const dir = newFolder(t);
  const { ready, sandbox, lines } = await startRoad(dir, 2);
  try {
    const signIn = personOf(dir, ready);
    const sixteen = (fields: Record<string, string>): Promise<number[]> =>
      Promise.all(Array.from({ length: 16 }, async () => (await get(ready, fields)).status));
    const once = (statuses: readonly number[], what: string): void => {
      const counts = [200, 401].map((wanted) => statuses.filter((status) => status === wanted).length);
      t.same(counts, [1, 15], what);
    };
    once(await sixteen({ 't-road-assertion': await signIn() }), 'an assertion');

    const key = DpopKey.create(Date.now);
    const assertion = await signIn(key);
    const url = ready.consumer.url + CASES;
    const prove = (nonce?: string): string => key.proof({ method: 'GET', url, assertion, nonce });
    const bound = (dpop: string) => ({ 't-road-assertion': assertion, dpop });
    const nonce = String((await get(ready, bound(prove()))).headers['dpop-nonce']);
    once(await sixteen(bound(prove(nonce))), 'a proof');
    const fresh = await Promise.all(Array.from({ length: 12 }, () => get(ready, bound(prove(nonce)))));
    t.ok(
      fresh.every(({ status }) => status === 200),
      'the nonce of one worker, at both',
    );
    const streams = await Promise.all([1, 2, 3, 4, 5, 6].map(async () => openStream(ready, await signIn())));
    const began = performance.now();
    const args = ['sandbox', 'assertion', '--dir', dir, '--revoke'];
    const { stdout, status, stderr } = await run(args);
    t.equal(status, 0, stderr);
    const effect = 'in effect after \\d+ ms';
    t.match(
      stdout,
      new RegExp(
        `^https://gw.a11.tw.troad.example: ${effect}\nhttps://gw.b07.tw.troad.example: ${effect}\n$`,
      ),
    );
    for (const { ended } of streams) t.equal(await ended, 'broken off');
    t.comment(
      `${stdout.trim()}; all streams ended ${(performance.now() - began).toFixed(0)} ms after the command began`,
    );
    const old = await Promise.all(Array.from({ length: 8 }, () => signIn(undefined, 60)));
    const refused = await Promise.all(old.map((each) => get(ready, { 't-road-assertion': each })));
    t.ok(
      refused.every((answer) => answer.status === 401),
      'a sign-in of before, at both workers',
    );
  } finally {
    await sandbox.stop();
  }
  const served = lines.flatMap(({ agency, line }) =>
    agency.includes('a11') && line.event === 'exchange.completed' ? [line['worker']] : [],
  );
  t.same(
    [...new Set(served)].map(Number).toSorted((a, b) => a - b),
    [1, 2],
    'both workers served',
  );
});

await t.test('troad sandbox assertion --revoke: other reasons, and none', async (t) => {
  const dir = newFolder(t);
  const { ready, sandbox } = await startRoad(dir, 1);
  try {
    const signIn = personOf(dir, ready);
    for (const type of ['credential-change', 'device-compliance-change']) {
      const { ended } = await openStream(ready, await signIn());
      const { status, stderr } = await run(['sandbox', 'assertion', '--dir', dir, '--revoke', type]);
      t.equal(status, 0, stderr);
      t.equal(await ended, 'broken off', type);
      await untilNextSecond();
    }
    const { status, stderr } = await run(['sandbox', 'assertion', '--dir', dir, '--revoke', 'because']);
    t.equal(status, 1);
    t.match(stderr, /expected session-revoked, credential-change, device-compliance-change/);
    t.equal(
      (await get(ready, { 't-road-assertion': await signIn() })).status,
      200,
      'who signs in again is in',
    );
  } finally {
    await sandbox.stop();
  }
});

/** `troad …`; not awaited by blocking: the provider answers from this very process. */
function run(args: readonly string[]): Promise<{ stdout: string; stderr: string; status: number }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], (error, stdout, stderr) => {
      resolve({ stdout, stderr, status: error === null ? 0 : 1 });
    });
  });
}

/** Times of sign-ins are whole seconds: one of the second in which a session ended is over, too. */
function untilNextSecond(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1010 - (Date.now() % 1000)));
}

/** Resolves when the first event was there. */
function openStream(
  { consumer }: SandboxReady,
  assertion: string,
): Promise<{ readonly ended: Promise<string> }> {
  return new Promise((resolve, reject) => {
    const headers = { ...CLIENT, 't-road-assertion': assertion };
    request(
      `${consumer.url}/r1/TW/GOV/B07/housing/events?count=2000&ms=50`,
      { headers, agent: false },
      (answer) => {
        const ended = new Promise<string>((end) => {
          answer.on('end', () => end('whole'));
          answer.on('error', () => end('broken off'));
        });
        answer.once('data', () => resolve({ ended }));
      },
    )
      .on('error', reject)
      .end();
  });
}
