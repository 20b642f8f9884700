import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { findEpochs } from '../gateway/audit/folder.ts';
import { forEachRecord, partClassesOf, readCore } from '../gateway/audit/records.ts';
import type { StepReport } from '../gateway/audit/report.ts';
import { parseTrustFile } from '../gateway/audit/trust-file.ts';
import { auditLogs } from '../gateway/audit/verify.ts';
import { nodeStorage } from '../gateway/evidence/node-storage.ts';
import { CLIENT_ID, SCRIPT_REDIRECT } from '../gateway/sandbox/agency-idp.ts';
import { DpopKey } from '../gateway/sandbox/client/dpop.ts';
import { GatewayClient, stepUpOf, type Credential } from '../gateway/sandbox/client/gateway-client.ts';
import { ask, type Answer } from '../gateway/sandbox/client/http.ts';
import type { RelyingParty } from '../gateway/sandbox/client/relying-party.ts';
import { ScriptedPerson } from '../gateway/sandbox/client/scripted-person.ts';
import { ACR, LADDER, type Acr } from '../gateway/sandbox/idp/levels.ts';
import { personOf } from '../gateway/sandbox/idp/people.ts';
import { startSandbox } from './harness/sandbox.ts';

const CLI = fileURLToPath(new URL('../gateway/cli.ts', import.meta.url));
const HOUSING = '/r1/TW/GOV/B07/housing';
const CASES = `${HOUSING}/cases`;
const HOUSEHOLD = `${HOUSING}/registry/households/H-63-000417`;

const dir = t.testdir();
const sandbox = await startSandbox(dir);
t.teardown(() => sandbox.stop());
const { consumer, identity, service } = sandbox.ready;
if (identity === undefined) throw new Error('the identity provider is not installed');
const ends = identity;
const ca = readFileSync(ends.ca, 'utf8');
const certificate = {
  cert: readFileSync(consumer.clientCert, 'utf8'),
  key: readFileSync(consumer.clientKey, 'utf8'),
};
const person = new ScriptedPerson('lin.meihua', join(dir, 'lin.json'), { issuer: ends.issuer, ca });
const party: RelyingParty = {
  issuer: ends.issuer,
  ca,
  clientId: CLIENT_ID.open,
  redirectUri: SCRIPT_REDIRECT,
};
const client = 'TW/GOV/A11/welfare';
const http = new GatewayClient({ url: consumer.url, client });
const https = new GatewayClient({ url: consumer.tlsUrl, client, ca, certificate });
/** Everything that was presented: none of it may show up in a log line. */
const presented: string[] = [];

interface Made {
  readonly acr?: Acr;
  readonly key?: DpopKey;
  readonly sealed?: true;
  readonly ageSeconds?: number;
}

async function signIn({ acr = ACR.aal2, key, sealed, ageSeconds }: Made = {}): Promise<Credential> {
  const resource = sealed === true ? ends.sealedResource : ends.resource;
  const assertion = await person.signIn(
    party,
    { acr, resource },
    { key, ...(ageSeconds !== undefined && { ageSeconds }) },
  );
  presented.push(assertion);
  return { assertion, key };
}

const SUBJECT = personOf('lin.meihua')?.subject ?? '';
const newKey = (): DpopKey => DpopKey.create(Date.now);
const served = async (): Promise<unknown> => JSON.parse((await ask(`${service.url}/__seen`)).body);

/** Every refusal of this file is the gateway's: the service must not hear of it. */
async function refused(t: Test, what: string, call: () => Promise<Answer>, status = 401): Promise<Answer> {
  const before = await served();
  const answer = await call();
  t.equal(answer.status, status, `${what}: ${answer.body}`);
  t.same(await served(), before, `${what}: the service heard nothing`);
  return answer;
}

void t.test('without an assertion: refused, and told what is wanted', async (t) => {
  const answer = await refused(t, 'cases', () => http.call('GET', CASES));
  t.match(stepUpOf(answer), { error: undefined, acr: `${ACR.aal2} ${ACR.aal3}`, maxAgeSeconds: 28_800 });
  const strict = await refused(t, 'registry', () => http.call('GET', HOUSEHOLD));
  t.match(stepUpOf(strict), { acr: ACR.aal3, maxAgeSeconds: 900 });
  const echo = await http.call('GET', `${HOUSING}/echo/x`);
  t.equal(echo.status, 200, 'systems talk to systems where the agreement says so');
});

