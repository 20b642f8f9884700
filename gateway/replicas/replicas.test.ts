import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { openssl } from '../../conformance/builders/openssl.ts';
import { startStore, storeMissing, type Store, type StoreArgs } from '../../conformance/builders/store.ts';
import { SecurityEventRefused } from '../identity/security-event.ts';
import { SharedStore, type SharedStoreOptions } from './shared-store.ts';
import { SignalRelay } from './signal-relay.ts';
import { StoreConnection, type StoreAddress } from './store-connection.ts';

// Against a real store, in processes of its own.

const skip = storeMissing;
const NAME = 'gw.a11.tw.troad.example';
const folder = mkdtempSync(join(tmpdir(), 'troad-store-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
let folders = 0;

async function store(t: Test, args: Partial<StoreArgs> = {}): Promise<Store> {
  const running = await startStore({ dir: join(folder, String((folders += 1))), ...args });
  t.teardown(() => running.stop());
  return running;
}

const addressOf = ({ port }: Store, more: Partial<StoreAddress> = {}): StoreAddress => ({
  host: '127.0.0.1',
  port,
  database: 0,
  tls: undefined,
  user: undefined,
  password: undefined,
  timeoutMs: 20_000,
  ...more,
});

interface Replica extends SharedStore {
  readonly told: (string | undefined)[];
}

async function replica(
  t: Test,
  address: StoreAddress,
  more: Partial<SharedStoreOptions> = {},
): Promise<Replica> {
  const told: (string | undefined)[] = [];
  const shared = new SharedStore({
    address,
    gateway: NAME,
    windowMs: { message: 60_000, assertion: 60_000, proof: 60_000 },
    random: () => `${Math.random()}`,
    monotonic: () => performance.now(),
    hasTaken: () => false,
    onTrouble: (detail) => void told.push(detail),
    ...more,
  });
  t.teardown(() => shared.close());
  await until(() => told.length > 0);
  return Object.assign(shared, { told });
}

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries += 1) {
    if (tries > 6000) throw new Error('it never came to that');
    await delay(10);
  }
}

void t.test('an id is taken once, by whichever replica is first', { skip }, async (t) => {
  const at = addressOf(await store(t));
  const [one, other] = [await replica(t, at), await replica(t, at)];
  await one.claim([{ kind: 'message', id: 'gw.b07 x' }]);
  await t.rejects(other.claim([{ kind: 'message', id: 'gw.b07 x' }]), { code: 'message.replayed' });
  await one.claim([{ kind: 'assertion', id: 'c 1' }]);
  await t.rejects(other.claim([{ kind: 'assertion', id: 'c 1' }]), { code: 'assertion.replayed' });
  await one.claim([{ kind: 'proof', id: 'c 1' }]); // of another kind
  await t.rejects(
    other.claim([
      { kind: 'message', id: 'new' },
      { kind: 'proof', id: 'c 1' },
    ]),
    {
      code: 'assertion.proof_replayed',
    },
  );
  await t.rejects(
    one.claim([{ kind: 'message', id: 'new' }]),
    { code: 'message.replayed' },
    'used up with it',
  );
  const stranger = await replica(t, at, { gateway: 'gw.b07.tw.troad.example' });
  await stranger.claim([{ kind: 'message', id: 'gw.b07 x' }]); // another gateway in the same store
  await one.claim([]);
});

void t.test('of many that claim one id together exactly one wins', { skip }, async (t) => {
  const at = addressOf(await store(t));
  const replicas = await Promise.all(Array.from({ length: 4 }, () => replica(t, at)));
  const ids = Array.from({ length: 200 }, (_, i) => `id ${i}`);
  const won = new Map<string, number>();
  await Promise.all(
    replicas.flatMap((each) =>
      ids.map((id) =>
        each.claim([{ kind: 'message', id }]).then(
          () => won.set(id, (won.get(id) ?? 0) + 1),
          (cause: unknown) => t.match(cause, { code: 'message.replayed' }),
        ),
      ),
    ),
  );
  t.same(
    [...won.values()],
    ids.map(() => 1),
  );
});

void t.test('an id is kept for the window of its kind', { skip }, async (t) => {
  const running = await store(t);
  const windowMs = { message: 60_000, assertion: 60_000, proof: 2000 };
  const one = await replica(t, addressOf(running), { windowMs });
  await one.claim([
    { kind: 'proof', id: 'p' },
    { kind: 'message', id: 'm' },
  ]);
  const direct = await StoreConnection.open(addressOf(running));
  t.teardown(() => direct.destroy(new Error('over')));
  const left = async (key: string): Promise<number> =>
    Number(await direct.ask(['PTTL', `troad:${NAME}:${key}`]));
  t.ok((await left('proof:p')) > 0 && (await left('proof:p')) <= 2000);
  t.ok((await left('message:m')) > 2000);
  while ((await left('proof:p')) !== -2) await delay(20);
  await one.claim([{ kind: 'proof', id: 'p' }]);
});

