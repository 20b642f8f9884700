// Gateways show each other their hosts over real links, in each protocol.
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { bound, CONTENT, SIGNER, KEYS } from '../../conformance/builders/ear.ts';
import {
  CONSUMER,
  makeGateways,
  makePair,
  PROVIDER,
  requestHead,
  spkiOfIdentity,
  systemClock,
} from '../../conformance/builders/link-pair.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import type { MemberId } from '../core/ids.ts';
import { type EarContent, formatEar } from '../device/ear.ts';
import { DeviceRegister } from '../device/register.ts';
import { signToken } from '../device/token.ts';
import { type LinkArrival, type LinkProtocol, type LinkSession, PROTOCOLS } from '../link/link.ts';
import type { Registry } from '../registry/registry.ts';
import { Greetings, hostOf, NODE_PATH, type OwnResult, renewalOf } from './greeting.ts';
import { PeerNodes } from './peer-nodes.ts';
import { RunningDevices } from './running-devices.ts';

const MEMBER = 'TW/GOV/A11' as MemberId; // of this test's registry
const LEAST = { tpm: 'affirming', health: 'warning', residency: 'bound' } as const;
const gateways = await makeGateways();
const identities = { [CONSUMER]: gateways.consumer, [PROVIDER]: gateways.provider };
type Name = keyof typeof identities;
const directory = {
  gatewayByName: (name: string) =>
    name === CONSUMER || name === PROVIDER
      ? { name, member: MEMBER, linkSpki: [spkiOfIdentity(identities[name])] }
      : undefined,
};

/** One gateway, as far as hosts are concerned. */
class Side {
  readonly name: Name;
  readonly problems: string[] = [];
  readonly nodes: PeerNodes;
  readonly greetings: Greetings;
  readonly running: RunningDevices;
  readonly sessions: LinkSession[] = [];
  /** What its agent says; undefined: nothing. */
  changes: Partial<EarContent> | undefined = {};
  /** In place of the exporter of the session. */
  exporter: Uint8Array | undefined;
  lifeSeconds = 120;
  asked = 0;

  constructor(name: Name, hasAgent: boolean) {
    this.name = name;
    const register = new DeviceRegister();
    this.running = new RunningDevices(register, systemClock);
    const registry: Pick<Registry, 'attestorKeys' | 'sha256'> = {
      sha256: 'registry-1',
      attestorKeys: () => KEYS,
    };
    this.nodes = new PeerNodes({
      instance: 'TW',
      clock: systemClock,
      registry: () => registry as Registry, // nothing else of a registry is asked for here
      register,
      running: this.running,
    });
    this.greetings = new Greetings({
      clock: systemClock,
      nodes: this.nodes,
      directory,
      wanted: () => true,
      agent: hasAgent ? (exporter) => this.#present(exporter) : undefined,
      onProblem: (detail) => void this.problems.push(detail),
    });
  }

  async #present(exporter: Uint8Array): Promise<OwnResult> {
    this.asked += 1;
    await pause(1); // as an agent behind a socket
    if (this.changes === undefined) throw new Error('no result now');
    const sequence = Date.now();
    const issuedAt = Math.floor(sequence / 1000);
    const certificate = base64url(sha256(identities[this.name].der));
    const content: EarContent = {
      ...CONTENT,
      id: `${this.name} ${this.asked}`,
      device: this.name.padEnd(43, 'x'),
      class: 'node',
      gateway: this.name,
      audience: 'TW',
      certificate,
      issuedAt,
      sequence,
      expiresAt: issuedAt + this.lifeSeconds,
      ...this.changes,
    };
    const token = signToken('ear+jwt', formatEar(content), SIGNER);
    const on = {
      exporter: Buffer.from(this.exporter ?? exporter),
      certificateSha256: certificate,
      spkiSha256: '',
    };
    return { token, binding: bound(on), renewAtMs: renewalOf(token, Date.now()) };
  }
}

async function until(what: string, found: () => boolean): Promise<void> {
  for (const patience = Date.now() + 60_000; !found(); await pause(20))
    if (Date.now() > patience) throw new Error(`${what}: did not happen`);
}

interface Change {
  readonly protocol?: LinkProtocol;
  readonly consumer?: boolean;
  readonly provider?: boolean;
  /** In place of the provider's own answer. */
  readonly answer?: (arrival: LinkArrival) => void;
}

