// The scenario policies (policies/examples) in two real gateways: of each a call that is allowed and one that is refused.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CLIENT_ID, SCRIPT_REDIRECT } from '../gateway/sandbox/agency-idp.ts';
import { DpopKey } from '../gateway/sandbox/client/dpop.ts';
import { GatewayClient, stepUpOf, type Credential } from '../gateway/sandbox/client/gateway-client.ts';
import { ask, type Answer } from '../gateway/sandbox/client/http.ts';
import { ScriptedPerson } from '../gateway/sandbox/client/scripted-person.ts';
import { ACR, type Acr } from '../gateway/sandbox/idp/levels.ts';
import { swtpmMissing } from './builders/swtpm.ts';
import { LogTail } from './harness/log-tail.ts';
import { PLAIN_NODE } from './harness/plain-node.ts';
import { startSandboxUnder } from './harness/sandbox.ts';

t.setTimeout(600_000);
const folder = mkdtempSync(join(tmpdir(), 'troad-scenarios-'));
const options = swtpmMissing === false ? [] : ['--no-devices'];
const sandbox = await startSandboxUnder(PLAIN_NODE, join(folder, 'sandbox'), '--scenarios', ...options);
const { consumer, device, identity, service } = sandbox.ready;
const HOUSING = '/r1/TW/GOV/B07/housing';
const HOUSEHOLD = '/household/households/H-63-000417';
const headers = { 'x-road-client': 'TW/GOV/A11/welfare', accept: 'application/problem+json' };

const call = (method: string, path: string, body?: string): Promise<Answer> =>
  ask(`${consumer.url}${HOUSING}${path}`, {
    method,
    headers: { ...headers, ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }) },
    ...(body !== undefined && { body }),
  });
const served = async (): Promise<unknown> => JSON.parse((await ask(`${service.url}/__seen`)).body);

async function refused(t: Test, reason: string, send: () => Promise<Answer>, status = 403): Promise<Answer> {
  const before = await served();
  const answer = await send();
  t.equal(answer.status, status, answer.body);
  t.match(await lastReasons(), [reason], reason);
  t.same(await served(), before, 'the service heard nothing');
  return answer;
}

/** What the consumer's gateway recorded of its last refusal. */
async function lastReasons(): Promise<readonly string[]> {
  const records = await new LogTail(consumer.log).records();
  const denied = records.findLast(({ k }) => k === 'deny');
  return denied !== undefined && 'pol' in denied ? (denied.pol?.reasons ?? []) : [];
}

/** Duties that the consumer's gateway recorded with its last allow. */
async function lastDuties(): Promise<object> {
  const records = await new LogTail(consumer.log).records();
  const allowed = records.findLast((record) => 'pol' in record && record.pol?.allow);
  return allowed !== undefined && 'pol' in allowed ? (allowed.pol?.obligations ?? {}) : {};
}

void t.test('weather: many small pieces', async (t) => {
  for (const station of ['466920', '467410', 'C0A520']) {
    const answer = await call('GET', `/weather/observations/${station}`);
    t.match([answer.status, JSON.parse(answer.body)], [200, { station, celsius: Number }]);
  }
  t.match(await lastDuties(), { max_response_bytes: 65_536, read_only: true });
  await refused(t, 'weather.product_unknown', () => call('GET', '/weather/horoscopes/466920'));
  await refused(t, 'weather.write_refused', () => call('PUT', '/weather/observations/466920', '{}'));
});

void t.test('AI corpus: who, for what, and which parts', async (t) => {
  const answer = await call('GET', '/corpus/L-2026-001/pretraining/news-zh-01');
  t.equal(answer.status, 200);
  t.match(JSON.parse(answer.body.trimEnd().split('\n').at(-1) ?? ''), { part: 'news-zh-01', line: 4000 });
  t.match(await lastDuties(), { max_response_bytes: 4_194_304, max_bytes_per_second: 33_554_432 });
  const part = (path: string) => () => call('GET', `/corpus/${path}`);
  await refused(t, 'corpus.purpose_not_licensed', part('L-2026-001/advertising/news-zh-01'));
  await refused(t, 'corpus.licensee_other', part('L-2026-002/evaluation/law-zh-01'));
});

