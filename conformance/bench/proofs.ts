/**
 * What it costs the pair to know more of who asks: a system on the gateway's own machine; one on another machine, over
 * mutual TLS; that machine attested, at both gateways; and a user, whose assertion both gateways verify. All by turns, the
 * logs on a disk. Needs swtpm and wrk; about a minute.
 *
 *     node conformance/bench/proofs.ts [rounds [connections]]
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { agentPresenter } from '../../gateway/attest/device-presenter.ts';
import { EXPORTER_BYTES, EXPORTER_LABEL } from '../../gateway/device/binding.ts';
import { DEVICE } from '../../gateway/message/device-field.ts';
import { CLIENT_ID, SCRIPT_REDIRECT } from '../../gateway/sandbox/agency-idp.ts';
import { bundleDir } from '../../gateway/sandbox/bundle.ts';
import { ScriptedPerson } from '../../gateway/sandbox/client/scripted-person.ts';
import { ACR } from '../../gateway/sandbox/idp/levels.ts';
import { Sandbox, type SandboxReady } from '../../gateway/sandbox/sandbox.ts';
import { openLab } from './lab.ts';
import { interruption, ON_DISK, temporaryFolder } from './leftovers.ts';
import { closedLoop, type ClosedLoad } from './load-closed.ts';
import { cpuMs, treeCpu } from './procfs.ts';
import { median } from './stats.ts';
import type { Target } from './subjects/subject.ts';
import { openTunnel, type Tunnel } from './tunnel.ts';
import { CLIENT_FIELD, userFields } from './user-load.ts';

const ROUNDS = Number(process.argv[2] ?? 5);
const CONNECTIONS = Number(process.argv[3] ?? 64);
const SECONDS = 3;
const CLI = fileURLToPath(new URL('../../gateway/cli.ts', import.meta.url));

/**
 * Somebody signs in at the sandbox's identity provider, with a passkey, at the machine whose certificate the assertion is
 * bound to: good for many requests, each of which is verified.
 */
async function signIn({ dir: folder, identity, device }: SandboxReady): Promise<string> {
  if (identity === undefined || device === undefined)
    throw new Error('needs swtpm and the optional packages');
  const { issuer, resource } = identity;
  const ca = readFileSync(identity.ca, 'utf8');
  const certificate = {
    cert: readFileSync(device.certificate, 'utf8'),
    key: readFileSync(device.key, 'utf8'),
  };
  const party = { issuer, ca, clientId: CLIENT_ID.certificate, redirectUri: SCRIPT_REDIRECT, certificate };
  const person = new ScriptedPerson('lin.meihua', join(folder, 'lin.json'), { issuer, ca });
  return person.signIn(party, { acr: ACR.aal3, resource });
}

const interrupt = interruption();
const lab = await openLab(8 << 20);
const dir = temporaryFolder(ON_DISK);
const sandbox = await Sandbox.start({
  dir,
  run: [process.execPath, CLI, 'run'],
  runAttestor: [process.execPath, CLI, 'attestor', 'run'],
  bundle: bundleDir(),
  now: Date.now,
  extra: [{ code: 'bench', url: lab.backend.benchUrl }],
});
const { ready } = sandbox;
const tunnels: Tunnel[] = [];
try {
  const { consumer, provider, device } = ready;
  if (device === undefined) throw new Error('needs swtpm');
  const present = agentPresenter(
    device.agent,
    () => performance.now(),
    (why) => {
      throw why;
    },
  );
  const { port } = new URL(consumer.tlsUrl);
  const [ca, cert, key] = [consumer.ca, device.certificate, device.key].map((file) => readFileSync(file));
  const to = { host: '127.0.0.1', port: Number(port), ca, cert, key };
  const bare = await openTunnel(to, () => Promise.resolve(''));
  tunnels.push(bare);
  const attested = await openTunnel(to, async (id) => {
    const exporter = id.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
    return `${DEVICE}: ${(await present({ id, exporter })) ?? ''}\r\n`;
  });
  tunnels.push(attested);
  const path = '/r1/TW/GOV/B07/housing/bench/echo';
  const ways = [
    ["a system on the gateway's machine", () => ({ url: consumer.url + path, headers: CLIENT_FIELD })],
    ['on another, mutual TLS', () => ({ url: bare.url + path, headers: CLIENT_FIELD })],
    ['that machine is attested', () => ({ url: attested.url + path, headers: CLIENT_FIELD })],
    [
      'and a user is shown',
      async () => ({ url: attested.url + path, headers: userFields(await signIn(ready)) }),
    ],
  ] as const;
  const used = (): number => cpuMs(treeCpu([consumer.pid, provider.pid]));
  const load = (target: Target, seconds: number): Promise<ClosedLoad> => {
    interrupt.throwIfAborted();
    return closedLoop(target, CONNECTIONS, seconds);
  };
  /** Microseconds of CPU a request. On an overloaded machine a TPM's result may be renewed too late: then once more. */
  const cost = async (target: () => Target | Promise<Target>, attempts = 3): Promise<number> => {
    const asked = await target();
    const before = used();
    const { requests, errors } = await load(asked, SECONDS);
    if (errors === 0) return ((used() - before) * 1000) / requests;
    if (attempts === 1) throw new Error(`${errors} of ${requests} failed`);
    return cost(target, attempts - 1);
  };
  const rounds: number[][] = [];
  for (const [, target] of ways) await load(await target(), 3 * SECONDS); // compiled code, connections
  for (let round = 0; round < ROUNDS; round += 1) {
    const figures: number[] = [];
    for (const [, target] of ways) figures.push(await cost(target));
    rounds.push(figures);
  }
  for (const [i, [what]] of ways.entries()) {
    const each = rounds.map((figures) => figures[i] ?? Number.NaN);
    const ratio = median(rounds.map((figures) => (figures[i] ?? Number.NaN) / (figures[0] ?? Number.NaN)));
    process.stdout.write(`${what.padEnd(34)} ${median(each).toFixed(0)} µs of CPU, × ${ratio.toFixed(2)}\n`);
  }
} finally {
  for (const tunnel of tunnels) tunnel.close();
  await sandbox.stop();
  await lab.close();
}