async function setUp(
  t: Test,
  { protocol = 'troad/1', consumer = true, provider = true, answer }: Change = {},
) {
  const a = new Side(CONSUMER, consumer);
  const b = new Side(PROVIDER, provider);
  const arrivals: string[] = [];
  const pair = await makePair({
    gateways,
    onArrival: (arrival) => {
      arrivals.push(arrival.rawHead.path);
      if (!b.sessions.includes(arrival.session)) b.sessions.push(arrival.session);
      if (arrival.rawHead.path !== NODE_PATH)
        arrival.answer({ status: 200, fields: [] }, { kind: 'whole', bytes: Buffer.from('ok') });
      else if (answer !== undefined) answer(arrival);
      else b.greetings.answer(arrival).catch((cause: unknown) => arrival.abort(cause as Error));
    },
    client: {
      protocols: [protocol],
      greet: (conversation) => {
        a.sessions.push(conversation.session);
        return a.greetings.begin(conversation);
      },
    },
  });
  t.teardown(async () => {
    a.greetings.close();
    b.greetings.close();
    await pair.close();
  });
  const call = async () => {
    const made = await pair.client.call(pair.target, requestHead('/r1/x'), {
      kind: 'whole',
      bytes: Buffer.alloc(0),
    });
    const { inflow } = await made.answer;
    inflow.start({ data: () => undefined, end: () => undefined, error: () => undefined });
    return made;
  };
  return { a, b, arrivals, pair, call };
}

for (const protocol of PROTOCOLS) {
  void t.test(`${protocol}: both hosts are known before anything else is said, and stay so`, async (t) => {
    const { a, b, arrivals, call } = await setUp(t, { protocol });
    a.lifeSeconds = b.lifeSeconds = 5;
    const { session } = await call();
    t.equal(session.protocol, protocol);
    t.equal(arrivals[0], NODE_PATH);
    t.match(a.nodes.of(session), { gateway: PROVIDER, residency: 'bound', tpmTier: 'affirming' });
    const [accepted] = b.sessions;
    if (accepted === undefined) throw new Error('no session');
    t.match(b.nodes.of(accepted), { gateway: CONSUMER, residency: 'bound' });
    t.strictSame(a.greetings.sessionsTo(PROVIDER), [session]);
    const first = [a.nodes.of(session)?.resultId, b.nodes.of(accepted)?.resultId];
    await until('renewed on the same session', () => {
      const now = [a.nodes.of(session)?.resultId, b.nodes.of(accepted)?.resultId];
      return now.every((id, i) => id !== undefined && id !== first[i]);
    });
    t.strictSame([a.problems, b.problems], [[], []]);
  });

  void t.test(`${protocol}: a binding of another session counts for nothing`, async (t) => {
    const { a, b, call } = await setUp(t, { protocol });
    b.exporter = sha256('another session');
    const { session } = await call();
    t.equal(a.nodes.of(session), undefined);
    t.throws(() => a.nodes.require(session, LEAST), { code: 'device.node_required' });
    t.match(a.problems.join(), /device\.binding/);
    t.match(b.nodes.latest(CONSUMER), { gateway: CONSUMER }, 'the other direction stands by itself');
  });
}

void t.test('what a gateway shows of others, or badly, counts for nothing', async (t) => {
  const rows: readonly (readonly [what: string, changes: Partial<EarContent>, problem: RegExp])[] = [
    ['another host', { gateway: 'gw.c01.tw.troad.example' }, /not the result of gw\.b07/],
    ['an endpoint', { class: 'endpoint', gateway: undefined }, /not the result of gw\.b07/],
    ['another instance', { audience: 'JP' }, /issued for another gateway/],
    ['another certificate', { certificate: 'x'.repeat(43) }, /issued for another certificate/],
    ['a long life', { expiresAt: 4_000_000_000 }, /lives/],
  ];
  for (const [what, changes, problem] of rows) {
    await t.test(what, async (t) => {
      const { a, b, call } = await setUp(t);
      b.changes = changes;
      const { session } = await call();
      t.equal(a.nodes.of(session), undefined);
      t.match(a.problems.join(), problem);
    });
  }
});

void t.test('an answer that is no greeting is told, and the session goes on', async (t) => {
  const texts = ['hello', '[]x', 'null', '{"result":7}', '{"result":"x","binding":7}', 'x'.repeat(20_000)];
  for (const text of texts) {
    const { a, call } = await setUp(t, {
      answer: (arrival) =>
        void arrival.answer({ status: 200, fields: [] }, { kind: 'whole', bytes: Buffer.from(text) }),
    });
    const { session } = await call();
    t.equal(a.nodes.of(session), undefined);
    t.match(a.problems.join(), /^greeting gw\.b07/, text.slice(0, 20));
  }
  const { a, call } = await setUp(t, {
    answer: (arrival) =>
      void arrival.answer({ status: 503, fields: [] }, { kind: 'whole', bytes: Buffer.from('later') }),
  });
  await call();
  t.match(a.problems.join(), /answered 503: later/);
});

