import { once } from 'node:events';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InvalidArgumentError, type Command } from 'commander';
import type { SandboxOptions, SandboxReady } from '../sandbox/sandbox.ts';
import { naming } from '../core/file-errors.ts';
import { makeFolder } from '../evidence/make-folder.ts';
import { registerSandboxAssertion } from './sandbox-assertion.ts';
import { registerSandboxDevice } from './sandbox-device.ts';

interface Options {
  readonly dir: string;
  readonly json?: true;
  readonly bodyIdle?: number;
  readonly workers?: number;
  readonly devices: boolean;
  readonly scenarios?: true;
  readonly service: readonly { readonly code: string; readonly url: string }[];
}

/** `troad sandbox`: a whole T-Road on loopback, until SIGTERM or SIGINT. */
export function registerSandbox(program: Command): void {
  const sandbox = program
    .command('sandbox')
    .description('run a whole T-Road on this machine: two agencies, their gateways, services to try')
    .requiredOption('--dir <dir>', 'folder for keys, registry and logs; a second start continues them')
    .option('--json', 'print one line of JSON when ready, and nothing else on standard output')
    .option('--body-idle <seconds>', 'end a transfer after so long a silence', seconds)
    .option('--workers <n>', 'threads of each gateway that carry exchanges, each with a log of its own', few)
    .option('--no-devices', 'without TPMs, and so without services that demand an attested machine')
    .option('--scenarios', 'with the policies of policies/examples, and a service behind each')
    .option('--service <code=url>', 'offer another service of agency B (repeatable)', collect, [])
    .action(async (options: Options) => {
      process.exitCode = await runSandbox(options);
    });
  registerSandboxAssertion(sandbox);
  registerSandboxDevice(sandbox);
}

function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 3600) {
    throw new InvalidArgumentError('Expected whole seconds from 1 to 3600');
  }
  return value;
}

function few(text: string): number {
  if (!/^[1-4]$/.test(text)) throw new InvalidArgumentError('Expected a number from 1 to 4');
  return Number(text);
}

function collect(text: string, all: Options['service']): Options['service'] {
  const [code, url] = [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)];
  if (!/^[A-Za-z0-9._-]{1,40}$/.test(code) || !URL.canParse(url)) {
    throw new InvalidArgumentError('Expected CODE=URL, like bench=http://127.0.0.1:8080');
  }
  return [...all, { code, url }];
}

async function runSandbox({
  dir,
  json,
  service,
  bodyIdle,
  workers,
  devices,
  scenarios,
}: Options): Promise<number> {
  const [{ Sandbox }, { examplesDir }] = await Promise.all([
    import('../sandbox/sandbox.ts'),
    import('../sandbox/bundle.ts'),
  ]);
  const stopped = stopSignal();
  const sandbox = await Sandbox.start({
    ...(await sandboxOptions(dir, devices)),
    extra: service,
    ...(scenarios === true && { scenarios, bundle: examplesDir() }),
    ...(bodyIdle === undefined ? {} : { bodyIdleSeconds: bodyIdle }),
    ...(workers === undefined ? {} : { workers }),
    onLine: (_, line) => process.stderr.write(`${line}\n`),
  });
  if (json === true) process.stdout.write(`${JSON.stringify(sandbox.ready)}\n`);
  else process.stdout.write(welcome(sandbox.ready));
  const broken = await Promise.race([stopped, sandbox.broken]);
  await sandbox.stop();
  if (broken === undefined) return 0;
  console.error(broken);
  return 1;
}

/** What every start of a sandbox from this program shares. */
export async function sandboxOptions(
  dir: string,
  devices: boolean,
): Promise<Omit<SandboxOptions, 'extra' | 'onLine' | 'bodyIdleSeconds' | 'workers'>> {
  const absolute = resolve(dir);
  naming(`--dir ${dir}`, () => makeFolder(absolute));
  const cli = fileURLToPath(
    new URL(import.meta.url.endsWith('.ts') ? '../cli.ts' : '../cli.js', import.meta.url),
  );
  const { bundleDir } = await import('../sandbox/bundle.ts');
  return {
    dir: absolute,
    // The runtime's own code in pages of 2 MiB, as deploy/ has it too: a twentieth of a gateway's CPU.
    run: [process.execPath, '--use-largepages=silent', cli, 'run'],
    ...(devices && { runAttestor: [process.execPath, cli, 'attestor', 'run'] }),
    bundle: bundleDir(),
    now: Date.now,
  };
}

/**
 * The first signal that asks for the end: of a terminal that closes, too, as the gateways do not end by that. A second one,
 * to a process or to its whole group, does not cut the stop short.
 */
export async function stopSignal(): Promise<undefined> {
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'];
  await Promise.race(signals.map((signal) => once(process, signal)));
  for (const signal of signals) process.on(signal, () => undefined);
  return undefined;
}

const welcome = ({
  consumer,
  dir,
  trust,
  provider,
  identity,
  device,
}: SandboxReady): string => `A T-Road is running in ${dir}

  curl -H 'X-Road-Client: TW/GOV/A11/welfare' ${consumer.url}/r1/TW/GOV/B07/housing/echo/hello

${identity === undefined ? '' : signIn(identity, consumer.url, dir)}${device === undefined ? '' : machine(device, dir)}Then prove what happened:

  troad audit verify ${consumer.log} ${provider.log} --trust ${trust}

Ctrl-C stops it.
`;

const signIn = ({ enrol, desk }: NonNullable<SandboxReady['identity']>, url: string, dir: string): string =>
  `With a user: enrol a passkey at ${enrol}, then open ${desk}; or without a browser:

  troad sandbox assertion --dir ${dir} --headers |
    curl -H @- -H 'X-Road-Client: TW/GOV/A11/welfare' ${url}/r1/TW/GOV/B07/housing/cases

`;

const machine = ({ proxy }: NonNullable<SandboxReady['device']>, dir: string): string =>
  `From an attested machine, and then from one that somebody has broken into:

  curl -H 'X-Road-Client: TW/GOV/A11/welfare' ${proxy}/r1/TW/GOV/B07/housing/attested/echo/hello
  troad sandbox device --dir ${dir} --break extend-pcr

`;
