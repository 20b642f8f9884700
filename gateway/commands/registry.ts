import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { Argument, InvalidArgumentError, type Command } from 'commander';
import { ConfigError, MalformedBytes } from '../core/errors.ts';
import { parseMemberId } from '../core/ids.ts';
import { bytes, json, readInput } from './input.ts';
import { KIND_NAMES, type Kind, withoutRow, withRevoked, withRows } from './registry/draft.ts';
import type { RegistryFolder } from './registry/folder.ts';

interface InFolder {
  readonly dir: string;
}

/** `troad registry …`: who is on T-Road, for the operator of an instance. */
export function registerRegistry(program: Command): void {
  const registry = program
    .command('registry')
    .description("keep an instance's registry: members, gateways, agreements; certificates  登記名冊管理");
  const command = (text: string, description: string): Command =>
    registry
      .command(text)
      .description(description)
      .requiredOption('--dir <dir>', 'folder of the registry: its keys, its draft, every version');
  const kind = (): Argument => new Argument('<kind>', 'list of the registry').choices(KIND_NAMES);

  command('create', 'make the keys, the authority for link certificates and an empty draft  建立')
    .requiredOption('--instance <name>', 'first part of every identifier, like TW', parseInstance)
    .action(async ({ dir, instance }: InFolder & { instance: string }) => {
      const { RegistryFolder: Folder } = await import('./registry/folder.ts');
      const folder = await Folder.create(dir, instance, Date.now);
      say(`${folder.dir}: made. Keep root.key and ca/ where nobody else reads them, and a copy elsewhere.`);
      say('Give every gateway registry-root.pem and ca.pem, over a way that nobody can change.');
    });
  command('add', 'put rows into the draft  新增')
    .addArgument(kind())
    .argument('<file>', 'JSON: a row, as troad init writes one for a gateway, or a list of rows')
    .option('--replace', 'in place of the row of the same name')
    .action(async (to: Kind, file: string, { dir, replace }: InFolder & { replace?: true }) => {
      const folder = await open(dir);
      const before = folder.draft;
      await folder.save(
        readInput('', file, (content) => withRows(before, to, json(content), replace === true)),
      );
      await tellChanges(folder);
    });
  command('remove', 'take a row out of the draft  移除')
    .addArgument(kind())
    .argument('<name>', 'what names the row; for identityProviders: "ISSUER MEMBER"')
    .action(async (from: Kind, name: string, { dir }: InFolder) => {
      const folder = await open(dir);
      await folder.save(withoutRow(folder.draft, from, name));
      await tellChanges(folder);
    });
  command('revoke', 'take all trust from the keys of a gateway, in the draft  撤銷閘道')
    .argument('<gateway>', 'its name; its row stays, so that its log can still be checked')
    .action(async (gateway: string, { dir }: InFolder) => {
      const folder = await open(dir);
      await folder.save(withRevoked(folder.draft, gateway));
      await tellChanges(folder);
    });
  command('certify', "answer a gateway's certificate request  核發連結憑證")
    .argument('<gateway>', 'its name, after its row was added')
    .argument('<csr>', 'PEM file: link.csr of troad init')
    .requiredOption('--out <file>', 'new file for the certificate and its issuer: link.pem of the gateway')
    .action(async (gateway: string, csr: string, { dir, out }: InFolder & { out: string }) => {
      const folder = await open(dir);
      if (existsSync(out)) throw new ConfigError([`--out ${out}: is there already  已存在`]);
      const request = readInput('', csr, bytes).toString('latin1');
      const issued = await folder.certify(gateway, request).catch((thrown: unknown) => {
        throw thrown instanceof MalformedBytes ? new ConfigError([`${csr}: ${thrown.message}`]) : thrown;
      });
      await writeFile(out, issued.chainPem, { flag: 'wx', mode: 0o644 });
      say(`${out}: certificate ${issued.serial} for ${gateway}, 90 days`);
    });
  command('sign', 'sign the draft as the next version, registry.json  簽署新版本')
    .option('--days <n>', 'until it expires: gateways stop then', parseDays, 30)
    .option('--key <file...>', 'PEM files: root keys (default: root.key); two while one is replaced', [])
    .action(async ({ dir, days, key }: InFolder & { days: number; key: readonly string[] }) => {
      const folder = await open(dir);
      const { registry: signed, changes } = await folder.sign(days, key);
      say(`version ${signed.version}, expires ${new Date(signed.expiresAt).toISOString()}`);
      for (const change of changes) say(`  ${change}`);
      say(`Bring ${folder.dir}/registry.json to every gateway: it is read within registry.reloadSeconds.`);
    });
  command('status', 'what was signed last, and what the draft would change  狀態').action(
    async ({ dir }: InFolder) => {
      const folder = await open(dir);
      const newest = await folder.newest();
      say(
        newest === undefined
          ? 'nothing was signed yet  尚未簽署'
          : `version ${newest.version}, signed ${new Date(newest.issuedAt).toISOString()}, expires ${new Date(newest.expiresAt).toISOString()}`,
      );
      await tellChanges(folder);
      // Gateways that hear of no new one in time stop.
      process.exitCode = newest !== undefined && newest.expiresAt > Date.now() ? 0 : 1;
    },
  );
  command('trust', "print the auditors' trust file of the version signed last  稽核信任檔").action(
    async ({ dir }: InFolder) => {
      const { trustFileOf } = await import('../registry/trust-file.ts');
      const newest = await (await open(dir)).newest();
      if (newest === undefined) throw new ConfigError([`--dir ${dir}: nothing was signed yet  尚未簽署`]);
      say(JSON.stringify(trustFileOf(newest, []), undefined, 2));
    },
  );
}

async function open(dir: string): Promise<RegistryFolder> {
  const { RegistryFolder: Folder } = await import('./registry/folder.ts');
  return Folder.open(dir, Date.now);
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function tellChanges(folder: RegistryFolder): Promise<void> {
  const changes = await folder.changes();
  say(changes.length === 0 ? 'The draft changes nothing.' : 'Not signed yet  尚未簽署:');
  for (const change of changes) say(`  ${change}`);
}

function parseInstance(text: string): string {
  if (parseMemberId(`${text}/GOV/A`) === undefined)
    throw new InvalidArgumentError('Expected a name like TW: letters, digits, dots, dashes.');
  return text;
}

function parseDays(text: string): number {
  const days = Number(text);
  if (!/^\d{1,4}$/.test(text) || days < 1 || days > 400)
    throw new InvalidArgumentError('Expected a number from 1 to 400.');
  return days;
}
