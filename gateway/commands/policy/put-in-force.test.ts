import { cpSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { generateKeyPair, privateKeyPem } from '../../../pki/keys.ts';
import type { GatewayConfig } from '../../config/config.ts';
import { loadConfig } from '../../config/load.ts';
import { PolicyKeeper } from '../../node/policy-keeper.ts';
import { parseRelease } from '../../trust/release.ts';
import { bundleDir } from '../../sandbox/bundle.ts';
import { initGateway } from '../init/init.ts';
import { run } from './command-fixture.ts';

// `troad policy sign` and `activate` for programs; what they do to a gateway: conformance/policy-supply.test.ts.

const dir = join(t.testdir(), 'gateway');
const at = (name: string): string => join(dir, name);
const name = 'gw.a11.tw.troad.example';
await initGateway({ dir, member: 'TW/GOV/A11', name, address: `${name}:5600` });
const config = at('gateway.yaml');
// What the registry's operator sends: has to be there, and nobody looks at it here.
for (const file of ['link.pem', 'ca.pem', 'registry.json', 'registry-root.pem']) writeFileSync(at(file), '');
for (const signer of ['anna', 'bert']) {
  const { privateKey, publicKey } = generateKeyPair('ed25519');
  writeFileSync(at(`${signer}.key`), privateKeyPem(privateKey), { mode: 0o600 });
  writeFileSync(at(`${signer}.pem`), publicKey.export({ type: 'spki', format: 'pem' }));
}
const yaml = readFileSync(config, 'utf8');
const asked = yaml.replace(
  /^policy:\n  bundle: .*\n/m,
  'policy:\n  bundle: draft\n  signers: [anna.pem, bert.pem]\n',
);
t.not(asked, yaml);
writeFileSync(config, asked);
cpSync(bundleDir(), at('draft'), { recursive: true });

/** What a command prints with `--json`, whole, and its exit status. */
async function told(...argv: string[]): Promise<[status: unknown, report: unknown]> {
  const { out, status } = await run(...argv, '--json');
  return [status, JSON.parse(out)];
}

/** The part of a gateway that sees to requests, while it is open. */
async function gatewayOn(policy: GatewayConfig['policy']): Promise<AsyncDisposable> {
  const keeper = await PolicyKeeper.open({
    policy,
    clock: { now: Date.now, monotonic: () => performance.now() },
    emit: () => undefined,
    onPolicy: async () => 1.25,
    floor: undefined,
    onShadows: () => undefined,
  });
  let open = true;
  const looking = (async () => {
    for (; open; await delay(10)) await keeper.look();
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      open = false;
      await looking;
    },
  };
}

const times = ['--release', '3', '--expires', '2999-01-01T00:00:00Z'];

void t.test('sign tells the release as it is in the folder', async (t) => {
  const [, first] = await told('sign', at('draft'), '--key', at('anna.key'), ...times);
  t.match(first, { result: 'good', release: { version: 3, signatures: [{ key: String }] } });
  const [status, report] = await told('sign', at('draft'), '--key', at('bert.key'));
  const file = at('draft/release.json');
  const release = parseRelease(readFileSync(file));
  t.equal(release.signatures.length, 2);
  t.equal(status, 0);
  t.same(report, { result: 'good', file, digest: release.bundle, release });
});

void t.test('activate tells what the gateway says, or that it says nothing', async (t) => {
  const patient = ['--config', config, '--wait', '60'];
  const activate = async (...args: string[]) => told('activate', ...patient, ...args);
  const { bundle: digest } = parseRelease(readFileSync(at('draft/release.json')));
  {
    await using _ = await gatewayOn(loadConfig(config).policy);
    cpSync(at('draft'), at('later'), { recursive: true });
    await run('sign', at('later'), '--key', at('bert.key'), '--fresh', ...times);
    t.match(await activate(at('draft')), [
      0,
      { result: 'good', action: 'activate', outcome: { code: null, pauseMs: 1.25 } },
    ]);
    t.match(await activate(at('later')), [
      1,
      {
        result: 'bad',
        outcome: { code: 'bundle.signatures_few', detail: /\w/ },
        en: /threshold/,
        zh: /門檻/,
      },
    ]);
    t.strictSame(await run('activate', ...patient, at('later')), {
      status: 1,
      out: `refused  拒絕: bundle.signatures_few
  Fewer signers than the threshold have signed. 簽署者人數未達門檻。
  policy bundle: 1 of the 2 signatures needed (bundle.signatures_few)
`,
    });
    t.match(await activate('--lift', digest), [
      0,
      { result: 'good', action: 'lift', outcome: { code: null } },
    ]);
    t.match(await run('activate', ...patient, at('draft')), {
      status: 0,
      out: /^done  完成: activate; .* 1\.3 ms\n$/,
    });
  }
  const silent = await activate(at('draft'), '--shadow', '--wait', '0.3');
  t.strictSame(silent, [1, { result: 'unanswered', action: 'shadow', outcome: null }]);
});

void t.test('activate does not wait for a gateway that may not read what this user writes', async (t) => {
  const { store } = loadConfig(config).policy;
  const { uid } = statSync(store);
  const posix = process as Required<Pick<NodeJS.Process, 'geteuid'>>; // as the shell that would say sudo
  t.capture(posix, 'geteuid', () => uid + 1);
  await t.rejects(run('activate', at('draft'), '--config', config), {
    name: 'ConfigError',
    message: `${store}: is of user ${uid}, and this is user ${uid + 1}: run this as the gateway's user, sudo -u '#${uid}'`,
  });
  t.same(readdirSync(join(store, 'incoming')).length, 1, 'what the test before left, and no more');
});

void t.test('verify tells a release whose signatures it checked from one whose it did not', async (t) => {
  const file = at('later/release.json');
  const forged = readFileSync(file, 'utf8').replace(/(?<="sig": ")..../, (c) =>
    c === 'AAAA' ? 'BBBB' : 'AAAA',
  );
  writeFileSync(file, forged);
  t.match(await run('verify', at('later')), {
    status: 0,
    out: /1 signature\(s\), NOT CHECKED: name the signers/,
  });
  t.match(await told('verify', at('later')), [0, { result: 'good', signaturesChecked: false }]);
  t.match(await told('verify', at('later'), '--signer', at('bert.pem')), [
    1,
    { result: 'bad', code: 'bundle.signature_bad', en: /verify/ },
  ]);
  // Signed by both, and asked about one: the other is a stranger.
  const about = ['verify', at('draft'), '--signer', at('anna.pem')];
  t.match(await run(...about), { status: 0, out: /, signed by at least 1 of the 1 signers named\n/ });
  t.match(await told(...about), [0, { signaturesChecked: true }]);
});
