import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';

interface Options {
  readonly dir: string;
  readonly member: string;
  readonly name: string;
  readonly address: string;
  readonly workers: number;
}

/** `troad init`: keys, certificate request and a commented configuration for a new gateway. */
export function registerInit(program: Command): void {
  program
    .command('init')
    .description('make keys, a certificate request and a commented configuration for a new gateway')
    .requiredOption('--dir <dir>', 'folder to write to; nothing in it is ever overwritten')
    .requiredOption('--member <id>', 'member that runs the gateway, like TW/GOV/A11', parseMember)
    .requiredOption('--name <dns>', 'registered name of the gateway, like gw.a11.tw.troad.example')
    .requiredOption('--address <host:port>', 'where other gateways will reach it', parseAddress)
    .option('--workers <n>', 'threads that will carry exchanges, each with a log of its own', parseWorkers, 1)
    .action(async (options: Options) => {
      const { initGateway } = await import('./init/init.ts');
      const dir = resolve(options.dir);
      const written = await initGateway({ ...options, dir });
      process.stdout.write(
        `Written to ${dir}:\n${written.map(({ file, what }) => `  ${file.padEnd(16)} ${what}\n`).join('')}`,
      );
      process.stdout.write(`
Next:
  1. Send link.csr and gateway.json to the registry operator. No private key is in them.
  2. Put what comes back here: link.pem (certificate and its issuer), ca.pem, registry.json, registry-root.pem.
  3. Write your information systems and services into gateway.yaml.
  4. troad doctor --config ${options.dir}/gateway.yaml
  5. troad run --config ${options.dir}/gateway.yaml
`);
    });
}

function parseMember(text: string): string {
  if (text.split('/').length !== 3) throw new InvalidArgumentError('Expected instance/class/member.');
  return text;
}

function parseAddress(text: string): string {
  if (!/^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}$/.test(text))
    throw new InvalidArgumentError('Expected host:port, like gw.a11.example:5500.');
  const port = Number(text.slice(text.lastIndexOf(':') + 1));
  if (port < 1 || port > 65_535) throw new InvalidArgumentError('A port is a number from 1 to 65535.');
  return text;
}

function parseWorkers(text: string): number {
  if (!/^(?:[1-9]|[1-5]\d|6[0-4])$/.test(text))
    throw new InvalidArgumentError('Expected a number from 1 to 64.');
  return Number(text);
}
