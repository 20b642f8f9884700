import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { GatewayConfig } from '../../config/config.ts';
import { loadConfig } from '../../config/load.ts';
import { ConfigError } from '../../core/errors.ts';
import { parseToken } from '../../server/admin.ts';
import { checkDevices } from './devices.ts';
import { Report, type Finding } from './finding.ts';
import { checkLogDisk, checkPorts, checkRuntime } from './host.ts';
import { checkKeys, checkRegistered, checkRegistry } from './identity.ts';
import { checkPolicy } from './policy.ts';
import { checkThreatFeeds } from './threat.ts';
import { checkUsers } from './users.ts';

/** 0 nothing bad · 1 something is · 2 the configuration cannot be read. */
export interface Diagnosis {
  readonly status: 0 | 1 | 2;
  readonly findings: readonly Finding[];
}

/** Looks at a configuration and its host the way a start would, without starting anything or writing into the log. */
export async function examine(configFile: string): Promise<Diagnosis> {
  const report = new Report();
  let config: GatewayConfig;
  try {
    config = loadConfig(configFile);
    report.ok('configuration', `${configFile}: every setting and file is there`);
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    for (const problem of thrown.problems)
      report.bad('configuration', problem, 'correct it: troad config schema tells what is possible');
    await checkRuntime(report, false);
    return { status: 2, findings: report.findings };
  }
  const now = Date.now();
  await checkRuntime(report, config.link.requireHybrid);
  const registry = await checkRegistry(report, config, now);
  await checkKeys(report, config, registry, now);
  if (registry !== undefined) {
    checkRegistered(report, config, registry);
    await checkDevices(report, config, registry, now);
  }
  await checkPolicy(report, config, now);
  await checkThreatFeeds(report, config, now);
  await checkToken(report, config);
  await checkUsers(report, config);
  await checkPorts(report, config);
  await report.check('log disk', 'make the folder of log.dir writable for the user of the gateway', () =>
    checkLogDisk(report, config),
  );
  await checkServices(report, config);
  return { status: report.findings.some(({ level }) => level === 'bad') ? 1 : 0, findings: report.findings };
}

async function checkToken(report: Report, { admin }: GatewayConfig): Promise<void> {
  const { tokenFile } = admin;
  if (tokenFile === undefined) return;
  await report.check('admin token', 'write one: openssl rand -base64 32', async () => {
    parseToken(await readFile(tokenFile, 'utf8'));
    report.ok('admin token', 'long enough');
  });
}

/** A service that is down now is for its own people to mend; the gateway starts without it. */
async function checkServices(report: Report, { services, limits }: GatewayConfig): Promise<void> {
  const origins = new Map(services.map(({ url }) => [new URL(url).origin, new URL(url)]));
  for (const [origin, { hostname, port, protocol }] of origins) {
    const number = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
    const problem = await reach(hostname.replace(/^\[|\]$/g, ''), number, limits.connectMs);
    if (problem === undefined) report.ok('service address', `${origin} answers`);
    else report.warn('service address', `${origin}: ${problem}`, 'start the service, or correct its url');
  }
}

function reach(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs });
    const end = (problem?: string): void => {
      socket.destroy();
      resolve(problem);
    };
    socket.once('connect', () => end());
    socket.once('timeout', () => end('no connection in time'));
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}