void t.test('a store that went away: nothing is admitted, until it is back', { skip }, async (t) => {
  const running = await store(t, { more: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  const one = await replica(t, addressOf(running));
  await one.claim([{ kind: 'message', id: 'm' }]);
  running.child.kill('SIGKILL');
  await until(() => one.trouble !== undefined);
  await t.rejects(one.claim([{ kind: 'message', id: 'other' }]), { code: 'gateway.replicas' });
  await t.rejects(one.lastActive('s'), { code: 'gateway.replicas' });
  one.saw('s', 1); // nobody waits for that
  await running.stop();
  await startAgain(t, running, ['--appendonly', 'yes']);
  await until(() => one.trouble === undefined);
  await t.rejects(one.claim([{ kind: 'message', id: 'm' }]), { code: 'message.replayed' }, 'it remembers');
  t.equal(one.told.at(-1), undefined);
});

const startAgain = async (t: Test, { port }: Store, more: readonly string[]): Promise<void> => {
  await store(t, { dir: join(folder, String(folders)), port, more });
};

void t.test(
  'a store that has forgotten: nothing is admitted until what it knew has expired',
  { skip },
  async (t) => {
    const running = await store(t);
    const clock = { now: 0 };
    const monotonic = (): number => clock.now;
    const windowMs = { message: 2000, assertion: 3000, proof: 1000 };
    const one = await replica(t, addressOf(running), { monotonic, windowMs });
    await one.claim([{ kind: 'message', id: 'm' }]);
    running.child.kill('SIGKILL');
    await running.stop();
    await until(() => one.trouble !== undefined);
    await store(t, { port: running.port }); // empty
    await until(() => /forgotten/.test(one.trouble ?? ''));
    await t.rejects(one.claim([{ kind: 'message', id: 'm' }]), { code: 'gateway.replicas' });
    clock.now = 2000;
    t.match(one.trouble, /waiting 1 s/);
    // Another replica that starts now, or another worker of the same: it knows of no other memory, but of the hold.
    const late = await replica(t, addressOf(running), { monotonic, windowMs });
    t.match(late.trouble, /forgotten/);
    await t.rejects(late.claim([{ kind: 'message', id: 'm' }]), { code: 'gateway.replicas' });
    clock.now = 5000;
    t.equal(one.trouble, undefined);
    t.equal(late.trouble, undefined);
    await one.claim([{ kind: 'message', id: 'm' }]);
  },
);

void t.test('a process that remembers and a store that does not: the same', { skip }, async (t) => {
  const at = addressOf(await store(t));
  const workers = Array.from({ length: 4 }, () =>
    replica(t, at, { hasTaken: () => true, monotonic: () => 0 }),
  );
  for (const worker of await Promise.all(workers)) t.match(worker.trouble, /forgotten/);
});

void t.test('a new store and nobody who remembers: nothing is waited for', { skip }, async (t) => {
  const at = addressOf(await store(t));
  const [one, other] = [await replica(t, at), await replica(t, at, { hasTaken: () => true })];
  t.equal(one.trouble, undefined);
  t.equal(other.trouble, undefined, 'it finds a memory that nobody knew to be incomplete');
});

void t.test('a store that would evict, or refuses to write, is not used', { skip }, async (t) => {
  const evicting = await store(t, { more: ['--maxmemory', '5mb', '--maxmemory-policy', 'allkeys-lru'] });
  const one = await replica(t, addressOf(evicting));
  t.match(one.trouble, /evict/);
  await t.rejects(one.claim([{ kind: 'message', id: 'm' }]), { code: 'gateway.replicas' });
  const full = await store(t, { more: ['--maxmemory', '5mb', '--maxmemory-policy', 'noeviction'] });
  const other = await replica(t, addressOf(full));
  t.equal(other.trouble, undefined);
  const direct = await StoreConnection.open(addressOf(full));
  t.teardown(() => direct.destroy(new Error('over')));
  for (const size of [100_000, 1000, 10])
    for (let i = 0; (await direct.send(['SET', `${size} ${i}`, 'x'.repeat(size)])) === 'OK'; i++);
  await t.rejects(other.claim([{ kind: 'message', id: 'm' }]), { code: 'gateway.replicas', message: /OOM/ });
});

void t.test('a store that hangs is given up after the time for it', { skip }, async (t) => {
  const running = await store(t);
  const one = await replica(t, addressOf(running, { timeoutMs: 1500 }));
  running.child.kill('SIGSTOP');
  t.teardown(() => running.child.kill('SIGCONT'));
  await t.rejects(one.claim([{ kind: 'message', id: 'm' }]), {
    code: 'gateway.replicas',
    message: /not answer/,
  });
  t.match(one.trouble, /not answer|connect/);
  running.child.kill('SIGCONT');
  await until(() => one.trouble === undefined);
  await one.claim([{ kind: 'message', id: 'n' }]);
});

void t.test('what is no store is not believed', { skip: false }, async (t) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo; // a TCP server's address is one
  const at = addressOf({ port } as Store); // nothing else is read
  await t.rejects(StoreConnection.open(at), { name: 'MalformedBytes' });
  const one = await replica(t, at);
  t.match(one.trouble, /reply of the kind/);
});

void t.test('TLS and passwords', { skip }, async (t) => {
  const dir = join(folder, 'tls');
  mkdirSync(dir);
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  openssl(
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'].concat([
      '-subj',
      '/CN=store',
      '-addext',
      'subjectAltName=IP:127.0.0.1',
      '-keyout',
      key,
      '-out',
      cert,
    ]),
  );
  const running = await store(t, { tls: { cert, key }, more: ['--requirepass', 'a b"c\r\n'] });
  const { readFileSync } = await import('node:fs');
  const tls = { ca: readFileSync(cert) };
  const password = 'a b"c\r\n';
  const one = await replica(t, addressOf(running, { tls, password, database: 3 }));
  await one.claim([{ kind: 'message', id: 'm' }]);
  const named = await replica(t, addressOf(running, { tls, password, user: 'default', database: 3 }));
  await t.rejects(named.claim([{ kind: 'message', id: 'm' }]), { code: 'message.replayed' });
  for (const [what, more, why] of [
    ['no password', { tls, password: undefined }, /NOAUTH/],
    ['another password', { tls, password: 'guess' }, /WRONGPASS/],
    ['a CA of nobody', { tls: { ca: undefined }, password }, /self.signed/],
    ['plain TCP', { password }, /closed|ECONNRESET|not answer/],
  ] as const)
    await t.rejects(StoreConnection.open(addressOf(running, more)), { message: why }, what);
});

