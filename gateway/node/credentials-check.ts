import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { GatewayConfig } from '../config/config.ts';
import { ConfigFiles } from '../config/files.ts';
import { disk } from '../config/load.ts';
import { base64url, sha256 } from '../core/bytes.ts';
import type { EpochMs } from '../core/clock.ts';
import { ConfigError, Denied, describe } from '../core/errors.ts';
import { naming } from '../core/file-errors.ts';
import { directoryOf } from '../exchange/peers.ts';
import { PeerGateway } from '../identity/peer.ts';
import { handshake } from '../link/handshake.ts';
import type { Registry } from '../registry/registry.ts';
import { requireUsable } from '../server/front.ts';
import type { Credentials } from './credentials.ts';
import { signingKeyOf } from './parts.ts';

/** What is told of credentials that came into use. */
export interface CredentialFacts {
  /** SHA-256 of the certificate, base64url; of a message key its id. */
  readonly fingerprint: string;
  readonly expiresAt: EpochMs;
}

/** What new credentials have to agree with. */
export interface CheckContext {
  readonly config: GatewayConfig;
  readonly registry: Registry;
  readonly now: EpochMs;
}

// Whether credentials from new files would work, before anything uses them: a gateway that is running has more to lose than
// one that starts. Of each: @throws ConfigError with the setting, the file, and what to do.

export async function checkLink(
  next: Credentials['link'],
  { config, registry, now }: CheckContext,
): Promise<CredentialFacts> {
  const { cert, key, ca } = config.link;
  requireSecret('/link/key', key);
  const at = `/link/cert: ${cert}`;
  const facts = certificateFacts(at, next.cert, now);
  naming(at, () => requireRegistered(next.cert, config.node.name, registry, now));
  await handshake(next, config.node.name).catch((cause: unknown) => {
    throw new ConfigError([
      `${at}: TLS with itself: ${describe(cause)}; it must hold the certificate and its issuers, and ${ca} the anchor  憑證鏈不完整：此檔須含憑證及其簽發者，/link/ca 須含信任錨`,
    ]);
  });
  return facts;
}

export function checkHttps(
  next: NonNullable<Credentials['https']>,
  { config, now }: CheckContext,
): CredentialFacts {
  const { cert = '', key = '' } = config.listen.https ?? {};
  requireSecret('/listen/https/key', key);
  const at = `/listen/https/cert: ${cert}`;
  const facts = certificateFacts(at, next.cert, now);
  // Requests by any other name are refused.
  const names = ['localhost', config.node.name, ...config.listen.hosts];
  const leaf = new X509Certificate(next.cert);
  const isOurs = (name: string): boolean =>
    (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) !== undefined;
  if (![...names, '127.0.0.1', '::1'].some(isOurs))
    throw new ConfigError([
      `${at}: is for none of ${names.join(', ')}: have it issued for one of them, or add its name to listen.hosts and restart  憑證不屬於此閘道的任何名稱`,
    ]);
  try {
    requireUsable(next);
  } catch (cause) {
    throw new ConfigError([`${at}: TLS does not take it: ${describe(cause)}  TLS 無法使用此憑證`]);
  }
  return facts;
}

export function checkMessageKey(
  next: Credentials['message'],
  { config, registry, now }: CheckContext,
): CredentialFacts {
  const { file } = config.keys.message;
  requireSecret('/keys/message/file', file);
  const at = `/keys/message/file: ${file}`;
  const kid = kidOf(at, config, next);
  const listed = registry.messageKey(config.node.name, kid, now);
  if (listed?.publicKey.equals(createPublicKey(createPrivateKey(next))) !== true)
    throw new ConfigError([
      `${at}: version ${registry.version} of the registry does not list ${kid} as a key in force: have it listed beside the old one, wait until every gateway has that version, then try again  名冊未將此金鑰列為有效：請先與舊金鑰並列登錄，待各閘道取得新版名冊後再試`,
    ]);
  return { fingerprint: kid, expiresAt: listed.row.notAfter };
}

/** @throws ConfigError */
function kidOf(at: string, config: GatewayConfig, pem: string): string {
  try {
    return signingKeyOf(config, pem).kid;
  } catch (cause) {
    throw new ConfigError([`${at}: ${describe(cause)}  此種金鑰不能簽署訊息`]);
  }
}

/** As at the start: everybody on the machine could read or replace it. */
function requireSecret(setting: string, file: string): void {
  const problems: string[] = [];
  new ConfigFiles(
    '/',
    disk,
    (at, what) => void problems.push(`${at}: ${what}  私鑰檔不得開放給其他使用者`),
  ).secret(setting, file);
  if (problems.length > 0) throw new ConfigError(problems);
}

/** @throws ConfigError when it is not valid now */
function certificateFacts(at: string, pem: string, now: EpochMs): CredentialFacts {
  const leaf = new X509Certificate(pem);
  const [notBefore, notAfter] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()];
  if (now > notAfter)
    throw new ConfigError([
      `${at}: expired on ${day(notAfter)}: have it issued again  憑證已過期，請重新簽發`,
    ]);
  if (now < notBefore)
    throw new ConfigError([
      `${at}: is not valid before ${new Date(notBefore).toISOString()}: wait, or look at the clock  憑證尚未生效`,
    ]);
  return { fingerprint: base64url(sha256(leaf.raw)), expiresAt: notAfter };
}

const ADVICE: Readonly<Record<string, string>> = {
  'peer.key':
    'have its key listed beside the old one, wait until every gateway has that registry, then try again  名冊未列入此憑證的金鑰：請先與舊金鑰並列登錄，待各閘道取得新版名冊後再試',
  'peer.unknown': 'have it issued for this very gateway  憑證不是簽發給此閘道的',
  'peer.certificate': 'have it issued again  其他閘道不會接受此憑證，請重新簽發',
};

/** The very check that every other gateway makes of us, in both roles. @throws ConfigError */
function requireRegistered(pem: string, name: string, registry: Registry, now: EpochMs): void {
  const all = directoryOf({ registry: () => registry, quarantine: new Set() });
  // Another gateway's certificate is as wrong here as one of nobody.
  const gatewayByName = (other: string) => (other === name ? all.gatewayByName(name) : undefined);
  const leaf = new X509Certificate(pem).raw;
  try {
    for (const role of ['server', 'client'] as const)
      PeerGateway.identify(leaf, role, { gatewayByName }, now);
  } catch (thrown) {
    if (!(thrown instanceof Denied)) throw thrown;
    throw new ConfigError([
      `other gateways would refuse it as that of ${name} (${thrown.message}): ${ADVICE[thrown.code] ?? ''}`,
    ]);
  }
}

const day = (at: EpochMs): string => new Date(at).toISOString().slice(0, 10);