void t.test('step-up: who follows the challenge succeeds', async (t) => {
  const weak = await signIn({ acr: ACR.aal1 });
  const answer = await refused(t, 'AAL1', () => http.call('GET', CASES, weak));
  const stepUp = stepUpOf(answer);
  t.equal(stepUp?.error, 'insufficient_user_authentication');
  const acr = LADDER.find((rung) => stepUp?.acr?.split(' ').includes(rung));
  t.equal(acr, ACR.aal2);
  const strong = await http.call('GET', CASES, await signIn({ ...(acr !== undefined && { acr }) }));
  t.equal(strong.status, 200, strong.body);
  t.match(JSON.parse(strong.body), [{ case: 'T-2026-001' }]);
});

void t.test('too old: refused, and a newer sign-in succeeds', async (t) => {
  const old = await signIn({ ageSeconds: 9 * 3600 });
  const answer = await refused(t, '9 hours', () => http.call('GET', CASES, old));
  t.match(stepUpOf(answer), { error: 'insufficient_user_authentication', maxAgeSeconds: 28_800 });
  t.equal((await http.call('GET', CASES, await signIn({ ageSeconds: 7 * 3600 }))).status, 200);
});

void t.test('an assertion that nothing binds is good once', async (t) => {
  const loose = await signIn();
  t.equal((await http.call('GET', CASES, loose)).status, 200);
  await refused(t, 'replayed', () => http.call('GET', CASES, loose));
});

void t.test('a bound one is good again, with a fresh proof each time', async (t) => {
  const key = newKey();
  const bound = await signIn({ key });
  for (const _ of [1, 2, 3]) t.equal((await http.call('GET', CASES, bound)).status, 200);
  await refused(t, 'without a proof', () => http.call('GET', CASES, { assertion: bound.assertion }));
  await refused(t, 'proof of another key', () => http.call('GET', CASES, { ...bound, key: newKey() }));

  const url = consumer.url + CASES;
  const headers = { 'x-road-client': client, 't-road-assertion': bound.assertion };
  const send = (dpop: string, to = url): Promise<Answer> => ask(to, { headers: { ...headers, dpop } });
  const nonce = String(
    (await send(key.proof({ method: 'GET', url, assertion: bound.assertion }))).headers['dpop-nonce'],
  );
  const { assertion } = bound;
  const proof = key.proof({ method: 'GET', url, assertion, nonce });
  t.equal((await send(proof)).status, 200);
  await refused(t, 'the same proof', () => send(proof));
  await refused(t, 'proof for POST', () => send(key.proof({ method: 'POST', url, assertion, nonce })));
  await refused(t, 'proof for elsewhere', () =>
    send(key.proof({ method: 'GET', url, assertion, nonce }), `${url}/T-2026-001`),
  );
  await refused(t, 'no ath', () => send(key.proof({ method: 'GET', url, nonce })));
  await refused(t, 'a nonce of its own', () =>
    send(key.proof({ method: 'GET', url, assertion, nonce: 'n'.repeat(22) })),
  );
});

void t.test('AAL3, encrypted, with proof of possession: nothing less', async (t) => {
  const key = newKey();
  const full: Made = { acr: ACR.aal3, key, sealed: true };
  const { key: _, ...unbound } = full;
  const { sealed: __, ...open } = full;
  const insufficient = 'insufficient_user_authentication';
  const nearMisses: readonly (readonly [
    what: string,
    made: Made,
    error: string | undefined,
    message: RegExp,
  ])[] = [
    ['AAL2', { ...full, acr: ACR.aal2 }, insufficient, /level|strong|weak/i],
    ['too old', { ...full, ageSeconds: 1000 }, insufficient, /ago|old|age/i],
    ['not encrypted', open, 'invalid_token', /encrypt/i],
    ['not bound', unbound, 'invalid_token', /proof|bound/i],
  ];
  for (const [what, made, error, message] of nearMisses) {
    const answer = await refused(t, what, async () => http.call('GET', HOUSEHOLD, await signIn(made)));
    t.equal(stepUpOf(answer)?.error, error, what);
    t.match(answer.body, message, what);
  }
  const answer = await http.call('GET', HOUSEHOLD, await signIn(full));
  t.equal(answer.status, 200, answer.body);
  t.match(JSON.parse(answer.body), { household: 'H-63-000417', head: '張大同' });
});

