import { cpSync, readFileSync, writeFileSync } from 'node:fs';
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
      { result: 'bad', outcome: { code: 'bundle.signatures_few', detail: /\w/ } },
    ]);
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
