import { createPublicKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { workerLogs } from '../../config/worker-logs.ts';
import type { GatewayConfig } from '../../config/config.ts';
import type { EpochMs } from '../../core/clock.ts';
import { directoryOf } from '../../exchange/peers.ts';
import { PeerGateway } from '../../identity/peer.ts';
import { messageAlgorithm, messageKeyId } from '../../registry/keys.ts';
import { openRegistry } from '../../registry/load.ts';
import type { Registry } from '../../registry/registry.ts';
import { verifierKeyOf } from '../../tlog/note.ts';
import { readCertificate } from '../../x509/certificate.ts';
import { parsePem } from '../../x509/pem.ts';
import { readLink } from '../../node/credentials.ts';
import { handshake } from '../../link/handshake.ts';
import { readPrivateKey, readPublicKey } from '../../node/key-files.ts';
import type { Report } from './finding.ts';

const DAY_MS = 86_400_000;
const SKEW_MS = 300_000;

const day = (at: EpochMs): string => new Date(at).toISOString().slice(0, 10);

/** The signed registry, and what it says about this gateway. @returns undefined when it cannot be used */
export async function checkRegistry(
  report: Report,
  config: GatewayConfig,
  now: EpochMs,
): Promise<Registry | undefined> {
  const subject = 'registry';
  let registry: Registry | undefined;
  await report.check(
    subject,
    'fetch the registry again; compare registry.rootKeys with what the operator published',
    async () => {
      const rootKeys = config.registry.rootKeys.map((file) => readPublicKey('/registry/rootKeys', file));
      registry = await openRegistry(await readFile(config.registry.file), { rootKeys });
      const { version, expiresAt, issuedAt } = registry;
      const facts = `version ${version}, signed, expires ${day(expiresAt)}`;
      if (now >= expiresAt)
        report.bad(
          subject,
          `${facts}: it has expired`,
          'fetch the registry again; nothing is carried without it',
        );
      else if (expiresAt - now < 7 * DAY_MS)
        report.warn(subject, facts, 'fetch the registry again before it expires');
      else report.ok(subject, facts);
      if (issuedAt > now + SKEW_MS) {
        report.bad(
          'clock',
          `${new Date(now).toISOString()}: the registry was issued later than that`,
          'set the clock (chrony, systemd-timesyncd)',
        );
      } else {
        report.ok('clock', `${new Date(now).toISOString()}: not before the registry was issued`);
      }
    },
  );
  return registry;
}

/** Keys and certificates against each other, the dates, and the registry. */
export async function checkKeys(
  report: Report,
  config: GatewayConfig,
  registry: Registry | undefined,
  now: EpochMs,
): Promise<void> {
  const { name, member } = config.node;
  const row = registry?.gateway(name);
  if (registry !== undefined) {
    if (row === undefined)
      report.bad(
        'registered',
        `${name} is not in the registry`,
        'send gateway.json to the registry operator',
      );
    else if (row.member !== member)
      report.bad('registered', `${name} belongs to ${row.member}`, 'correct node.member');
    else report.ok('registered', `${name} of ${member}`);
  }
  const renew = 'make a certificate request for the key (troad init) and have it signed again';
  await report.check('link certificate', renew, async () => {
    const leaf = await certificate(report, 'link certificate', config.link.cert, config.link.key, now);
    if (registry !== undefined && row !== undefined) {
      // The very check that every other gateway makes of us.
      const directory = directoryOf({ registry: () => registry, quarantine: new Set() });
      for (const role of ['server', 'client'] as const) PeerGateway.identify(leaf, role, directory, now);
      report.ok('link certificate', `is what the registry says of ${name}`);
    }
  });
  await report.check(
    'link chain',
    'link.cert must hold the certificate and its issuers, link.ca the anchor',
    async () => {
      const { protocol, group } = await handshake(readLink(config), name);
      report.ok('link chain', `TLS with itself: ${protocol}, ${group}`);
    },
  );
  const { https } = config.listen;
  if (https !== undefined) {
    await report.check('https certificate', 'renew it', async () => {
      await certificate(report, 'https certificate', https.cert, https.key, now);
    });
  }
  await report.check('message key', 'register the key, or put the registered one here', async () => {
    const publicKey = createPublicKey(readPrivateKey('/keys/message/file', config.keys.message.file));
    const kid = config.keys.message.kid ?? messageKeyId(name, publicKey);
    const alg = messageAlgorithm(publicKey);
    if (registry === undefined || row === undefined) report.ok('message key', `${alg}, id ${kid}`);
    else if (registry.messageKey(name, kid, now)?.publicKey.equals(publicKey) === true)
      report.ok('message key', `${alg}, registered and in force`);
    else
      report.bad(
        'message key',
        `${kid} is not in force in the registry`,
        'register the key, or put the registered one here',
      );
  });
  await report.check('log key', 'troad init makes one', async () => {
    const publicKey = createPublicKey(readPrivateKey('/keys/log', config.keys.log.file));
    if (publicKey.asymmetricKeyType !== 'ed25519')
      throw new Error(`is ${publicKey.asymmetricKeyType ?? 'unknown'}, not Ed25519`);
    const logs = row?.logs ?? [];
    // Each worker's log has a name, and so a key, of its own. Which epoch it is in makes no difference here.
    const unknown = workerLogs(config.log, config.workers)
      .map(({ origin }) => origin.slice(0, origin.lastIndexOf('/')))
      .filter(
        (log) =>
          !logs.some(
            ({ origin, vkey }) =>
              origin.startsWith(`${log}/`) &&
              /^[1-9]\d*$/.test(origin.slice(log.length + 1)) &&
              vkey === verifierKeyOf(origin, publicKey),
          ),
      );
    if (registry === undefined || row === undefined) report.ok('log key', 'Ed25519');
    else if (unknown.length === 0) report.ok('log key', `Ed25519, registered for ${config.log.origin}`);
    else
      report.bad(
        'log key',
        `is not registered for ${unknown.join(', ')}`,
        'register it: auditors trust no other key for this log',
      );
  });
}

/** Subsystems and services of the configuration that nobody could reach, because the registry does not know them. */
export function checkRegistered(report: Report, config: GatewayConfig, registry: Registry): void {
  for (const { id } of config.subsystems) {
    const gateway = registry.subsystem(id)?.gateway.name;
    const advice = 'have it registered, or take it out';
    if (gateway === undefined) report.bad('subsystem', `${id} is not in the registry`, advice);
    else if (gateway !== config.node.name)
      report.bad('subsystem', `${id} is registered for ${gateway}`, advice);
    else report.ok('subsystem', id);
  }
  for (const { id } of config.services) {
    if (registry.service(id) === undefined)
      report.bad('service', `${id} is not in the registry`, 'have it registered');
    else report.ok('service', id);
  }
}

/** Leaf of a certificate file: readable, in time, and that of the key. @returns its DER */
async function certificate(
  report: Report,
  subject: string,
  certFile: string,
  keyFile: string,
  now: EpochMs,
): Promise<Buffer> {
  const [leaf] = parsePem('CERTIFICATE', await readFile(certFile, 'utf8'));
  if (leaf === undefined) throw new Error(`${certFile} holds no certificate`);
  const facts = readCertificate(leaf);
  if (!new X509Certificate(leaf).checkPrivateKey(readPrivateKey('/link/key', keyFile))) {
    throw new Error(`${keyFile} is not the key of ${certFile}`);
  }
  if (now < facts.notBefore) throw new Error(`is valid from ${new Date(facts.notBefore).toISOString()}`);
  if (now > facts.notAfter) throw new Error(`expired ${day(facts.notAfter)}`);
  const days = Math.floor((facts.notAfter - now) / DAY_MS);
  const what = `matches its key, expires ${day(facts.notAfter)} (${days} days)`;
  if (days < 14) report.warn(subject, what, 'renew it now');
  else report.ok(subject, what);
  return leaf;
}