void t.test('bound to a certificate: good where TLS proves it', async (t) => {
  const mtls: RelyingParty = { ...party, clientId: CLIENT_ID.certificate, certificate };
  const assertion = await person.signIn(mtls, { acr: ACR.aal3, resource: ends.resource });
  presented.push(assertion);
  t.equal((await https.call('GET', CASES, { assertion })).status, 200);
  t.equal((await https.call('GET', CASES, { assertion })).status, 200, 'again');
  await refused(t, 'without TLS', () => http.call('GET', CASES, { assertion }));
});

void t.test('a changed assertion, or none of ours', async (t) => {
  const { assertion } = await signIn();
  const [header = '', payload = '', signature = ''] = assertion.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  const risen = Buffer.from(JSON.stringify({ ...claims, acr: ACR.aal3 })).toString('base64url');
  await refused(t, 'acr raised', () =>
    http.call('GET', CASES, { assertion: `${header}.${risen}.${signature}` }),
  );
  await refused(t, 'no signature', () => http.call('GET', CASES, { assertion: `${header}.${payload}.` }));
  await refused(t, 'no token', () => http.call('GET', CASES, { assertion: 'hello' }));
  t.equal((await http.call('GET', CASES, { assertion })).status, 200, 'the right one was not used up');
});

/** `troad …` as somebody types it. */
const troad = async (...args: string[]): Promise<{ out: string; status: number | null; err: string }> => {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null]>, // the event's arguments
  ]);
  return { out, err, status };
};

