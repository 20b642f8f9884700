// An agreement of class `sensitive` between two real gateways, under the policy that comes with the program: it takes a
// strong sign-in on a healthy machine, and who falls short by the sign-in alone is told what would do.
import { createHash, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { MemberId } from '../gateway/core/ids.ts';
import {
  certificateSha256,
  type Answer,
  DeviceConnection,
  republish,
  Verifier,
} from './harness/device-lab.ts';
import { LogTail } from './harness/log-tail.ts';
import type { ExchangeRecord } from './harness/policy-desk.ts';
import { ask, exchange, newFolder, requireGoodLogs, startRoad } from './harness/road.ts';

t.setTimeout(600_000);
const ECHO = '/r1/TW/GOV/B07/housing/echo/x';
const folder = newFolder(t);
const { sandbox, ready, lines } = await startRoad(join(folder, 'road'), 1);
const { consumer, provider, identity, service } = ready;
const skip = identity === undefined ? 'the identity provider is not installed' : false;
const verifier = new Verifier();
const ca = readFileSync(consumer.ca, 'utf8');
const certificate = {
  cert: readFileSync(consumer.clientCert, 'utf8'),
  key: readFileSync(consumer.clientKey, 'utf8'),
};
const mine = certificateSha256(certificate.cert);

/** What the identity provider would issue to the holder of the client certificate. */
function assertion(aal: 1 | 2 | 3): string {
  const key = createPrivateKey(readFileSync(join(folder, 'road', 'agencies', 'a11-idp', 'signing.key')));
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const at = Math.floor(Date.now() / 1000);
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const kid = createHash('sha256').update(spki).digest('base64url');
  const claims = {
    iss: identity?.issuer,
    aud: identity?.resource,
    sub: 'zhao',
    iat: at,
    exp: at + 200,
    auth_time: at,
    jti: randomBytes(16).toString('base64url'),
    acr: `urn:troad:aal${aal}`,
    amr: ['hwk', 'pin', 'user', 'mfa'],
    cnf: { 'x5t#S256': mine },
  };
  const input = `${part({ alg: 'ES256', kid, typ: 'at+jwt' })}.${part(claims)}`;
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

/** One request on a connection of its own, from a healthy machine unless told otherwise. */
async function request(aal: 1 | 2 | 3 | undefined, machine = true, method = 'GET'): Promise<Answer> {
  const connection = await DeviceConnection.open(consumer.tlsUrl, ca, certificate);
  try {
    const audience = 'gw.a11.tw.troad.example';
    const device = 'healthy'.padEnd(43, 'x');
    const shown = machine
      ? connection.present(verifier.result({ certificate: mine, audience, device }))
      : undefined;
    return await connection.get(ECHO, shown, {
      method,
      ...(aal === undefined ? {} : { assertion: assertion(aal) }),
    });
  } finally {
    connection.close();
  }
}

const lastOf = async (log: string, k: string): Promise<ExchangeRecord | undefined> =>
  (await new LogTail(log).records()).findLast(
    (record): record is ExchangeRecord => 'pol' in record && record.k === k,
  );
const served = async (): Promise<string> => (await ask(`${service.url}/__seen`)).body;

await t.test('the registry names the class and an attestation service', async () => {
  const version = await republish(ready, (document) => ({
    attestors: [verifier.row({ members: ['TW/GOV/A11', 'TW/GOV/B07'] as MemberId[] })],
    agreements: document.agreements.map((row) =>
      row.service.endsWith('/echo') ? { ...row, class: 'sensitive' } : row,
    ),
  }));
  const loaded = ({ line }: (typeof lines)[number]) =>
    line.event === 'registry.loaded' && line['version'] === version;
  for (let waited = 0; lines.filter(loaded).length < 2; waited += 50) {
    if (waited > 60_000) throw new Error('the gateways do not load the registry');
    await pause(50);
  }
});

await t.test('a system alone is denied; elsewhere it passes', async (t) => {
  const before = await served();
  t.equal((await exchange(ready, '/echo/x')).status, 403);
  const { pol } = (await lastOf(consumer.log, 'deny')) ?? {};
  t.match(pol, { allow: false, threshold: 65, reasons: ['score.too_low'] });
  t.ok((pol?.score ?? 100) < 65);
  t.ok(pol?.reasons?.includes('score.device_low'));
  t.equal(pol?.obligations, undefined, 'no sign-in would be enough: none is asked for');
  t.equal(await served(), before, 'the service heard nothing');
  t.equal((await exchange(ready, '/files/7')).status, 200, 'an agreement of no class is general');
});

await t.test('a sign-in that falls short is stepped up, and then allowed', { skip }, async (t) => {
  const before = await served();
  const weak = await request(2);
  t.match(weak, { status: 401, code: 'assertion.insufficient' });
  t.match(weak.challenge, /insufficient_user_authentication/);
  t.match(weak.challenge, /acr_values="urn:troad:aal3"/);
  t.match(weak.challenge, /max_age=3600\b/);
  const denied = await lastOf(consumer.log, 'deny');
  t.match(denied?.pol, { allow: false, obligations: { step_up: { aal: 3, max_age_seconds: 3600 } } });
  t.equal(await served(), before, 'the service heard nothing');

  t.match(await request(3), { status: 200 });
  for (const log of [consumer.log, provider.log]) {
    const { pol } = (await lastOf(log, 'req.final')) ?? {};
    t.match(pol, { allow: true, tier: 'medium', threshold: 65, obligations: { read_only: true } });
    t.ok((pol?.score ?? 0) >= 65);
  }
});

await t.test('what the class obliges to is executed', { skip }, async (t) => {
  t.match(await request(3, true, 'DELETE'), { status: 403, code: 'policy.read_only' });
});

await t.test('the strongest sign-in does not make up for a machine', { skip }, async (t) => {
  t.match(await request(3, false), { status: 403, code: 'policy.denied', challenge: undefined });
  const { pol } = (await lastOf(consumer.log, 'deny')) ?? {};
  t.match(pol, { allow: false, reasons: ['score.too_low'] });
  t.equal(pol?.obligations, undefined);
});

await t.test('everything is in the logs, and they agree', async (t) => {
  await sandbox.stop();
  requireGoodLogs(t, ready);
});
