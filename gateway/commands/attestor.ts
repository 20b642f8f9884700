import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Option, type Command } from 'commander';
import type { AttestorConfig } from '../attest/attestor-config.ts';
import type { AdminAction } from '../attest/administration.ts';
import type { AttestorEvents } from '../attest/attestor.ts';
import { makeFolder } from '../evidence/make-folder.ts';
import { nodeStorage } from '../evidence/node-storage.ts';
import { contentOf } from '../node/named-file.ts';
import { askLocal } from './ask-local.ts';
import { readInput } from './input.ts';
import { stopSignal } from './sandbox.ts';

/** `troad attestor`: verifier and enrolment service for devices, and its administration. */
export function registerAttestor(program: Command): void {
  const attestor = program
    .command('attestor')
    .description('attestation service: takes devices in and appraises them');
  attestor
    .command('run')
    .description('run the service until SIGTERM or SIGINT')
    .requiredOption('--config <file>', 'JSON configuration (docs/devices.md)')
    .option('--learn', 'issue no results; keep what devices show as draft policies')
    .option('--json', 'print one line of JSON when ready')
    .action(async (options: RunOptions) => {
      process.exitCode = await runAttestor(options);
    });
  const admin = new Option('--socket <path>', "the service's admin.sock").makeOptionMandatory();
  attestor
    .command('devices')
    .description('list the devices')
    .addOption(admin)
    .action(async ({ socket }: { socket: string }) => {
      const { devices } = await askLocal(socket, { method: 'GET', path: '/devices' });
      for (const device of Array.isArray(devices) ? (devices as readonly unknown[]) : []) print(device);
    });
  attestor
    .command('draft <device>')
    .description('print the draft policy of what a device showed (the service runs with --learn)')
    .addOption(admin)
    .action(async (device: string, { socket }: { socket: string }) => {
      const draft = await askLocal(socket, {
        method: 'GET',
        path: `/devices/${encodeURI(device)}/draft`,
      });
      process.stdout.write(`${JSON.stringify(draft, undefined, 2)}\n`);
    });
  const actions: readonly (readonly [AdminAction, string])[] = [
    ['approve', 'let a pending device in'],
    ['suspend', 'take trust away until resumed'],
    ['resume', 'give it back'],
    ['revoke', 'take trust away for good'],
    ['re-enrol', 'let its TPM enrol once more with new keys'],
  ];
  for (const [action, what] of actions) {
    const command = attestor.command(`${action} <device>`).description(what).addOption(admin);
    if (action === 'approve') {
      command.option('--gateway <name>', 'it is the host of this gateway (otherwise: an endpoint)');
    }
    command.action(async (device: string, options: { socket: string; gateway?: string }) => {
      const { socket, gateway } = options;
      const body = gateway === undefined ? {} : { class: 'node', gateway };
      print(
        await askLocal(socket, { method: 'POST', path: `/devices/${encodeURI(device)}/${action}`, body }),
      );
    });
  }
}

const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

interface RunOptions {
  readonly config: string;
  readonly learn?: true;
  readonly json?: true;
}

async function runAttestor({ config: path, learn, json }: RunOptions): Promise<number> {
  const [{ parseAttestorConfig }, { Attestor }, { AttestorServer }, { Devices }] = await Promise.all([
    import('../attest/attestor-config.ts'),
    import('../attest/attestor.ts'),
    import('../attest/attestor-server.ts'),
    import('../attest/devices.ts'),
  ]);
  const base = dirname(resolve(path));
  const config = readInput('--config', path, (text) =>
    parseAttestorConfig(text, (name) => contentOf(resolve(base, name))),
  );
  const stateDir = resolve(base, config.stateDir);
  const events = logged();
  warnOfLab(config, learn === true);
  const stopped = stopSignal();
  makeFolder(stateDir);
  // First: a second process would write the journal anew under the first, and take its socket away.
  const release = await nodeStorage().lock(join(stateDir, 'devices.lock'));
  const devices = await Devices.open(join(stateDir, 'devices.journal'));
  const attestor = new Attestor({
    ...config,
    devices,
    clock: { now: Date.now, monotonic: () => performance.now() },
    random: randomBytes,
    signer: { issuer: config.issuer, kid: config.kid, privateKey: config.signingKey },
    learning: learn === true,
    events,
  });
  const adminSocket = resolve(base, config.adminSocket ?? join(stateDir, 'admin.sock'));
  await rm(adminSocket, { force: true }); // of a process that was killed
  const { host, port, cert, key } = config;
  const server = await AttestorServer.start(attestor, { host, port, cert, key, adminSocket, events });
  const ready = { port: server.port, adminSocket, kid: config.kid, policy: config.policy.id };
  if (json === true) print(ready);
  else log('attestor.ready', ready);
  const failure = await Promise.race([stopped, devices.failure]);
  await server.stop();
  await devices.close();
  release();
  // Nothing can be decided any more; whoever supervises the process starts it again, and there may be room by then.
  if (failure !== undefined) throw failure;
  return 0;
}

function log(event: string, fields: object): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...fields })}\n`);
}

function warnOfLab({ trust }: AttestorConfig, learning: boolean): void {
  if (trust.softwareTpms) log('attestor.lab', { what: 'SOFTWARE TPMs ARE ACCEPTED: for laboratories only' });
  if (learning)
    log('attestor.learning', { what: 'no results are issued; every device is refused after appraisal' });
}

function logged(): AttestorEvents {
  return {
    refused: (code, detail, from, alert) =>
      log(alert ? 'attestor.alert' : 'attestor.refused', { code, detail, from }),
    enrolled: ({ id, name, state, software }) => log('attestor.enrolled', { id, name, state, software }),
    changed: ({ id, name, state }, action) => log('attestor.changed', { id, name, state, action }),
    appraised: ({ id, name }, { findings, health }) =>
      log('attestor.appraised', { id, name, findings, health }),
  };
}
