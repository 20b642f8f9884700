import { join, resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseAddress } from '../registry/address.ts';
import { dnsName } from '../registry/parse.ts';
import { MESSAGE_KEYS, type MessageKeyKind } from './init/message-keys.ts';

interface Options {
  readonly dir: string;
  readonly member: string;
  readonly name: string;
  readonly address: string;
  readonly workers: number;
  readonly messageKey: MessageKeyKind;
}

/** `troad init`: keys, certificate request and a commented configuration for a new gateway. */
export function registerInit(program: Command): void {
  program
    .command('init')
    .description('make keys, a certificate request and a commented configuration for a new gateway')
    .requiredOption('--dir <dir>', 'folder to write to; nothing in it is ever overwritten')
    .requiredOption('--member <id>', 'member that runs the gateway, like TW/GOV/A11', parseMember)
    .requiredOption(
      '--name <dns>',
      'registered name of the gateway, like gw.a11.tw.troad.example',
      registeredName,
    )
    .requiredOption('--address <host:port>', 'where other gateways will reach it', registeredAddress)
    .option('--workers <n>', 'threads that will carry exchanges, each with a log of its own', parseWorkers, 1)
    .addOption(
      new Option('--message-key <kind>', 'what signs exchanges; p256 where only NIST curves are permitted')
        .choices(MESSAGE_KEYS)
        .default('ed25519'),
    )
    .action(async (options: Options) => {
      const { initGateway } = await import('./init/init.ts');
      const dir = resolve(options.dir);
      const written = await initGateway({ ...options, dir });
      process.stdout.write(
        `Written to ${dir}:\n${written.map(({ file, what }) => `  ${file.padEnd(16)} ${what}\n`).join('')}`,
      );
      const config = join(options.dir, 'gateway.yaml');
      process.stdout.write(`
Next:
  1. Send link.csr and gateway.json to the registry operator. No private key is in them.
  2. Put what comes back here: link.pem (certificate and its issuer), ca.pem, registry.json, registry-root.pem.
  3. Write your information systems and services into gateway.yaml.
  4. troad doctor --config ${config}
  5. troad run --config ${config}
`);
    });
}

function parseMember(text: string): string {
  if (text.split('/').length !== 3) throw new InvalidArgumentError('Expected instance/class/member.');
  return text;
}

/** As the configuration has it: in one that is refused later the keys would be for nothing. */
function registeredName(text: string): string {
  if (dnsName(text) === undefined || !text.includes('.'))
    throw new InvalidArgumentError('Expected a DNS name in lower case, like gw.a11.tw.troad.example.');
  return text;
}

/** As the registry has it. */
function registeredAddress(text: string): string {
  const port = Number(/:(\d{1,5})$/.exec(text)?.[1] ?? 1);
  if (port < 1 || port > 65_535) throw new InvalidArgumentError('A port is a number from 1 to 65535.');
  if (parseAddress(text) === undefined)
    throw new InvalidArgumentError(
      'Expected host:port in lower case, like gw.a11.example:5500 or [2001:db8::1]:5500.',
    );
  return text;
}

function parseWorkers(text: string): number {
  if (!/^(?:[1-9]|[1-5]\d|6[0-4])$/.test(text))
    throw new InvalidArgumentError('Expected a number from 1 to 64.');
  return Number(text);
}
