// The commands as an operator uses them: processes, files, a software TPM.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { GATEWAY, policyBytes } from '../../conformance/builders/attestor-lab.ts';
import { agileLog, eventDigest, healthyBoot } from '../../conformance/builders/event-log.ts';
import { SwtpmLab, swtpmMissing } from '../../conformance/builders/swtpm.ts';
import { PLAIN_NODE } from '../../conformance/harness/plain-node.ts';
import { Authority } from '../../pki/authority.ts';
import { generateKeyPair, privateKeyPem } from '../../pki/keys.ts';
import { administrate } from '../attest/attestor-client.ts';
import { Tpm } from '../attest/tpm.ts';
import { HASH } from '../tpm/algorithm.ts';
import { pcrExtend } from '../tpm/storage-commands.ts';

const dir = mkdtempSync(join(tmpdir(), 'troad-cmd-'));
const running: ChildProcess[] = [];
t.teardown(async () => {
  for (const child of running) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill();
    await once(child, 'exit');
  }
  rmSync(dir, { recursive: true, force: true });
});

const cli = join(import.meta.dirname, '..', 'cli.ts');
const troad = (...args: string[]) =>
  spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8', timeout: 600_000 });

/** Starts a command that goes on, and waits for its line of JSON. */
const started = (...args: string[]) => startedAs([process.execPath, cli], ...args);

async function startedAs([program, ...first]: readonly [string, ...string[]], ...args: string[]) {
  const child = spawn(program, [...first, ...args, '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    // The commands print an object.
    return { child, ready: JSON.parse(line) as Record<string, unknown> };
  }
  throw new Error(complaints);
}

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(dir, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
};

void t.test('enroll, approve, attest, run, status, revoke', { skip: swtpmMissing }, async (t) => {
  const vendors = new SwtpmLab(dir);
  const pc = await vendors.make('pc');
  await pc.start();
  t.teardown(() => pc.stop());
  const tpm = await Tpm.open(pc.address);
  for (const built of healthyBoot()) {
    await tpm.run(pcrExtend(built.pcr, [{ hash: HASH.sha256.id, digest: eventDigest(built) }]));
  }
  await tpm.close();

  const authority = await Authority.create('TW test', Date.now);
  const server = await authority.issueServer();
  file('server.pem', server.chainPem);
  file('server.key', server.keyPem);
  file('signing.key', privateKeyPem(generateKeyPair('p256').privateKey));
  file('root.der', vendors.root);
  file('issuer.der', vendors.issuer);
  file('policy.json', policyBytes());
  const config = {
    issuer: 'attest.tw.troad.example',
    listen: { host: '127.0.0.1', port: 0 },
    cert: 'server.pem',
    key: 'server.key',
    signingKey: 'signing.key',
    stateDir: 'state',
    policy: 'policy.json',
    trust: {
      roots: [],
      intermediates: ['issuer.der'],
      manufacturers: [],
      allowed: [],
      revoked: [],
      lab_softwareTpmRoots: ['root.der'],
    },
    expected: [],
  };
  const { ready, child: attestor } = await started(
    'attestor',
    'run',
    '--config',
    file('attestor.json', JSON.stringify(config)),
  );
  const socket = String(ready['adminSocket']);
  const second = troad('attestor', 'run', '--config', join(dir, 'attestor.json'));
  t.equal(second.status, 1, 'a second one on the same state does not take it away from the first');
  t.match(second.stderr, /devices\.lock: another process has this open/);
  const common = [
    ...['--tpm', pc.address, '--dir', join(dir, 'agent'), '--ca', file('ca.pem', authority.rootPem)],
    ...['--attestor', `https://127.0.0.1:${String(ready['port'])}`],
  ];
  const certificate = file('client.pem', (await authority.issueClient('pc')).pem);
  const attesting = [...common, '--audience', GATEWAY, '--certificate', certificate];
  const logged = ['--event-log', file('log.bin', agileLog(healthyBoot())), '--no-health'];

  const stranger = file('stranger.key', privateKeyPem(generateKeyPair('p256').privateKey));
  const proxy = [
    'device',
    'proxy',
    '--dir',
    dir,
    '--gateway',
    'https://127.0.0.1:1',
    '--ca',
    join(dir, 'ca.pem'),
  ];
  const unfit = troad(...proxy, '--certificate', certificate, '--key', stranger);
  t.equal(unfit.status, 2);
  t.match(unfit.stderr, /--key: .*stranger\.key: is not the key of .*client\.pem/);
  const none = troad(...proxy, '--certificate', stranger, '--key', stranger);
  t.match(none.stderr, /--certificate: .*stranger\.key: .*expected CERTIFICATE/);

  const enrolled = troad('device', 'enroll', ...common, '--name', 'pc');
  t.match(JSON.parse(enrolled.stdout), { state: 'pending' }, enrolled.stderr);
  const early = troad('device', 'attest', ...attesting, ...logged);
  t.equal(early.status, 1);
  t.match(early.stderr, /evidence\.device_inactive/);
  t.match(JSON.parse(troad('attestor', 'approve', 'pc', '--socket', socket).stdout), { state: 'active' });

  const attested = troad('device', 'attest', ...attesting, ...logged);
  t.match(JSON.parse(attested.stdout), { lifeSeconds: 180, token: /^ey/ }, attested.stderr);
  const { child, ready: agent } = await started('device', 'run', ...attesting, ...logged);
  t.match(agent, { result: 'current', name: 'pc' });
  t.match(JSON.parse(troad('device', 'status', '--dir', join(dir, 'agent')).stdout), { result: 'current' });
  child.kill();
  await once(child, 'exit');
  t.equal(child.exitCode, 0);

  t.match(troad('attestor', 'devices', '--socket', socket).stdout, /"name":"pc"/);
  t.match(JSON.parse(troad('attestor', 'revoke', 'pc', '--socket', socket).stdout), {
    state: 'revoked',
    epoch: 2,
  });
  const after = troad('device', 'attest', ...attesting, ...logged);
  t.match(after.stderr, /evidence\.device_inactive/);

  attestor.kill();
  await once(attestor, 'exit');
  t.equal(attestor.exitCode, 0);
  const limited = ['bash', '-c', 'ulimit -f 16; exec "$@"', 'bash', ...PLAIN_NODE, cli] as const;
  const full = await startedAs(limited, 'attestor', 'run', '--config', join(dir, 'attestor.json'));
  let said = '';
  full.child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(full.child, 'exit');
  const reEnrol = { method: 'POST', path: '/devices/pc/re-enrol', body: {} } as const;
  for (let asked = 0; asked < 100 && full.child.exitCode === null; asked += 1)
    await administrate(socket, reEnrol).catch(() => undefined);
  await ended;
  t.equal(full.child.exitCode, 1, 'a service whose disk is full ends, for its supervisor to start it again');
  t.match(said, /the journal of devices cannot be written/);

  const noRoots = { ...config, trust: { ...config.trust, lab_softwareTpmRoots: undefined } };
  const refused = troad('attestor', 'run', '--config', file('bad.json', JSON.stringify(noRoots)));
  t.equal(refused.status, 2);
  t.match(refused.stderr, /at least one root/);
  const empty = JSON.parse(policyBytes().toString()) as { pcrs: { rules: Record<string, object> } };
  delete empty.pcrs.rules['4'];
  file('policy.json', JSON.stringify(empty));
  const lax = troad('attestor', 'run', '--config', join(dir, 'attestor.json'));
  t.equal(lax.status, 2);
  t.match(lax.stderr, /no rule for PCR 4/, 'a policy that accepts everything does not start');
});
