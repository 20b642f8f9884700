import t from 'tap';
import { AUDIENCE, bound, CONNECTION, CONTENT, KEYS, NOW, token } from '../../conformance/builders/ear.ts';
import { Authority } from '../../pki/authority.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import type { MemberId } from '../core/ids.ts';
import { DeviceRegister } from '../device/register.ts';
import type { Registry } from '../registry/registry.ts';
import type { ClientConnection } from './arrival.ts';
import { type DeviceTrust, VerifiedDevices } from './device-checks.ts';
import { presentedDevice } from './devices.ts';
import type { Gateway } from './gateway.ts';
import { RunningDevices } from './running-devices.ts';

const [MINE, OTHER] = ['TW/GOV/A11', 'TW/GOV/A12'] as [MemberId, MemberId]; // the tests' own constants
const { der } = await (await Authority.create('TW test', () => NOW)).issueLink(AUDIENCE);

function connectionOf(): ClientConnection {
  const { exporter } = CONNECTION;
  const certificate = der;
  return {
    tls: true,
    loopback: true,
    remote: '127.0.0.1:1',
    certificate,
    exporter,
    end: () => undefined,
    onClosed: () => undefined,
  };
}

const facts = { ...CONNECTION, certificateSha256: base64url(sha256(der)) };
const field = [
  't-road-device',
  `result="${token({ certificate: facts.certificateSha256 })}", binding="${bound(facts)}"`,
] as const;

function gatewayOf(): Gateway {
  const register = new DeviceRegister();
  const clock = { now: () => NOW, monotonic: () => 0 };
  const look: Pick<Registry, 'sha256' | 'attestorKeys'> = {
    sha256: 'registry-1',
    attestorKeys: (_kind, member) => (member === MINE ? KEYS : []),
  };
  const devices: Partial<DeviceTrust> = {
    register,
    running: new RunningDevices(register, clock),
    relayed: new VerifiedDevices(),
    share: () => undefined,
  };
  const asked: Partial<Gateway> = {
    name: AUDIENCE,
    clock,
    registry: () => look as Registry, // nothing else of it is asked for here
    devices: devices as DeviceTrust, // nor of these
  };
  return asked as Gateway;
}

void t.test('one connection, subsystems of two members: each has its own attestation services', async (t) => {
  const gateway = gatewayOf();
  const connection = connectionOf();
  const by = (member: MemberId, fields: readonly (readonly [string, string])[]) =>
    presentedDevice(fields, connection, member, gateway)?.machine.device;
  t.equal(by(MINE, [field]), CONTENT.device);
  t.equal(by(MINE, []), CONTENT.device, 'good for the connection');
  t.throws(() => by(OTHER, [field]), { code: 'device.result' }, 'the same text, from the cache');
  t.equal(by(OTHER, []), undefined, 'what was shown for another is nothing here');
  t.equal(by(MINE, []), CONTENT.device, 'and is what it was for its own');
});

void t.test('what a peer relays counts on the basis that it was verified on', async (t) => {
  const relayed = new VerifiedDevices();
  const presented = presentedDevice([field], connectionOf(), MINE, gatewayOf());
  if (presented === undefined) throw new Error('not verified');
  const basis = { registry: 'registry-1', peer: AUDIENCE };
  relayed.keep(presented.field, basis, presented.machine);
  t.equal(relayed.find(presented.field, basis), presented.machine);
  t.equal(relayed.find(presented.field, { ...basis, registry: 'registry-2' }), undefined, 'another registry');
  t.equal(relayed.find(presented.field, { ...basis, peer: 'gw.b07' }), undefined, 'replayed by another peer');
  for (let at = 0; at < presented.field.length; at += 1) {
    const other = presented.field[at] === 'A' ? 'B' : 'A';
    const changed = presented.field.slice(0, at) + other + presented.field.slice(at + 1);
    if (relayed.find(changed, basis) !== undefined) t.fail(`changed at ${at}`);
  }
});
