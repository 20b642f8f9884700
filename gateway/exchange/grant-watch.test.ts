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
import type { MemberId } from '../core/ids.ts';
import { EndpointDevice } from '../device/attested-device.ts';
import { DeviceRegister } from '../device/register.ts';
import { Revocations, signRevocations } from '../device/revocations.ts';
import { assertion, ISSUER, NOW, ORIGIN, PATH } from '../identity/tokens-fixture.ts';
import type { DeviceTrust } from './device-checks.ts';
import { GrantWatch, type Lease } from './grant-watch.ts';
import { RunningDevices } from './running-devices.ts';
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
  return { gateway, register, running, context: { name, clock, users, devices } };
}

const nobody: Lease = {
  user: undefined,
  endpoint: undefined,
  node: undefined,
  demand: 'none',
  at: undefined,
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
  const watch = new GrantWatch();
  t.throws(() => watch.begin({ ...nobody, user }, context, { renewed: untouched }, untouched), {
    code: 'assertion.revoked',
    answerFields: [['www-authenticate', /invalid_token/]],
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
    const watch = new GrantWatch();
    t.throws(() => watch.begin(of, context, { renewed: untouched }, untouched), { code });
    watch.end();
    t.equal(running.size, 0);
  };
  const good = new GrantWatch();
  good.begin(lease, context, { renewed: untouched }, () => undefined);
  t.equal(running.size, 1);
  good.end();
  const worse = prove({ id: 'worse', issuedAt: CONTENT.issuedAt + 1 });
  refused('device.superseded');
  const { device } = CONTENT;
  const list = [{ device, epoch: CONTENT.epoch, issuedBefore: toSeconds(ATTESTED) + 60 }];
  register.revoke(Revocations.open(signRevocations(list, 1, toSeconds(ATTESTED), SIGNER), KEYS), ATTESTED);
  refused('device.revoked', { ...nobody, endpoint: { machine: worse, field: '' } });
  gateway.now = CONTENT.expiresAt * 1000;
  refused('device.expired');
});
