import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { AgentOptions } from '../attest/agent.ts';
import type { Host } from '../attest/collectors.ts';
import { describe } from '../core/errors.ts';
import { askLocal } from './ask-local.ts';
import { readAuthorities, readPair } from '../node/key-files.ts';
import { readInput } from './input.ts';
import { stopSignal } from './sandbox.ts';

const FIRMWARE_LOG = '/sys/kernel/security/tpm0/binary_bios_measurements';

interface ServiceOptions {
  readonly tpm: string;
  readonly dir: string;
  readonly attestor: string;
  readonly ca: string;
}

interface AttestOptions extends ServiceOptions {
  readonly audience: string;
  readonly certificate: string;
  readonly eventLog: string;
  readonly health: boolean;
  readonly cves?: string;
}

/** `troad device`: the agent that proves this machine with its TPM. */
export function registerDevice(program: Command): void {
  const device = program.command('device').description('prove this machine with its TPM');
  const service = (command: Command): Command =>
    command
      .option('--tpm <address>', 'device:PATH, unix:PATH or tcp:HOST:PORT', 'device:/dev/tpmrm0')
      .requiredOption('--dir <dir>', 'folder of this agent')
      .requiredOption('--attestor <url>', 'https URL of the attestation service', httpsUrl)
      .requiredOption('--ca <file>', "authorities that may have issued the service's certificate, PEM");
  const attesting = (command: Command): Command =>
    service(command)
      .requiredOption('--audience <gateway>', 'gateway that the result is for')
      .requiredOption('--certificate <file>', 'TLS certificate that this machine shows there, PEM')
      .option('--event-log <file>', "the firmware's event log", FIRMWARE_LOG)
      .option('--cves <file>', 'known weaknesses that a scanner of this machine found, JSON')
      .option('--no-health', 'say nothing about updates, antivirus and configuration');

  service(
    device.command('enroll').alias('enrol').description('make keys in the TPM and register this machine'),
  )
    .requiredOption('--name <name>', 'how people call this machine')
    .option('--issuer <file...>', "certificates of the TPM vendor's authorities, PEM or DER", [])
    .action(
      async ({ name, issuer, ...options }: ServiceOptions & { name: string; issuer: readonly string[] }) => {
        process.exitCode = await withAgent(options, async (parts) => {
          const [{ DeviceAgent }, { certificatesOf }] = await Promise.all([
            import('../attest/agent.ts'),
            import('../attest/attestor-config.ts'),
          ]);
          const issuers = issuer.flatMap((path) => readInput('--issuer', path, certificatesOf));
          print(await DeviceAgent.enrol(parts, name, issuers));
        });
      },
    );
  attesting(device.command('attest').description('attest once and print the result')).action(
    async (options: AttestOptions) => {
      process.exitCode = await withAgent(options, async (parts) => {
        const { DeviceAgent } = await import('../attest/agent.ts');
        const agent = await DeviceAgent.open({ ...parts, ...(await evidenceOf(options)) });
        print(await agent.attest(options.audience, readAuthorities('--certificate', options.certificate)));
        await agent.release();
      });
    },
  );
  attesting(
    device.command('run').description('keep a result fresh and sign connections, until SIGTERM or SIGINT'),
  )
    .option('--json', 'print one line of JSON when ready')
    .action(async (options: AttestOptions & { json?: true }) => {
      process.exitCode = await withClient(options, (client) => runAgent(options, client));
    });
  device
    .command('proxy')
    .description(
      'plain HTTP on loopback for programs that know nothing of attestation, until SIGTERM or SIGINT',
    )
    .requiredOption('--dir <dir>', 'folder of the agent that runs on this machine')
    .requiredOption('--gateway <url>', 'https URL of the gateway', httpsUrl)
    .requiredOption('--ca <file>', "authorities that may have issued the gateway's certificate, PEM")
    .requiredOption('--certificate <file>', 'certificate that this machine shows there, PEM')
    .requiredOption('--key <file>', 'its private key, PEM')
    .option('--port <port>', 'on 127.0.0.1', portNumber, 8080)
    .option('--json', 'print one line of JSON when ready')
    .action(runProxy);
  device
    .command('status')
    .description('what the running agent has')
    .addOption(new Option('--dir <dir>', 'folder of the agent').makeOptionMandatory())
    .action(async ({ dir }: { dir: string }) => {
      const status = await askLocal(join(dir, 'agent.sock'), { method: 'GET', path: '/status' });
      print(status);
      process.exitCode = status['result'] === 'current' ? 0 : 1;
    });
}

const print = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

type Parts = Pick<AgentOptions, 'tpm' | 'dir' | 'client'>;
type Client = AgentOptions['client'];

/** Opens the service, and closes it whatever happens. */
async function withClient(options: ServiceOptions, use: (client: Client) => Promise<void>): Promise<number> {
  const { AttestorClient } = await import('../attest/attestor-client.ts');
  const client = new AttestorClient(options.attestor, readAuthorities('--ca', options.ca));
  try {
    await use(client);
    return 0;
  } finally {
    client.close();
  }
}