void t.test('token stream: an allotment of rate and time', async (t) => {
  const answer = await call('POST', '/tokens/taiwania/taide-8b', '今天 天氣 如何');
  t.equal(answer.status, 200);
  t.equal(answer.body.match(/event: token/g)?.length, 3);
  t.match(await lastDuties(), { max_bytes_per_second: 65_536, max_seconds: 120, recheck_seconds: 15 });

  // The service says 65,000 bytes in 25 ms; the allotment is 65,536 a second, of which a quarter may come at once.
  const words = Array.from({ length: 5 }, (_, i) => String(i).repeat(13_000));
  const began = performance.now();
  const held = await call('POST', '/tokens/taiwania/taide-8b', words.join(' '));
  const elapsedMs = performance.now() - began;
  t.ok(elapsedMs > 600, `held back to the allotted rate: ${Math.round(elapsedMs)} ms`);
  for (const word of words) t.ok(held.body.includes(word), 'and all of it comes');
  const chunked = await ask(`${consumer.url}${HOUSING}/tokens/taiwania/taide-8b`, {
    method: 'POST',
    headers: { ...headers, 'transfer-encoding': 'chunked' },
    body: 'x '.repeat(40_000),
  });
  t.equal(chunked.status, 413, 'a prompt whose length nobody announced ends at the allotted one');

  await refused(t, 'tokens.not_allotted', () => call('POST', '/tokens/research/taide-70b', 'x'));
  const long = 'x'.repeat(65_537);
  await refused(t, 'tokens.prompt_too_long', () => call('POST', '/tokens/taiwania/taide-8b', long));
});

void t.test('111: own name, mobile numbers', async (t) => {
  const answer = await call('POST', '/messages/welfare/0912345678', '您的申請已核准');
  t.match([answer.status, JSON.parse(answer.body)], [202, { recipient: '0912345678', accepted: 21 }]);
  t.match(await lastDuties(), { extra_logging: true, max_request_bytes: 1024 });
  const send = (path: string) => () => call('POST', `/messages/${path}`, 'x');
  await refused(t, 'messages.sender_foreign', send('health/0912345678'));
  await refused(t, 'messages.recipient_malformed', send('welfare/09l2345678'));
});

/** Monday to Friday, 08:30 to 17:30 in Taiwan. */
function officeHours(at: number): boolean {
  const local = new Date(at + 8 * 3_600_000);
  const minute = local.getUTCHours() * 60 + local.getUTCMinutes();
  return local.getUTCDay() % 6 !== 0 && minute >= 510 && minute < 1050;
}

const noIdentity = identity === undefined ? 'the identity provider is not installed' : false;
void t.test('household register: person, machine, hour', { skip: noIdentity }, async (t) => {
  if (identity === undefined) return;
  const { issuer, sealedResource } = identity;
  const ca = readFileSync(identity.ca, 'utf8');
  const person = new ScriptedPerson('lin.meihua', join(folder, 'lin.json'), { issuer, ca });
  const party = { issuer, ca, clientId: CLIENT_ID.open, redirectUri: SCRIPT_REDIRECT };
  const key = DpopKey.create(Date.now);
  const signIn = async (acr: Acr, ageSeconds = 0): Promise<Credential> => ({
    assertion: await person.signIn(party, { acr, resource: sealedResource }, { key, ageSeconds }),
    key,
  });
  const client = { client: headers['x-road-client'] };
  const path = `${HOUSING}${HOUSEHOLD}`;
  const bare = new GatewayClient({ ...client, url: consumer.url });
  const best =
    device === undefined
      ? bare
      : new GatewayClient({ ...client, url: device.proxy, origin: consumer.tlsUrl });
  await refused(t, 'admission.assertion_required', () => best.call('GET', path), 401);
  const strong = await signIn(ACR.aal3);

  await t.test('not from any machine', async (t) => {
    const answer = await bare.call('GET', path, strong);
    t.not(answer.status, 200);
    t.match(await lastReasons(), [
      device === undefined ? 'household.machine_unfit' : 'admission.device_required',
    ]);
  });

  const without = device === undefined ? 'no swtpm' : false;
  await t.test('from an attested one, at any hour', { skip: without }, async (t) => {
    const answer = await best.call('GET', path, await signIn(ACR.aal3));
    t.equal(answer.status, 200, answer.body);
    t.match(JSON.parse(answer.body), { household: 'H-63-000417' });
    t.match(await lastDuties(), { extra_logging: true, max_response_bytes: 1_048_576, recheck_seconds: 30 });

    // The clock is the gateways' own: what is expected depends on the hour, before and after the call.
    const older = await signIn(ACR.aal3, 600);
    const [before, later, after] = [
      officeHours(Date.now()),
      await best.call('GET', path, older),
      officeHours(Date.now()),
    ];
    if (before && after) t.equal(later.status, 200, 'office hours');
    if (!before && !after) {
      t.equal(later.status, 401, later.body);
      t.match(stepUpOf(later), { acr: ACR.aal3, maxAgeSeconds: 120 }, 'step-up');
      t.match(await lastReasons(), ['household.sign_in_again']);
    }
  });
});

void t.test('stops', async (t) => {
  t.equal(await sandbox.stop(), 0);
  rmSync(folder, { recursive: true, force: true });
});
