import t from 'tap';
import { AUDIENCE, bound, CONNECTION, KEYS, NOW, SIGNER, token } from '../../conformance/builders/ear.ts';
import type { Denied } from '../core/errors.ts';
import { EndpointDevice } from '../device/attested-device.ts';
import type { EarContent } from '../device/ear.ts';
import { DeviceRegister } from '../device/register.ts';
import { Revocations, signRevocations } from '../device/revocations.ts';
import { endResults } from './revoke.ts';
import { RunningDevices } from './running-devices.ts';

const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;
const SECOND = NOW / 1000;

function setUp(now = NOW) {
  const register = new DeviceRegister();
  const clock = { now: () => now, monotonic: () => now };
  const running = new RunningDevices(register, clock);
  const machine = (changes: Partial<EarContent> = {}) =>
    EndpointDevice.verify(
      { token: token(changes), binding: bound() },
      CONNECTION,
      AUDIENCE,
      { keys: KEYS, register },
      now,
    );
  const ended: string[] = [];
  const end = (name: string) => (cause: Denied) => void ended.push(`${name} ${cause.code}`);
  return { register, running, machine, ended, end };
}

void t.test('what runs goes on with a newer result, and tells where it has to be heard of', async (t) => {
  const { running, machine, ended, end } = setUp();
  const first = machine({ issuedAt: SECOND - 9 });
  const renewals: string[] = [];
  const renewed = ({ resultId }: { readonly resultId: string }): void => void renewals.push(resultId);
  const over = running.register(first, LEAST, end('one'), { at: 'gw.b07', renewed });
  running.register(first, LEAST, end('two'), { at: 'gw.b07' });
  running.register(first, undefined, end('three'));
  t.ok(running.runsAt('gw.b07', first));
  t.notOk(running.runsAt('gw.c01', first));
  t.strictSame([...running.renewed(first)], [], 'nothing new');
  const second = machine({ id: 'r2', issuedAt: SECOND - 5 });
  t.strictSame([...running.renewed(second)], ['gw.b07']);
  t.strictSame([...running.renewed(second)], [], 'told once');
  t.strictSame(renewals, ['r2']);
  t.equal(running.size, 3);
  over();
  t.equal(running.size, 2);
  t.strictSame(ended, []);
});

void t.test('a worse result ends what demands more, and leaves the rest', async (t) => {
  const { running, machine, ended, end } = setUp();
  const first = machine({ issuedAt: SECOND - 9 });
  running.register(first, LEAST, end('demanding'), { at: 'gw.b07' });
  running.register(first, undefined, end('content'), { at: 'gw.c01' });
  const worse = machine({ id: 'r2', issuedAt: SECOND - 5, tpm: { executables: 96 } });
  t.strictSame([...running.renewed(worse)], ['gw.c01'], 'who ended need not hear');
  t.strictSame(ended, ['demanding device.insufficient']);
  t.equal(running.size, 1);
});

void t.test('an older result changes nothing that a newer one carries', async (t) => {
  const { running, machine, ended, end } = setUp();
  const older = machine({ issuedAt: SECOND - 9 });
  const newer = machine({ id: 'r2', issuedAt: SECOND - 5 });
  running.register(newer, LEAST, end('one'), { at: 'gw.b07' });
  t.strictSame([...running.renewed(older)], []);
  t.strictSame(ended, []);
  t.ok(running.runsAt('gw.b07', newer));
});

