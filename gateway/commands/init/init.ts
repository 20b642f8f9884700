import { access, open } from 'node:fs/promises';
import { join } from 'node:path';
import { requestLink } from '../../../pki/authority.ts';
import { generateKeyPair, writePrivateKey, type KeyPair } from '../../../pki/keys.ts';
import { workerLogs } from '../../config/worker-logs.ts';
import { ConfigError } from '../../core/errors.ts';
import { naming } from '../../core/file-errors.ts';
import { parseMemberId } from '../../core/ids.ts';
import { makeFolder } from '../../evidence/make-folder.ts';
import { messageKeyRow, spkiSha256 } from '../../registry/keys.ts';
import { dnsName } from '../../registry/parse.ts';
import type { LogRow } from '../../registry/document.ts';
import { bundleDir } from '../../sandbox/bundle.ts';
import { verifierKeyOf } from '../../tlog/note.ts';
import type { MessageKeyKind } from './message-keys.ts';
import { gatewayYaml } from './template.ts';

export interface InitOptions {
  /** Absolute. */
  readonly dir: string;
  readonly member: string;
  readonly name: string;
  readonly address: string;
  /** Threads that will carry exchanges: each has a log, which the registry lists. Default 1. */
  readonly workers?: number;
  /** Default ed25519. */
  readonly messageKey?: MessageKeyKind;
}

export interface WrittenFile {
  readonly file: string;
  readonly what: string;
}

const YEAR_MS = 365 * 86_400_000;
const FILES = ['link.key', 'message.key', 'log.key', 'link.csr', 'gateway.json', 'gateway.yaml'];

/**
 * Writes what a new gateway needs to apply for its place in the registry. When one of the files is there
 * already, none is written: a key that is overwritten cannot be had again.
 * @throws ConfigError
 */
export async function initGateway({
  dir,
  member,
  name,
  address,
  workers = 1,
  messageKey = 'ed25519',
}: InitOptions): Promise<readonly WrittenFile[]> {
  const problems: string[] = [];
  if (parseMemberId(member) === undefined) problems.push(`--member: ${member} is not instance/class/member`);
  if (dnsName(name) === undefined || !name.includes('.'))
    problems.push(`--name: ${name} is not a DNS name in lower case`);
  for (const file of FILES)
    if (await exists(join(dir, file))) problems.push(`${join(dir, file)} is there already`);
  if (problems.length > 0) throw new ConfigError(problems);

  naming(`--dir ${dir}`, () => makeFolder(dir));
  const link = generateKeyPair('p256');
  const message = generateKeyPair(messageKey);
  const log = generateKeyPair('ed25519');
  const logs = workerLogs({ dir, origin: `${name}/troad-log` }, workers).map(({ origin }) => ({
    origin,
    vkey: verifierKeyOf(origin, log.publicKey),
  }));
  const write = async (file: string, text: string): Promise<void> => writeNew(join(dir, file), text);
  await writePrivateKey(join(dir, 'link.key'), link.privateKey);
  await writePrivateKey(join(dir, 'message.key'), message.privateKey);
  await writePrivateKey(join(dir, 'log.key'), log.privateKey);
  await write('link.csr', await requestLink(name, link));
  await write(
    'gateway.json',
    `${JSON.stringify(application({ member, name, address }, { link, message }, logs), null, 2)}\n`,
  );
  const instance = member.split('/', 1)[0] ?? '';
  const linkPort = Number(address.slice(address.lastIndexOf(':') + 1));
  await write(
    'gateway.yaml',
    gatewayYaml({ name, member, instance, linkPort, workers, bundle: bundleDir() }),
  );
  return [
    { file: 'gateway.yaml', what: 'configuration, commented' },
    { file: 'link.key', what: 'private key of mutual TLS between gateways (P-256)' },
    {
      file: 'message.key',
      what: `private key that signs exchanges (${messageKey === 'p256' ? 'P-256' : 'Ed25519'})`,
    },
    { file: 'log.key', what: 'private key that signs checkpoints of the log (Ed25519)' },
    { file: 'link.csr', what: 'certificate request for link.key (PKCS#10)' },
    { file: 'gateway.json', what: 'row for the registry: names and public keys' },
  ];
}

/** What the registry operator enters for this gateway, after seeing that it really comes from the member. */
function application(
  { member, name, address }: Pick<InitOptions, 'member' | 'name' | 'address'>,
  keys: { readonly link: KeyPair; readonly message: KeyPair },
  logs: readonly LogRow[],
): object {
  const now = Date.now();
  return {
    name,
    member,
    address,
    link: [{ spki: spkiSha256(keys.link.publicKey) }],
    messageKeys: [messageKeyRow(name, keys.message.publicKey, { notBefore: now, notAfter: now + YEAR_MS })],
    logs,
  };
}

async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o644);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
