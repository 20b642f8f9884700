import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Agency, OfferedService, SandboxInstance } from './instance.ts';
import type { PolicySettings } from './release-policy.ts';

export interface Ports {
  readonly http: number;
  readonly https: number;
  readonly link: number;
  readonly admin: number;
  readonly signals: number;
}

export interface SandboxSettings {
  readonly policy: PolicySettings;
  readonly bodyIdleSeconds?: number;
  readonly workers?: number;
  /** URL of the store of its replicas. Default: it has none. */
  readonly store?: string;
  /** Threat feeds, by their names in the folder of each gateway's file. */
  readonly threatIntel?: object;
  /** Socket of the agent on the gateway's host. Default: a name in its folder, where nobody need listen. */
  readonly agent?: string;
}

/** Writes the configuration with which an agency of the sandbox runs its gateway: the same file an operator would write. */
export async function writeGatewayFile(
  instance: SandboxInstance,
  agency: Agency,
  ports: Ports,
  services: readonly OfferedService[],
  {
    policy,
    bodyIdleSeconds = 60,
    workers = 1,
    store,
    threatIntel = {},
    agent = 'device-agent.sock',
  }: SandboxSettings,
): Promise<string> {
  const file = join(agency.dir, 'gateway.yaml');
  const offered = services.map(
    ({ code, url, delivery = 'stream' }) =>
      `  - { id: ${agency.subsystem}/${code}, url: "${url}", delivery: ${delivery}, maxRequestBytes: 16 GiB }`,
  );
  const secret = join(agency.dir, 'replicas.secret');
  if (store !== undefined) await writeFile(secret, randomBytes(32).toString('hex'), { mode: 0o600 });
  const text = `# Written by troad sandbox; made anew at every start.
node: { name: ${agency.name}, member: ${agency.member}, instance: TW }
workers: ${workers}
listen:
  http: { host: 127.0.0.1, port: ${ports.http} }
  https: { host: 127.0.0.1, port: ${ports.https}, cert: https.pem, key: https.key }
link: { host: 127.0.0.1, port: ${ports.link}, cert: link.pem, key: link.key, ca: ca.pem }
admin: { host: 127.0.0.1, port: ${ports.admin} }
registry: { file: "${instance.registryFile}", rootKeys: ["${instance.registryRootKey}"], reloadSeconds: 1 }
keys: { message: { file: message.key }, log: log.key, assertion: [assertion.key] }
log: { dir: log, origin: ${agency.origin}, segmentMiB: 16 }
policy: ${JSON.stringify(policy)}
subsystems:
  - { id: ${agency.subsystem}, access: loopback, certificates: [client.pem] }
${offered.length === 0 ? 'services: []' : `services:\n${offered.join('\n')}`}
devices: { agent: "${agent}", ca: ca.pem }
threatIntel: ${JSON.stringify(threatIntel)}
signals: { push: { host: 127.0.0.1, port: ${ports.signals} } }
limits: { drainSeconds: 5, bodyIdleSeconds: ${bodyIdleSeconds} }
${store === undefined ? '' : `replicas: { store: "${store}", secretFile: replicas.secret }\n`}`;
  await writeFile(file, text);
  return file;
}