void t.test('troad sandbox assertion: for scripts and curl', async (t) => {
  const assertion = (...args: string[]): ReturnType<typeof troad> =>
    troad('sandbox', 'assertion', '--dir', dir, ...args);
  const headersOf = (out: string): Record<string, string> =>
    Object.fromEntries(
      out
        .trimEnd()
        .split('\n')
        .map((line) => line.split(': ', 2) as [string, string]),
    );
  const get = (url: string, headers: Record<string, string>): Promise<Answer> =>
    ask(url, { headers: { 'x-road-client': client, ...headers } });

  const plain = await assertion();
  t.equal(plain.status, 0, plain.err);
  t.match(plain.out, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  t.equal((await get(consumer.url + CASES, { 't-road-assertion': plain.out.trim() })).status, 200);

  const url = consumer.url + HOUSEHOLD;
  const keyFile = join(dir, 'dpop.pem');
  const strong = ['--subject', 'chen.zhiming', '--acr', 'aal3', '--encrypt', '--dpop-key', keyFile];
  const proof = ['--dpop-proof', 'GET', url];
  const both = await assertion(...strong, '--headers', ...proof);
  t.equal((await get(url, headersOf(both.out))).status, 200, both.err);
  t.equal(statSync(keyFile).mode & 0o777, 0o600);

  const bound = (await assertion(...strong)).out.trim();
  const alone = await assertion('--dpop-key', keyFile, '--assertion', bound, ...proof);
  t.equal((await get(url, { 't-road-assertion': bound, dpop: alone.out.trim() })).status, 200, alone.err);

  const old = await assertion('--age', '13h');
  t.equal((await get(consumer.url + CASES, { 't-road-assertion': old.out.trim() })).status, 401);
  const mtls = await assertion('--certificate');
  t.equal((await https.call('GET', CASES, { assertion: mtls.out.trim() })).status, 200);
  presented.push(plain.out, bound, old.out, mtls.out);

  for (const [args, why] of [
    [['--subject', 'nobody'], /nobody of that name/],
    [['--acr', 'aal9'], /expected aal1, aal2, aal3/],
    [['--age', 'yesterday'], /Expected 90/],
    [['--dpop-proof', 'GET', url], /needs METHOD, URL and --dpop-key/],
    [['--certificate', '--dpop-key', keyFile], /choose one/],
  ] as const) {
    const { status, err, out } = await assertion(...args);
    t.not(status, 0);
    t.match(err, why);
    t.equal(out, '');
  }
  const nowhere = await troad('sandbox', 'assertion', '--dir', join(dir, 'nowhere'));
  t.match(nowhere.err, /no sandbox is running/);
  t.equal(nowhere.status, 1);
});

void t.test('the auditor sees how the user was shown, not who it is', async (t) => {
  const key = newKey();
  const read = await http.call('GET', HOUSEHOLD, await signIn({ acr: ACR.aal3, key, sealed: true }));
  const exchange = String(read.headers['x-road-request-id']);
  const logs = ['--log', consumer.log, '--log', sandbox.ready.provider.log, '--trust', sandbox.ready.trust];
  const { out, status } = await troad('audit', 'show', exchange, ...logs);
  t.equal(status, 0, out);
  // Four records, two of each gateway, and each gateway checked for itself.
  const told = out.match(
    /user +of https:\/\/localhost:\d+, IAL2 AAL3 FAL3 \(urn:troad:aal3; hwk pin user mfa\)/g,
  );
  t.equal(told?.length, 4, out);
  t.notOk(out.includes(SUBJECT));
});

void t.test('no log line holds an assertion', async (t) => {
  const streamed = await signIn({ key: newKey() });
  const body = 'x'.repeat(100_000);
  t.equal(
    (await http.call('POST', `${HOUSING}/echo/x`, streamed, body)).status,
    200,
    'a stream, for the logs',
  );
  await sandbox.stop();
  const written = sandbox.output.join('\n');
  t.ok(presented.length > 10);
  t.ok(written.includes('exchange'));
  for (const assertion of presented) {
    for (const part of assertion.trim().split('.')) {
      // Heads of tokens are the same for all and tell nothing.
      if (part.length > 40) t.notOk(written.includes(part));
    }
  }
  t.notOk(written.includes(SUBJECT));
});

void t.test('in both signed logs an assertion goes with the key of class subject', async (t) => {
  const storage = nodeStorage();
  const trust = parseTrustFile(readFileSync(sandbox.ready.trust, 'utf8'));
  for (const { log } of [consumer, sandbox.ready.provider]) {
    const users: string[] = [];
    const others: string[] = [];
    const signed: string[] = [];
    for (const epoch of await findEpochs(storage, log)) {
      await forEachRecord(storage, epoch, ({ bytes, parts }) => {
        const core = readCore(bytes);
        others.push(bytes.toString());
        for (const partClass of partClassesOf(core)) {
          const opened = parts.open(core, partClass).toString();
          (partClass === 'subject' ? users : others).push(opened);
          if (partClass === 'subject' && 'sig' in core) signed.push(`${core.k} ${core.mode}`);
        }
      });
    }
    t.ok(users.length > 10);
    for (const kind of ['req.final full', 'open stream', 'req.final stream'])
      t.ok(signed.includes(kind), kind);
    // Payload and signature of each assertion and proof; heads are the same for all and tell nothing.
    const pieces = users.flatMap((user) =>
      Array.from(user.matchAll(/"[\w-]+\.([\w-]+)\.([\w-]+)"/g), ([, ...both]) => both).flat(),
    );
    t.ok(pieces.length >= 2 * users.length);
    const rest = others.join('\n');
    for (const piece of new Set(pieces)) t.notOk(rest.includes(piece));
    t.ok(rest.includes('"t-road-user": \n'), 'the line of it stays');

    const steps = async (): Promise<readonly StepReport[]> => {
      const { result, logs } = await auditLogs({ storage, logs: [log], trust, deep: true });
      t.equal(result, 'good');
      return logs.flatMap((one) => one.steps.filter(({ name }) => name === 'message signatures verify'));
    };
    const before = await steps();
    t.match(before, [{ status: 'pass', notCheckable: 0 }]);
    for (const name of readdirSync(`${log}/keys`))
      if (name.startsWith('subject-')) rmSync(`${log}/keys/${name}`);
    const [after] = await steps();
    const { length } = signed;
    t.match(after, { notCheckable: length, left: [{ why: /subject/, count: length }] });
    t.equal(after?.checked, Number(before[0]?.checked) - length, 'all others');
  }
});
