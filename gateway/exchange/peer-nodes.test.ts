// Sessions of one peer beside each other; over real links, greeting.test.ts.
import t from 'tap';
import { bound, KEYS, NOW, SIGNER, token } from '../../conformance/builders/ear.ts';
import { Authority } from '../../pki/authority.ts';
import { sha256 } from '../core/bytes.ts';
import type { MemberId } from '../core/ids.ts';
import type { EarContent } from '../device/ear.ts';
import { DeviceRegister } from '../device/register.ts';
import { Revocations, signRevocations } from '../device/revocations.ts';
import { PeerGateway } from '../identity/peer.ts';
import type { LinkSession } from '../link/link.ts';
import type { Registry } from '../registry/registry.ts';
import { readCertificate } from '../x509/certificate.ts';
import { PeerNodes } from './peer-nodes.ts';
import { RunningDevices } from './running-devices.ts';

const PEER = 'gw.b07.tw.troad.example';
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;
const SECOND = NOW / 1000;
const authority = await Authority.create('TW test', () => NOW);
const { der } = await authority.issueLink(PEER);
const { sha256: certificate, spkiSha256 } = readCertificate(der);
const known = { name: PEER, member: 'TW/GOV/B07' as MemberId, linkSpki: [spkiSha256] }; // the test's own constant
const peer = PeerGateway.identify(der, 'server', { gatewayByName: () => known }, NOW);

function setUp() {
  const state = { now: NOW, registry: 'one', keys: KEYS };
  const clock = { now: () => state.now, monotonic: () => state.now };
  const register = new DeviceRegister();
  const registry = (): Registry => {
    const asked: Pick<Registry, 'attestorKeys' | 'sha256'> = {
      sha256: state.registry,
      attestorKeys: () => state.keys,
    };
    return asked as Registry; // nothing else of a registry is asked for here
  };
  const running = new RunningDevices(register, clock);
  const nodes = new PeerNodes({ instance: 'TW', clock, registry, register, running });
  return { state, register, running, nodes };
}

const ended: string[] = [];
function session(id: string): LinkSession {
  const exporter = sha256(id);
  return {
    id,
    protocol: 'h2',
    tls: { v: 'TLSv1.3', suite: '', g: '', peer: certificate },
    peerCertificate: der,
    remote: '127.0.0.1:1',
    exportKeyingMaterial: () => exporter,
    end: () => void ended.push(id),
  };
}
const shown = (on: LinkSession, changes: Partial<EarContent> = {}) => {
  const content = { class: 'node', gateway: PEER, audience: 'TW', certificate, ...changes } as const;
  const connection = {
    exporter: on.exportKeyingMaterial('', 32),
    certificateSha256: certificate,
    spkiSha256,
  };
  return { token: token(content), binding: bound(connection) };
};

void t.test('a newer result holds for all sessions of the host; each is bound by itself', async (t) => {
  const { nodes } = setUp();
  const [a, b, c] = [session('a'), session('b'), session('c')];
  nodes.take(a, peer, shown(a));
  nodes.take(b, peer, shown(b));
  const newer = { id: 'r2', issuedAt: SECOND + 2 };
  nodes.take(b, peer, shown(b, newer));
  t.match([nodes.of(a), nodes.of(b)], [{ resultId: 'r2', residency: 'bound' }, { resultId: 'r2' }]);
  t.equal(nodes.of(c), undefined, 'where nothing was shown there is nothing');
  t.throws(() => nodes.require(c, LEAST), { code: 'device.node_required' });
  t.throws(() => nodes.take(c, peer, { ...shown(c, newer), binding: shown(a).binding }), {
    code: 'device.binding',
  });
  nodes.take(a, peer, shown(a, { id: 'r3', issuedAt: SECOND + 3, tpm: { executables: 96 } }));
  t.throws(() => nodes.require(b, LEAST), { code: 'device.node_insufficient' }, 'worse holds for all, too');
  t.throws(() => nodes.take(a, peer, shown(a)), { code: 'device.superseded' }, 'no way back');
});

void t.test('the host that several sessions are as good as', async (t) => {
  const { nodes } = setUp();
  const [a, b, c] = [session('a'), session('b'), session('c')];
  const other = { device: 'other'.padEnd(43, 'x') };
  t.equal(nodes.common([]), undefined);
  const strong = nodes.take(a, peer, shown(a));
  t.equal(nodes.common([a]), strong);
  t.equal(nodes.common([a, b]), undefined, 'one shows nothing');
  const weak = nodes.take(b, peer, shown(b, { ...other, tpm: { hardware: 2, executables: 33 } }));
  t.equal(nodes.common([a, b]), weak);
  t.equal(nodes.common([b, a]), weak);
  nodes.take(
    c,
    peer,
    shown(c, {
      device: 'third'.padEnd(43, 'x'),
      health: { os: 33, antivirus: 2, applications: 2, configuration: 2 },
    }),
  );
  t.equal(nodes.common([a, b, c]), undefined, 'one is worse in this, the other in that');
});

void t.test('what is over is nothing', async (t) => {
  const { state, nodes } = setUp();
  const a = session('a');
  nodes.take(a, peer, shown(a));
  t.equal(nodes.latest(PEER)?.gateway, PEER);
  t.equal(nodes.latest('gw.c01'), undefined);
  state.now = NOW + 180_000;
  t.strictSame([nodes.of(a), nodes.latest(PEER)], [undefined, undefined]);
});

void t.test('another registry, another verification', async (t) => {
  const { state, nodes } = setUp();
  const a = session('a');
  nodes.take(a, peer, shown(a));
  state.registry = 'two';
  t.equal(nodes.of(a)?.gateway, PEER, 'the same keys');
  state.registry = 'three';
  state.keys = [];
  t.equal(nodes.of(a), undefined, 'nobody vouches for it any more');
});

void t.test('60 a revocation ends sessions and what runs, not those that are closed', async (t) => {
  const { register, running, nodes } = setUp();
  const [a, b] = [session('a'), session('b')];
  const node = nodes.take(a, peer, shown(a));
  nodes.take(b, peer, shown(b));
  nodes.forget(b);
  running.register(node, LEAST, ({ code }) => void ended.push(code));
  const list = signRevocations([{ device: node.device, epoch: 2, before: 0 }], 1, SECOND, SIGNER);
  register.revoke(Revocations.open(list, KEYS), NOW);
  await new Promise((resolve) => setImmediate(resolve));
  t.strictSame(ended, ['device.revoked', 'a'], 'exchanges first');
  t.equal(nodes.of(a), undefined);
});
