import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import t from 'tap';
import { nodeStorage } from '../evidence/node-storage.ts';
import type { Storage } from '../evidence/storage.ts';
import { AUDIENCE, ISSUER, KEY, keyPair, NOW, verified } from '../identity/tokens-fixture.ts';
import { A } from '../trust/proofs-fixture.ts';
import { signalIssuersOf } from './issuers.ts';
import { Signals, type SignalOutcome } from './signals.ts';
import { ATTESTOR, provider, registryOf, TestGateway } from './users-fixture.ts';

let count = 0;
const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
const MACHINE = { attestor: ATTESTOR, name: 'pc-17' };
const ABOUT_MACHINE = {
  sub_id: { format: 'complex', device: { format: 'iss_sub', iss: ATTESTOR, sub: 'pc-17' } },
  events: { [`${CAEP}device-compliance-change`]: { current_status: 'not-compliant' } },
};
const set = (sub = 'u-4711', jti = `event-${++count}`, claims: object = {}): Promise<string> =>
  new SignJWT({
    iss: ISSUER,
    iat: NOW,
    jti,
    aud: AUDIENCE,
    sub_id: { format: 'iss_sub', iss: ISSUER, sub },
    events: { [`${CAEP}session-revoked`]: {} },
    ...claims,
  })
    .setProtectedHeader({ alg: 'ES256', kid: KEY.kid, typ: 'secevent+jwt' })
    .sign(KEY.privateKey);

async function open(file: string, storage: Storage = nodeStorage(), rows = [provider('TW/GOV/A11', ISSUER)]) {
  const gateway = new TestGateway(A, rows);
  const outcomes: SignalOutcome[] = [];
  const signals = await Signals.open({
    name: A,
    clock: gateway.clock,
    users: { ...gateway.users, issuers: () => signalIssuersOf(registryOf(rows)) },
    storage,
    file,
    onEvent: (outcome) => outcomes.push(outcome),
  });
  return { signals, outcomes, revocations: gateway.users.revocations };
}

void t.test('kept on disk before it is acknowledged, and in force after a restart', async (t) => {
  const file = join(t.testdir(), 'signals.json');
  const { signals, outcomes } = await open(file);
  await signals.take(await set());
  t.match(outcomes, [{ issuer: ISSUER, type: 'session-revoked', exchanges: 0 }]);
  t.match(JSON.parse(readFileSync(file, 'utf8')), [{ issuer: ISSUER, subject: 'u-4711', at: NOW }]);
  const restarted = await open(file);
  const token = await verified();
  t.throws(() => restarted.revocations.requireValid(token), { code: 'assertion.revoked' });
});

void t.test('an event about a machine is kept like one about a user', async (t) => {
  const file = join(t.testdir(), 'signals.json');
  const { signals, outcomes } = await open(file);
  await signals.take(await set('', 'about a machine', ABOUT_MACHINE));
  t.match(outcomes, [{ type: 'device-compliance-change', exchanges: 0 }]);
  const kept = [{ issuer: ISSUER, device: MACHINE, at: NOW, jti: 'about a machine' }];
  t.strictSame(JSON.parse(readFileSync(file, 'utf8')), kept);
  t.strictSame((await open(file)).revocations.list(), kept, 'and is there after a restart');
  const elsewhere = { ...ABOUT_MACHINE.sub_id.device, iss: 'attest.b07.example' };
  const about = { ...ABOUT_MACHINE, sub_id: { format: 'complex', device: elsewhere } };
  await t.rejects(signals.take(await set('', 'about another', about)), { code: 'invalid_request' });
  writeFileSync(file, JSON.stringify([{ ...kept[0], device: { attestor: ATTESTOR } }]));
  await t.rejects(open(file), { name: 'ConfigError' }, 'without its name');
  const { maySpeakOfDevices } = signalIssuersOf(registryOf([provider('TW/GOV/B07', ISSUER)]));
  t.notOk(
    maySpeakOfDevices(ISSUER, ATTESTOR),
    'a provider of members whose machines the service does not know',
  );
});

void t.test('two rows of one issuer with two keys of one id: each signs events', async (t) => {
  const second = keyPair('ES256', KEY.kid);
  const rows = [provider('TW/GOV/A11', ISSUER), provider('TW/GOV/B07', ISSUER, [second])];
  for (const order of [rows, rows.toReversed()]) {
    const { signals, revocations } = await open(join(t.testdir(), 'signals.json'), nodeStorage(), order);
    await signals.take(await set('u-4711'));
    t.equal(revocations.size, 1);
  }
});

void t.test('many at once are all kept', async (t) => {
  const file = join(t.testdir(), 'signals.json');
  const { signals } = await open(file);
  const sets = await Promise.all(Array.from({ length: 50 }, (_, i) => set(`u-${i}`)));
  await Promise.all(sets.map((each) => signals.take(each)));
  t.equal((await open(file)).revocations.size, 50);
});

void t.test(
  'a disk that fails: in force at once, not acknowledged, kept when it is said again',
  async (t) => {
    const file = join(t.testdir(), 'signals.json');
    let broken = true;
    const disk = nodeStorage();
    const storage: Storage = {
      ...disk,
      open: (...args) => (broken ? Promise.reject(new Error('ENOSPC')) : disk.open(...args)),
      readFile: (path) => disk.readFile(path),
      remove: (path) => disk.remove(path),
      rename: (from, to) => disk.rename(from, to),
      syncDir: (dir) => disk.syncDir(dir),
    };
    const { signals, outcomes, revocations } = await open(file, storage);
    const text = await set();
    await t.rejects(signals.take(text), /ENOSPC/);
    const token = await verified();
    t.throws(() => revocations.requireValid(token), { code: 'assertion.revoked' });
    broken = false;
    await signals.take(text);
    t.equal(outcomes.length, 1, 'it had its effect once');
    t.equal((await open(file)).revocations.size, 1);
  },
);

void t.test('what does not verify leaves no trace', async (t) => {
  const file = join(t.testdir(), 'signals.json');
  const { signals, outcomes } = await open(file);
  await t.rejects(signals.take('x'), { name: 'SecurityEventRefused' });
  t.same(outcomes, []);
  t.equal(await nodeStorage().readFile(file), undefined);
});

for (const [what, text] of [
  ['no JSON', 'x'],
  ['no list', '{}'],
  ['an entry without a time', '[{"issuer":"a","jti":"b","subject":"c"}]'],
  ['an entry about nobody', '[{"issuer":"a","jti":"b","at":1}]'],
  ['an empty file', ''],
] as const) {
  void t.test(`a kept file that is ${what} stops the start: it may hide a sign-out`, async (t) => {
    const file = join(t.testdir(), 'signals.json');
    writeFileSync(file, text);
    await t.rejects(open(file), { name: 'ConfigError' });
  });
}