void t.test('activity and security events reach the other replicas', { skip }, async (t) => {
  const running = await store(t);
  const at = addressOf(running);
  const [one, other] = [await replica(t, at), await replica(t, at)];
  t.equal(await other.lastActive('session'), 0);
  one.saw('session', 1_700_000_000);
  for (let tries = 0; (await other.lastActive('session')) === 0 && tries < 3000; tries += 1) await delay(10);
  t.equal(await other.lastActive('session'), 1_700_000_000);

  const problems: string[] = [];
  const relay = async (taken: string[]): Promise<SignalRelay> => {
    const opened = await SignalRelay.open({
      address: at,
      gateway: NAME,
      now: Date.now,
      take: async (set) => {
        if (set === 'broken') throw new SecurityEventRefused('invalid_request', 'cannot be taken');
        taken.push(set);
      },
      onProblem: (detail) => void problems.push(detail),
    });
    t.teardown(() => opened.close());
    return opened;
  };
  const [first, second, late] = [[], [], []] as [string[], string[], string[]];
  const [transmitter, receiver] = [await relay(first), await relay(second)];
  transmitter.follow();
  receiver.follow();
  await transmitter.publish('one');
  await transmitter.publish('broken');
  await transmitter.publish('two');
  await until(() => first.length === 2 && second.length === 2);
  t.same(
    [first, second],
    [
      ['one', 'two'],
      ['one', 'two'],
    ],
  );
  t.same(problems, ['cannot be taken', 'cannot be taken']);
  for (let i = 0; i < 5; i += 1) await transmitter.publish('one'); // whoever has seen an event can deliver it again
  const direct = await StoreConnection.open(at);
  t.equal(await direct.ask(['XLEN', `troad:${NAME}:signals`]), 3, 'the store does not grow by it');
  direct.destroy(new Error('over'));
  await relay(late);
  t.same(late, ['one', 'two'], 'before it is open, a replica that was away knows');

  running.child.kill('SIGKILL');
  await running.stop();
  await t.rejects(transmitter.publish('three'), 'then the transmitter is not told that it is done');
  await store(t, { port: running.port });
  await until(() => problems.length > 3);
  for (let tries = 0; second.length < 3 && tries < 3000; tries += 1) {
    await transmitter.publish('four').catch(() => undefined);
    await delay(20);
  }
  t.equal(second.at(-1), 'four');
});

void t.test('an event that cannot be taken yet is not passed over', { skip }, async (t) => {
  const address = addressOf(await store(t));
  const problems: string[] = [];
  const open = async (taken: string[], isReady = (): boolean => true): Promise<SignalRelay> => {
    const relay = await SignalRelay.open({
      address,
      gateway: NAME,
      now: Date.now,
      take: async (set) => {
        if (!isReady()) throw new Error('the registry has expired');
        taken.push(set);
      },
      onProblem: (detail) => void problems.push(detail),
    });
    t.teardown(() => relay.close());
    return relay;
  };
  const transmitter = await open([]);
  await transmitter.publish('one');
  await transmitter.publish('two');
  const taken: string[] = [];
  let tries = 0;
  const late = await open(taken, () => (tries += 1) > 3);
  t.same(taken, []);
  late.follow();
  await until(() => taken.length === 2);
  t.same(taken, ['one', 'two']);
  t.same(problems, ['the registry has expired'], 'told once');
});
