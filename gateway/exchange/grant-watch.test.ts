import t from 'tap';
import {
  AUDIENCE,
  bound,
  CONNECTION,
  CONTENT,
  KEYS,
  NOW as ATTESTED,
  SIGNER,
  token,
} from '../../conformance/builders/ear.ts';
import { toSeconds } from '../core/clock.ts';
import { Unavailable } from '../core/errors.ts';
import type { MemberId } from '../core/ids.ts';
import { EndpointDevice } from '../device/attested-device.ts';
import { DeviceRegister } from '../device/register.ts';
import { Revocations, signRevocations } from '../device/revocations.ts';
import { assertion, ISSUER, NOW, ORIGIN, PATH } from '../identity/tokens-fixture.ts';
import { CallerSignals } from '../trust/signals.ts';
import type { DeviceTrust } from './device-checks.ts';
import { Duties } from './duties.ts';
import type { ExchangeObserver } from './gateway.ts';
import { GrantWatch, type Lease } from './grant-watch.ts';
import { RunningDevices } from './running-devices.ts';
import { RunningGrants } from './running-grants.ts';
import { presentedUser } from './users.ts';
import { provider, TestGateway } from './users-fixture.ts';

const MEMBER = 'TW/GOV/A11' as MemberId; // the tests' own constant

function gatewayOf(now: number) {
  const gateway = new TestGateway(AUDIENCE, [provider(MEMBER, ISSUER)]);
  gateway.now = now;
  const { name, clock, users } = gateway;
  const register = new DeviceRegister();
  const running = new RunningDevices(register, clock);
  const devices = { register, running } as DeviceTrust; // nothing else of it is asked for here
  const real = { now: () => clock.now(), monotonic: () => performance.now() };
  const grants = new RunningGrants(real);
  const policy = (): never => {
    throw new Error('no policy is asked here');
  };
  const rechecks: boolean[] = [];
  const observer = { rechecked: (goesOn: boolean) => void rechecks.push(goesOn) } as ExchangeObserver; // no more is told here
  const context = { name, clock: real, users, devices, grants, policy, observer };
  return { gateway, register, running, rechecks, context };
}

const nobody: Lease = {
  user: undefined,
  endpoint: undefined,
  node: undefined,
  demand: 'none',
  at: undefined,
  question: {
    asOf: 0,
    agreements: () => {
      throw new Unavailable('registry.expired', 'asked again');
    },
    input: () => untouched(),
  },
};
const none = new Duties('GET', {});
const dossier = {
  begun: true,
  startedAt: 0,
  visit: new CallerSignals().visit('192.0.2.1', 0),
  withdrawal: undefined,
  decidedAgain: () => Promise.resolve(),
  renewed: () => undefined,
};
const untouched = (): never => {
  throw new Error('nothing runs that could be broken off');
};

void t.test('a session that ends while its exchange waits to be admitted', async (t) => {
  const { gateway, context } = gatewayOf(NOW * 1000);
  const fields = [['t-road-assertion', await assertion()]] as const;
  const request = { fields, method: 'GET', origin: ORIGIN, target: { path: PATH, query: '' } };
  const user = await presentedUser(request, undefined, MEMBER, gateway);
  if (user === undefined) throw new Error('nobody');
  // The consumer's gateway waits here: for activity elsewhere, for a session to the peer. Nothing is registered yet.
  const { issuer, subject } = user.assertion;
  gateway.users.revocations.restore([{ issuer, subject, at: NOW, jti: 'event' }]);
  const watch = new GrantWatch(context, dossier, untouched);
  t.throws(() => watch.begin({ ...nobody, user }, none), {
    code: 'assertion.revoked',
    answerFields: [['www-authenticate', /insufficient_user_authentication.*max_age=0/]],
  });
  watch.end();
  t.equal(gateway.users.running.size, 0);
});

void t.test('a machine that falls while its exchange waits to be admitted', async (t) => {
  const { gateway, context, register, running } = gatewayOf(ATTESTED);
  const checks = { keys: KEYS, register };
  const prove = (changes = {}): EndpointDevice =>
    EndpointDevice.verify(
      { token: token(changes), binding: bound() },
      CONNECTION,
      AUDIENCE,
      checks,
      ATTESTED,
    );
  const lease: Lease = { ...nobody, endpoint: { machine: prove(), field: '' } };
  const refused = (code: string, of = lease): void => {
    const watch = new GrantWatch(context, dossier, untouched);
    t.throws(() => watch.begin(of, none), { code });
    watch.end();
    t.equal(running.size, 0);
  };
  const good = new GrantWatch(context, dossier, untouched);
  good.begin(lease, none);
  t.equal(running.size, 1);
  good.end();
  const worse = prove({ id: 'worse', issuedAt: CONTENT.issuedAt + 1, tpm: { executables: 96 } });
  refused('device.superseded');
  const { device } = CONTENT;
  const list = [{ device, epoch: CONTENT.epoch, before: ATTESTED + 60_000 }];
  register.revoke(Revocations.open(signRevocations(list, 1, toSeconds(ATTESTED), SIGNER), KEYS), ATTESTED);
  refused('device.revoked', { ...nobody, endpoint: { machine: worse, field: '' } });
  gateway.now = CONTENT.expiresAt * 1000;
  refused('device.expired');
});

void t.test('a newer result of its machine, or a change while it waited: it is decided again', async (t) => {
  const { context, register, running, rechecks } = gatewayOf(ATTESTED);
  const checks = { keys: KEYS, register };
  const prove = (changes = {}): EndpointDevice =>
    EndpointDevice.verify(
      { token: token(changes), binding: bound() },
      CONNECTION,
      AUDIENCE,
      checks,
      ATTESTED,
    );
  const ended = (lease: Lease, change: () => void, begun = dossier): Promise<Error> =>
    new Promise((resolve) => {
      const watch = new GrantWatch(context, begun, (cause) => {
        t.equal(watch.revoked, cause);
        watch.end();
        resolve(cause);
      });
      watch.begin(lease, none);
      change();
    });
  const lease: Lease = { ...nobody, endpoint: { machine: prove(), field: '' } };
  const newer = (): void => void running.renewed(prove({ id: 'newer', issuedAt: CONTENT.issuedAt + 1 }));
  t.match(await ended(lease, newer), { code: 'registry.expired' }, 'nobody to ask is no consent');
  t.match(await ended(nobody, () => context.grants.hastenAll()), { code: 'registry.expired' });
  t.equal(context.grants.changes, 1);
  t.match(
    await ended(nobody, () => undefined),
    { code: 'registry.expired' },
    'changed before it was watched',
  );
  t.same(rechecks, [false, false, false]);
  let begun = false;
  const waiting = {
    ...dossier,
    get begun() {
      setTimeout(() => (begun = true), 10);
      return begun;
    },
  };
  const listening = setInterval(() => undefined, 1000); // the wheel alone keeps no process alive
  t.match(await ended(nobody, () => undefined, waiting), { code: 'registry.expired' });
  clearInterval(listening);
  t.ok(begun, 'not before its first decision is on record');
  t.equal(context.grants.size, 0);
  context.grants.close();
});
