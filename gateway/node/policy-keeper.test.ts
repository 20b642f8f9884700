import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { cpSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { base64url, sha256 } from '../core/bytes.ts';
import type { BundleFiles } from '../trust/bundle.ts';
import { bundleFiles, policyModule, type ModuleSpec } from '../trust/module-fixture.ts';
import { formatRelease, signRelease, type Release } from '../trust/release.ts';
import type { PolicyFiles, ShadowFiles } from './messages.ts';
import type { PolicyFloor } from './policy-admission.ts';
import { PolicyKeeper } from './policy-keeper.ts';
import {
  readState,
  submitRequest,
  writeBundle,
  type PolicyRequest,
  type StoreState,
} from './policy-store.ts';

const DAY = 86_400_000;
const START = Date.UTC(2026, 10, 1);
const privateKey = (): KeyObject => generateKeyPairSync('ed25519').privateKey;
const [anna, bert, eve] = [privateKey(), privateKey(), privateKey()];

/** A bundle by its name: the name is its answer, so the digests differ. */
const filesOf = (name: string, spec: ModuleSpec = {}): BundleFiles =>
  bundleFiles(policyModule({ answer: JSON.stringify([name]), ...spec }));
const digestOf = ({ manifest }: BundleFiles): string => base64url(sha256(manifest));

interface Released {
  readonly keys?: readonly KeyObject[];
  readonly from?: number;
  readonly until?: number;
}

function released(files: BundleFiles, version: number, options: Released = {}): BundleFiles {
  const { keys = [anna, bert], from = START, until = START + 30 * DAY } = options;
  const statement = { bundle: digestOf(files), version, notBefore: from, expiresAt: until };
  const release = keys.reduce<Release>((before, key) => signRelease(statement, key, before), {
    ...statement,
    signatures: [],
  });
  return { ...files, release: Buffer.from(formatRelease(release)) };
}

/** A gateway's main thread around the keeper, with folders of its own. */
async function world(t: Test, first: BundleFiles, signed = true) {
  const dir = t.testdir();
  const [bundle, store] = [join(dir, 'bundle'), join(dir, 'store')];
  writeBundle(bundle, first, false);
  const signers = [anna, bert].map((key, i) => {
    const pem = join(dir, `${i}.pem`);
    writeFileSync(pem, createPublicKey(key).export({ type: 'spki', format: 'pem' }));
    return pem;
  });
  const at = { now: START + DAY };
  const problems: string[] = [];
  const given: PolicyFiles[] = [];
  const shadowed: (readonly ShadowFiles[])[] = [];
  const open = (floor?: PolicyFloor): Promise<PolicyKeeper> =>
    PolicyKeeper.open({
      floor,
      policy: { bundle, store, signers: signed ? signers : [], threshold: signed ? 2 : 0, shadow: [] },
      clock: { now: () => at.now, monotonic: () => 0 },
      emit: (event, fields) => {
        if (event === 'policy.problem' && 'detail' in fields) problems.push(fields.detail);
      },
      onPolicy: async (policy) => {
        given.push(policy);
        return 1.5;
      },
      onShadows: (shadows) => void shadowed.push(shadows),
    });
  const state = (): StoreState => {
    const found = readState(store);
    if (found === undefined) throw new Error('no state');
    return found;
  };
  let requests = 0;
  /** Asks as `troad policy activate` does, and has the keeper look. @returns what became of it */
  const request = async (
    keeper: PolicyKeeper,
    files: BundleFiles | undefined,
    more: Partial<PolicyRequest> = {},
  ): Promise<StoreState['outcome']> => {
    requests += 1;
    const asked: PolicyRequest = { id: `r${requests}`, action: 'activate', bundle: null, ...more };
    submitRequest(store, asked, files);
    await keeper.look();
    t.equal(state().outcome?.id, asked.id);
    t.same(readdirSync(join(store, 'incoming')), [], 'what it brought is cleared away');
    return state().outcome;
  };
  return { bundle, store, at, problems, given, shadowed, open, state, request };
}

const one = filesOf('one');
const two = filesOf('two');
const three = filesOf('three');

void t.test('activation: on disk, told to the workers, kept by digest', async (t) => {
  const { store, given, open, state, request } = await world(t, released(one, 1));
  const keeper = await open();
  t.match(state(), { active: digestOf(one), version: 1 });
  t.match(await request(keeper, released(two, 2)), { code: null, pauseMs: 1.5 });
  t.match(state(), { active: digestOf(two), version: 2, history: [digestOf(one)] });
  t.match(given, [{ act: 'activate', apart: false }]);
  t.equal(keeper.facts.bundle, digestOf(two));
  for (const digest of [digestOf(one), digestOf(two)]) t.ok(readdirSync(store).includes(digest));
  // The same request is not answered twice, and the one in force survives a restart: the folder says nothing new.
  await keeper.look();
  t.equal(given.length, 1);
  t.equal((await open()).facts.bundle, digestOf(two));
});

void t.test('the same content, released again, lives longer', async (t) => {
  const { at, open, state, request } = await world(t, released(one, 1));
  const keeper = await open();
  t.match(await request(keeper, released(one, 2, { until: START + 90 * DAY })), { code: null });
  t.match(state(), { active: digestOf(one), version: 2, history: [] });
  at.now = START + 60 * DAY;
  const again = await open();
  t.equal(again.facts.version, '2');
});

const long = { until: START + 300 * DAY };
const table: readonly (readonly [what: string, files: BundleFiles, code: string])[] = [
  ['an older version', released(three, 1), 'bundle.rollback'],
  ['the same version of other content', released(three, 2), 'bundle.rollback'],
  ['no release', three, 'bundle.unsigned'],
  ['one signer of two', released(three, 3, { keys: [anna] }), 'bundle.signatures_few'],
  ['a signer nobody knows', released(three, 3, { keys: [anna, eve] }), 'bundle.signer_unknown'],
  ['one that has expired', released(three, 3, { until: START + DAY }), 'bundle.expired'],
  ['one that is not valid yet', released(three, 3, { from: START + 2 * DAY }), 'bundle.not_yet_valid'],
  ['another module', { ...released(three, 3), wasm: two.wasm }, 'bundle.digest_mismatch'],
  ['a release of other content', { ...three, ...pick(released(two, 3)) }, 'bundle.digest_mismatch'],
  ['another ABI', released(filesOf('abi', { abi: [1, 2] }), 3), 'bundle.abi'],
  ['a builtin of the host', released(filesOf('time', { builtins: '{"time.now_ns":0}' }), 3), 'bundle.import'],
  ['an import beyond the ABI', released(filesOf('print', { imports: [['env', 'opa_println', [0, 0]]] }), 3), 'bundle.import'],
  ['a module that is none', released(bundleFiles(Buffer.from('wasm')), 3), 'bundle.module'],
]; // prettier-ignore
function pick({ release }: BundleFiles): Pick<BundleFiles, 'release'> {
  return release === undefined ? {} : { release };
}

void t.test('O09, O10, O13: each refusal has its reason, and the one in force goes on', async (t) => {
  const { given, open, state, request } = await world(t, released(two, 2));
  const keeper = await open();
  for (const [what, files, code] of table) {
    t.match(await request(keeper, files), { code, detail: /policy bundle/ }, what);
    t.match(state(), { active: digestOf(two), version: 2 });
  }
  t.same(given, [], 'no worker heard of any');
});

void t.test('O09: files that are no bundle', async (t) => {
  const { store, open, state } = await world(t, released(one, 1));
  const keeper = await open();
  const bad = async (id: string, change: (folder: string) => void, code: string): Promise<void> => {
    const incoming = join(store, 'incoming', id);
    writeBundle(incoming, released(two, 2), false);
    change(incoming);
    submitRequest(store, { id, action: 'activate', bundle: null });
    await keeper.look();
    t.match(state().outcome, { id, code });
  };
  await bad('missing', (at) => rmSync(join(at, 'data.json')), 'bundle.file_missing');
  await bad('extra', (at) => writeFileSync(join(at, 'x.rego'), ''), 'bundle.file_extra');
  await bad('link', (at) => {
    cpSync(join(at, 'data.json'), join(store, 'elsewhere'));
    rmSync(join(at, 'data.json'));
    symlinkSync(join(store, 'elsewhere'), join(at, 'data.json'));
  }, 'bundle.unreadable'); // prettier-ignore
  await bad(
    'large',
    (at) => writeFileSync(join(at, 'release.json'), Buffer.alloc(70_000)),
    'bundle.unreadable',
  );
  // Names that every object answers to.
  for (const name of ['toString', 'constructor', '__proto__'])
    await bad(`named-${name}`, (at) => writeFileSync(join(at, name), ''), 'bundle.file_extra');
  await bad('gone', (at) => rmSync(at, { recursive: true }), 'bundle.unreadable');
  t.equal(state().active, digestOf(one));
});

void t.test('requests that are none', async (t) => {
  const { store, given, open, state } = await world(t, released(one, 1));
  const keeper = await open();
  for (const text of ['', '[]', '{"id":"../x","action":"activate","bundle":null}', '{"id":"a","action":"rm","bundle":null}']) {
    writeFileSync(join(store, 'request.json'), text);
    await keeper.look();
    t.match(state().outcome, { code: 'request.malformed' }, text);
    t.notOk(readdirSync(store).includes('request.json'));
  } // prettier-ignore
  t.same(given, []);
});

void t.test('quarantine: back to the last good one, also after a restart, until it is lifted', async (t) => {
  const { at, given, problems, open, state, request } = await world(t, released(one, 1, long));
  const keeper = await open();
  await request(keeper, released(two, 2)); // expires before the others
  await request(keeper, released(three, 3, long));
  keeper.quarantine(digestOf(two), 'an evaluation that began before the change');
  t.match(state(), { active: digestOf(three), quarantined: [] }, 'one that is not in force any more');
  at.now = START + 40 * DAY;
  keeper.quarantine(digestOf(three), 'worker 1: it overran');
  keeper.quarantine(digestOf(three), 'worker 2: it overran');
  t.match(state(), {
    active: digestOf(one),
    version: 3,
    quarantined: [{ bundle: digestOf(three), why: /worker 1/ }],
  });
  t.equal(state().quarantined.length, 1);
  t.match(given.at(-1), { act: 'return', why: /overran/, apart: false });
  t.match(problems.join('\n'), /cannot return to .*bundle\.expired/, 'not to one that has expired');
  const again = await open();
  t.equal(again.facts.bundle, digestOf(one));
  t.match(await request(again, released(three, 3, long)), {
    code: 'bundle.quarantined',
    detail: /worker 1: it overran/,
  });
  t.match(
    await request(again, released(three, 4, long)),
    { code: 'bundle.quarantined' },
    'nor under another version',
  );
  t.match(await request(again, undefined, { action: 'lift', bundle: digestOf(three) }), { code: null });
  t.match(await request(again, released(three, 3, long)), { code: null });
  t.equal(state().active, digestOf(three));
});

void t.test('quarantine while the same content is looked at: it is not put in force after all', async (t) => {
  const { store, open, state, given } = await world(t, released(one, 1));
  const keeper = await open();
  submitRequest(store, { id: 'a', action: 'activate', bundle: null }, released(two, 2));
  await keeper.look();
  submitRequest(store, { id: 'b', action: 'activate', bundle: null }, released(two, 3));
  const looking = keeper.look();
  keeper.quarantine(digestOf(two), 'it overran'); // its probe is under way
  await looking;
  t.match(state().outcome, { id: 'b', code: 'bundle.quarantined' });
  t.match(state(), { active: digestOf(one), version: 2 });
  t.match(given.at(-1), { act: 'return' });
  t.equal(keeper.facts.bundle, digestOf(one));
});

void t.test('the store holds under a digest what has it, whoever released something else', async (t) => {
  const { store, problems, open, request } = await world(t, released(one, 1));
  const keeper = await open();
  await request(keeper, released(two, 2));
  await request(keeper, released(three, 3));
  const swap = (digest: string, files: BundleFiles): void => {
    rmSync(join(store, digest), { recursive: true });
    writeBundle(join(store, digest), files, false);
  };
  swap(digestOf(two), released(one, 1));
  keeper.quarantine(digestOf(three), 'it overran');
  t.match(problems.join('\n'), /cannot return to .*bundle\.digest_mismatch/);
  t.equal(keeper.facts.bundle, digestOf(one), 'the one before, by its own name');
  swap(digestOf(one), released(two, 2));
  await t.rejects(open(), { code: 'bundle.digest_mismatch' });
});

void t.test('a shadow does not change the release of the one in force', async (t) => {
  const { store, at, open, request } = await world(t, released(one, 1));
  const keeper = await open();
  await request(keeper, released(two, 2, long));
  const inForce = readFileSync(join(store, digestOf(two), 'release.json'));
  const short = { until: at.now + 5000 };
  t.match(await request(keeper, released(two, 1, short), { action: 'shadow' }), { code: null });
  t.ok(readFileSync(join(store, digestOf(two), 'release.json')).equals(inForce));
});

void t.test('quarantine without a predecessor: apart, until there is another', async (t) => {
  const { bundle, given, open, state, request } = await world(t, one, false);
  const keeper = await open();
  keeper.quarantine(digestOf(one), 'it overran');
  t.equal(keeper.policy.apart, true);
  t.same(given, [], 'those that decide with it go on');
  t.equal((await open()).policy.apart, true, 'after a restart, too');
  await keeper.look();
  t.equal(keeper.policy.apart, true, 'the folder holds the same one');
  rmSync(bundle, { recursive: true });
  await keeper.look();
  writeBundle(bundle, two, false);
  await keeper.look();
  t.match(keeper.policy, { apart: false, act: 'activate' });
  t.equal(state().active, digestOf(two));
  t.match(await request(keeper, one), { code: 'bundle.quarantined' });
});

void t.test('at a start: a new bundle in the folder is taken, one that is refused is not', async (t) => {
  const { bundle, problems, open, state, request } = await world(t, released(one, 1));
  const keeper = await open();
  await request(keeper, released(two, 2));
  const put = (files: BundleFiles): void => {
    rmSync(bundle, { recursive: true });
    writeBundle(bundle, files, false);
  };
  put(released(three, 1));
  t.equal((await open()).facts.bundle, digestOf(two));
  t.match(problems.at(-1), /bundle\.rollback/);
  put(released(three, 3));
  t.equal((await open()).facts.bundle, digestOf(three));
  t.match(state(), { active: digestOf(three), version: 3 });
});

void t.test('a state.json of an earlier time: the log knows what was in force since', async (t) => {
  const { store, problems, open, state, request } = await world(t, released(one, 1));
  const keeper = await open();
  const path = join(store, 'state.json');
  const old = readFileSync(path);
  await request(keeper, released(two, 2));
  t.match(keeper.policy, { highest: 2 });
  t.equal((await open({ version: 2, bundle: digestOf(two) })).facts.bundle, digestOf(two));
  t.same(problems, [], 'one that knows as much as the log is right');
  writeFileSync(path, old);
  const back = await open({ version: 2, bundle: digestOf(two) });
  t.equal(back.facts.bundle, digestOf(two), 'it goes on with the newest, which the store still has');
  t.match(problems, [
    /bundle\.rollback: state\.json knows of version 1, the log of 2/,
    /bundle\.rollback: .* version 1, but 2 has been in force/,
  ]);
  t.match(await request(back, released(three, 2)), { code: 'bundle.rollback' });
  writeFileSync(path, old);
  rmSync(join(store, digestOf(two)), { recursive: true });
  for (const floor of [
    { version: 2, bundle: digestOf(two) },
    { version: 2, bundle: null },
  ]) {
    await t.rejects(open(floor), { name: 'ConfigError', code: 'bundle.rollback' }, 'nothing older');
    await t.rejects(open(floor), { code: 'bundle.rollback' }, 'and not at the next start');
    t.match(state(), { active: null, version: 2, newest: floor.bundle });
    writeFileSync(path, old);
  }
});

void t.test('what a start refuses', async (t) => {
  const { open } = await world(t, one);
  await t.rejects(open(), { name: 'ConfigError', code: 'bundle.unsigned' });
  const { store, open: openDamaged } = await world(t, released(one, 1));
  await openDamaged();
  for (const text of [
    '',
    '{}',
    readFileSync(join(store, 'state.json'), 'utf8').replace('store-v1', 'store-v2'),
  ]) {
    writeFileSync(join(store, 'state.json'), text);
    await t.rejects(openDamaged(), {
      name: 'ConfigError',
      message: /state\.json is not a state of this version/,
    });
  }
});

void t.test(
  'one that expires while it is in force stays: its evaluations are refused, not its start',
  async (t) => {
    const { at, open } = await world(t, released(one, 1));
    await open();
    at.now = START + 31 * DAY;
    t.equal((await open()).facts.bundle, digestOf(one));
  },
);

void t.test('shadows: released as well, by any version, kept for a restart', async (t) => {
  const { shadowed, given, open, state, request } = await world(t, released(two, 2));
  const keeper = await open();
  t.match(await request(keeper, released(one, 1), { action: 'shadow' }), { code: null });
  t.match(await request(keeper, three, { action: 'shadow' }), { code: 'bundle.unsigned' });
  t.equal(shadowed.at(-1)?.length, 1);
  t.same(state().shadow, [digestOf(one)]);
  t.equal((await open()).shadows.length, 1);
  t.match(await request(keeper, undefined, { action: 'unshadow', bundle: digestOf(one) }), { code: null });
  t.same(shadowed.at(-1), []);
  t.same(given, [], 'the one in force is not touched');
});