void t.test('it ends when the result does, once, and not when it is over before', async (t) => {
  const { running, machine, ended, end } = setUp(NOW + 179_960);
  const short = machine();
  running.register(short, LEAST, end('one'));
  running.register(short, LEAST, end('over'))();
  while (ended.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  t.strictSame(ended, ['one device.expired']);
  t.equal(running.size, 0);
});

void t.test('a revocation ends it', async (t) => {
  const { register, running, machine, ended, end } = setUp();
  const first = machine();
  running.register(first, LEAST, end('one'));
  const list = signRevocations([{ device: first.device, epoch: 2, before: 0 }], 1, SECOND, SIGNER);
  register.revoke(Revocations.open(list, KEYS), NOW);
  t.strictSame(ended, ['one device.revoked']);
  t.equal(running.size, 0);
});

void t.test('the word of its agency ends it, and the next result counts', async (t) => {
  const { register, running, machine, ended, end } = setUp();
  const at = SECOND - 9;
  const first = machine({ issuedAt: at });
  running.register(first, LEAST, end('one'));
  running.register(first, undefined, end('two'));
  const elsewhere = { attestor: 'attest.b07.example', name: first.device };
  const named = { attestor: first.issuer, name: first.device };
  const now = NOW + 10;
  t.equal(endResults({ at }, { register, running }, now), 0, 'an event about a user');
  t.equal(endResults({ device: elsewhere, at }, { register, running }, now), 0, 'a namesake');
  t.equal(endResults({ device: named, at: at - 1 }, { register, running }, now), 0, 'it was attested later');
  t.strictSame(ended, []);
  t.equal(endResults({ device: named, at }, { register, running }, now), 2);
  t.strictSame(ended, ['one device.revoked', 'two device.revoked']);
  t.throws(
    () => machine({ id: 'r2', issuedAt: at, sequence: at * 1000 + 999 }),
    { code: 'device.revoked' },
    'in that second',
  );
  t.equal(
    endResults({ device: named, at: at - 9 }, { register, running }, now),
    0,
    'an older event takes nothing back',
  );
  t.throws(() => machine({ issuedAt: at }), { code: 'device.revoked' });
  t.ok(machine({ id: 'r3', issuedAt: at + 1 }));
});

void t.test('one that is over is told nothing, whoever ends it', async (t) => {
  const { register, running, machine, ended, end } = setUp();
  const first = machine({ issuedAt: SECOND - 9 });
  const over: (() => void)[] = [];
  const both = (cause: Denied): void => {
    end('first')(cause);
    for (const one of over) one();
  };
  over.push(running.register(first, LEAST, both), running.register(first, LEAST, end('second')));
  const list = signRevocations([{ device: first.device, epoch: 2, before: 0 }], 1, SECOND, SIGNER);
  register.revoke(Revocations.open(list, KEYS), NOW);
  t.strictSame(ended, ['first device.revoked']);
  t.equal(running.size, 0);

  const other = setUp();
  const told: string[] = [];
  const old = other.machine({ issuedAt: SECOND - 9 });
  const releases: (() => void)[] = [];
  const renewed = (): void => {
    told.push('renewed');
    for (const release of releases) release();
  };
  for (const _ of [1, 2]) releases.push(other.running.register(old, LEAST, other.end('x'), { renewed }));
  other.running.renewed(other.machine({ id: 'r2', issuedAt: SECOND - 5 }));
  t.strictSame(told, ['renewed'], 'the second was over by then');
  t.equal(other.running.size, 0);
});

void t.test('a result is watched once for all that live by it, and idle ones are few', async (t) => {
  const { register, machine, ended, end } = setUp();
  let [watched, over] = [0, 0];
  const watch: DeviceRegister['watch'] = (...args) => {
    watched += 1;
    const unwatch = register.watch(...args);
    return () => {
      over += 1;
      unwatch();
    };
  };
  const counting = Object.assign(Object.create(register), { watch }) as DeviceRegister; // all else is the real one's
  const running = new RunningDevices(counting, { now: () => NOW, monotonic: () => NOW });
  const first = machine();
  const one = running.register(first, LEAST, end('one'));
  running.register(first, LEAST, end('two'))();
  one();
  running.register(first, undefined, end('three'))();
  t.equal(watched, 1);
  t.equal(running.size, 0);
  for (let i = 0; i < 300; i += 1) running.register(machine(), LEAST, end('other'))();
  t.equal(watched, 301, 'each connection proves it for itself');
  t.equal(over, 256, 'more are not kept');
  running.register(first, LEAST, end('first'));
  t.equal(watched, 302, 'it was among them');
  const list = signRevocations([{ device: first.device, epoch: 2, before: 0 }], 1, SECOND, SIGNER);
  register.revoke(Revocations.open(list, KEYS), NOW);
  t.strictSame(ended, ['first device.revoked']);
  t.equal(over, 302, 'nothing of that device is left');
});