void t.test(
  'who has no agent, or one without a result, shows nothing and still sees the other',
  async (t) => {
    const { a, b, call } = await setUp(t, { consumer: false });
    b.changes = undefined;
    const { session } = await call();
    t.strictSame([a.nodes.of(session), b.nodes.latest(CONSUMER)], [undefined, undefined]);
    t.match(b.problems.join(), /device agent: no result now/);
    t.strictSame(a.problems, []);
    b.changes = {};
    await until('asked again', () => a.nodes.of(session) !== undefined);
  },
);

void t.test('the TPM signs once for a session and result, however often a peer asks', async (t) => {
  const { b, pair, call } = await setUp(t);
  await call();
  for (let i = 0; i < 5; i += 1) {
    const head = requestHead(NODE_PATH);
    const { answer } = await pair.client.call(pair.target, head, { kind: 'whole', bytes: Buffer.from('{}') });
    const { inflow } = await answer;
    await new Promise<void>((resolve, reject) => inflow.start({ data: () => undefined, end: () => resolve(), error: reject })); // prettier-ignore
  }
  t.equal(b.asked, 1);
});

void t.test('a host is asked for before the decision only where an agreement demands one', async (t) => {
  const { a, pair, arrivals } = await setUp(t);
  const gateway = { devices: a, link: pair.client };
  const terms = (device: object | 'none') => () =>
    [{ device }] as unknown as ReturnType<Parameters<typeof hostOf>[1]>; // nothing else is asked for
  t.equal(await hostOf(pair.target, terms('none'), gateway), undefined);
  t.equal(await hostOf(pair.target, terms({ endpoint: LEAST }), gateway), undefined);
  t.strictSame(arrivals, []);
  t.match(await hostOf(pair.target, terms({ node: LEAST }), gateway), { gateway: PROVIDER });
});

void t.test('hosts of a gateway that differ: an agreement that demands none is not refused', async (t) => {
  const { a, b, pair, call } = await setUp(t);
  const gateway = { devices: a, link: pair.client };
  const terms = (device: object | 'none') => () =>
    [{ device }] as unknown as ReturnType<Parameters<typeof hostOf>[1]>; // nothing else is asked for
  const attested = (await call()).session;
  t.match(await hostOf(pair.target, terms('none'), gateway), { gateway: PROVIDER });
  b.changes = undefined; // another replica, on a host without a TPM
  const silent = { ...attested, id: 'silent' };
  await a.greetings.begin({
    session: silent,
    name: PROVIDER,
    hasRoom: false,
    request: () => {
      throw new Error('no answer');
    },
  });
  t.equal(a.greetings.sessionsTo(PROVIDER).length, 2);
  t.equal(await hostOf(pair.target, terms('none'), gateway), undefined, 'either session will do');
  t.equal(
    await hostOf(pair.target, terms({ node: LEAST }), gateway),
    a.nodes.of(attested),
    'who demands one is shown it, and refused on the other session',
  );
  a.greetings.end(silent);
  t.match(await hostOf(pair.target, terms('none'), gateway), { gateway: PROVIDER });
});

void t.test(
  'what ran on a host that falls ill ends with its next result; the closed session is forgotten',
  async (t) => {
    const { a, b, call } = await setUp(t);
    b.lifeSeconds = 5;
    const { session } = await call();
    const node = a.nodes.of(session);
    if (node === undefined) throw new Error('not shown');
    const ended = new Promise<string>((resolve) => {
      a.running.register(node, LEAST, (cause) => resolve(cause.code));
    });
    b.changes = { tpm: { executables: 96 } };
    t.equal(await ended, 'device.insufficient');
    t.throws(() => a.nodes.require(session, LEAST), { code: 'device.node_insufficient' });
    a.greetings.end(session);
    t.equal(a.nodes.of(session), undefined);
    t.strictSame(a.greetings.sessionsTo(PROVIDER), []);
  },
);

void t.test('when a result is asked for anew', async (t) => {
  const token = (claims: object): string =>
    `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
  t.equal(renewalOf(token({ iat: 1000, exp: 1120 }), 1_000_000), 1_080_000);
  t.equal(renewalOf(token({ iat: 1000, exp: 1120 }), 1_100_000), 1_101_000, 'overdue: each second');
  t.equal(renewalOf(token({ iat: 1000, exp: 99_999 }), 1_000_000), 1_200_000, 'no result lives longer');
  t.throws(() => renewalOf(token({ iat: 1000 }), 0), { name: 'MalformedBytes' });
});