/** Opens TPM and service, and closes them whatever happens. */
const withAgent = (options: ServiceOptions, use: (parts: Parts) => Promise<void>): Promise<number> =>
  withClient(options, async (client) => {
    const { Tpm } = await import('../attest/tpm.ts');
    const tpm = await Tpm.open(options.tpm);
    try {
      await use({ tpm, dir: options.dir, client });
    } finally {
      await tpm.close();
    }
  });

/** The log is read each time: firmware ends it, but a kexec or a late launch may go on. */
async function evidenceOf({
  eventLog,
  health,
  cves,
}: AttestOptions): Promise<Pick<AgentOptions, 'eventLog' | 'claims'>> {
  const [{ collect, LINUX, SILENT }, { keptClaims }] = await Promise.all([
    import('../attest/collectors.ts'),
    import('../attest/kept-claims.ts'),
  ]);
  return {
    eventLog: () => readFile(eventLog),
    claims: keptClaims(
      () => collect(host, 'troad 0.1.0', health ? LINUX : SILENT, cves),
      () => performance.now(),
    ),
  };
}

async function runAgent(options: AttestOptions & { json?: true }, client: Client): Promise<void> {
  const [{ DeviceAgent }, { AgentService }, { LastingAgent }, { Tpm }] = await Promise.all([
    import('../attest/agent.ts'),
    import('../attest/agent-service.ts'),
    import('../attest/lasting-agent.ts'),
    import('../attest/tpm.ts'),
  ]);
  const stopped = stopSignal();
  const evidence = await evidenceOf(options);
  const agent = await LastingAgent.open(async () => {
    const tpm = await Tpm.open(options.tpm);
    try {
      const opened = await DeviceAgent.open({ tpm, dir: options.dir, client, ...evidence });
      const close = async (): Promise<void> => {
        await opened.release().catch(() => undefined); // of a TPM that is lost, there is nothing to take out
        await tpm.close();
      };
      return { agent: opened, close };
    } catch (thrown) {
      await tpm.close();
      throw thrown;
    }
  });
  const service = new AgentService({
    agent,
    audience: options.audience,
    certificate: readAuthorities('--certificate', options.certificate),
    clock: { now: Date.now, monotonic: () => performance.now() },
    jitter: () => randomInt(1000) / 1000,
    events: {
      attested: (lifeSeconds) => log('device.attested', { lifeSeconds }),
      failed: (why, retryMs) => log('device.failed', { why, retryMs: Math.round(retryMs) }),
    },
  });
  const socket = join(options.dir, 'agent.sock');
  await rm(socket, { force: true }); // of an agent that was killed
  await service.listen(socket);
  await service.start();
  const ready = { socket, ...service.status };
  if (options.json === true) print(ready);
  else log('device.ready', ready);
  await stopped;
  await service.stop();
  await agent.close();
}

interface ProxyOptions {
  readonly dir: string;
  readonly gateway: string;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly port: number;
  readonly json?: true;
}

async function runProxy({ dir, gateway, ca, certificate, key, port, json }: ProxyOptions): Promise<void> {
  const [{ DeviceProxy }, { agentPresenter }] = await Promise.all([
    import('../attest/device-proxy.ts'),
    import('../attest/device-presenter.ts'),
  ]);
  const stopped = stopSignal();
  const failed = (what: string) => (why: unknown) => log(what, { why: describe(why) });
  const proxy = await DeviceProxy.start({
    gateway,
    ca: readAuthorities('--ca', ca),
    // A key of another certificate would be found out by every request, and by nothing before.
    ...readPair(['--certificate', certificate], ['--key', key]),
    host: '127.0.0.1',
    port,
    present: agentPresenter(join(dir, 'agent.sock'), () => performance.now(), failed('proxy.unattested')),
    failed: failed('proxy.failed'),
  });
  const ready = { url: `http://127.0.0.1:${proxy.port}`, gateway };
  if (json === true) print(ready);
  else log('proxy.ready', ready);
  await stopped;
  await proxy.stop();
}

function portNumber(text: string): number {
  const number = Number(text);
  if (!/^\d{1,5}$/.test(text) || number > 65_535)
    throw new InvalidArgumentError('Expected a number from 0 to 65535');
  return number;
}

function httpsUrl(text: string): string {
  if (!URL.canParse(text) || !text.startsWith('https:'))
    throw new InvalidArgumentError('Expected an https URL, like https://attestor.a11.example:5443');
  return text;
}

function log(event: string, fields: object): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...fields })}\n`);
}

/** This machine, for the collectors. A missing file or program is an answer, too. */
const host: Host = {
  read: (path) => readFile(path, 'latin1').catch(() => undefined),
  changed: (path) =>
    stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    ),
  run: (command, args) =>
    new Promise((resolve) => {
      const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
      execFile(
        command,
        args,
        { timeout: 30_000, maxBuffer: 8 * 1024 * 1024, env: environment },
        (error, stdout) => {
          resolve(error === null ? stdout : undefined);
        },
      );
    }),
  now: Date.now,
};
