import t from 'tap';
import { AUDIENCE, bound, CONNECTION, KEYS, NOW, token } from '../../conformance/builders/ear.ts';
import { NodeDevice } from '../device/attested-device.ts';
import type { DeviceMinimum } from '../device/demand.ts';
import { DeviceRegister } from '../device/register.ts';
import type { LinkSession } from '../link/link.ts';
import type { DeviceTrust } from './device-checks.ts';
import type { Dossier } from './dossier.ts';
import type { Gateway } from './gateway.ts';
import { hostCheck } from './host-check.ts';
import { PeerNodes } from './peer-nodes.ts';

const PEER = 'gw.b07.tw.troad.example';
const LEAST: DeviceMinimum = { tpm: 'warning', health: 'none', residency: 'software' };

/** A host of the peer. Each is another machine, so that none takes the place of another. */
let machines = 0;
function host(tpm = {}): NodeDevice {
  const device = String((machines += 1)).padEnd(43, 'x');
  const presented = token({
    device,
    id: device,
    class: 'node',
    gateway: PEER,
    tpm: { hardware: 2, executables: 2, ...tpm },
  });
  const checks = { keys: KEYS, register: new DeviceRegister() };
  return NodeDevice.verify({ token: presented, binding: bound() }, CONNECTION, PEER, AUDIENCE, checks, NOW);
}

const [strong, alike, weak] = [host(), host(), host({ executables: 33 })];

/** @returns what the record then says of the host; undefined: as it was. @throws Denied */
function sentOver(session: NodeDevice | undefined, decided: NodeDevice | undefined, least?: DeviceMinimum) {
  let noted: NodeDevice | undefined;
  const nodes = { of: () => session, require: PeerNodes.prototype.require };
  const devices = { nodes: nodes as unknown as PeerNodes }; // nothing else of it is asked for here
  const gateway = { devices: devices as DeviceTrust } as Gateway; // nor of these
  const dossier: Pick<Dossier, 'devices'> = { devices: (_endpoint, node) => (noted = node) };
  const demand = least === undefined ? 'none' : { node: least };
  const lease = { user: undefined, endpoint: undefined, node: decided, demand, at: PEER } as const;
  hostCheck(lease, gateway, dossier as Dossier)({} as LinkSession); // looked up, never looked at
  return noted;
}

void t.test('a session is as good as the host that the policy was shown', async (t) => {
  t.equal(sentOver(strong, strong), undefined);
  t.equal(sentOver(alike, strong), alike, 'the record says which');
  t.equal(sentOver(strong, weak), strong);
  t.equal(sentOver(undefined, undefined), undefined);
  t.equal(sentOver(strong, undefined), strong);
  t.throws(() => sentOver(undefined, strong), { code: 'device.node_required' });
  t.throws(() => sentOver(weak, strong), { code: 'device.node_insufficient' });
});

void t.test('and as good as the agreement demands', async (t) => {
  t.equal(sentOver(weak, weak, LEAST), undefined);
  t.throws(() => sentOver(undefined, undefined, LEAST), { code: 'device.node_required' });
  t.throws(() => sentOver(weak, undefined, { ...LEAST, tpm: 'affirming' }), {
    code: 'device.node_insufficient',
  });
  t.throws(() => sentOver(weak, strong, LEAST), { code: 'device.node_insufficient' });
});
