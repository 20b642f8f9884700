import { isAlias, isNode, LineCounter, parseDocument, visit, type Document } from 'yaml';
import { ConfigError } from '../core/errors.ts';
import { memberOf, type MemberId, type ServiceId, type SubsystemId } from '../core/ids.ts';
import type { GatewayConfig, LogConfig, ServiceConfig, SignalsConfig, SubsystemConfig } from './config.ts';
import { assembleThreatIntel } from './threat-intel.ts';
import { ConfigFiles, type FileDoor } from './files.ts';
import { assemblePolicy } from './policy.ts';
import { assembleDevices } from './devices.ts';
import { assembleReplicas, findReplicaContradictions } from './replicas.ts';
import { bytesOf, configSchema, type ConfigDocument } from './schema.ts';
import { isLoopback } from './values.ts';
import { inWords } from './wording.ts';

/**
 * Text in, frozen configuration out: syntax, unknown keys, values, contradictions, files and their permissions are
 * checked here, and never again.
 * @param text YAML 1.2 (JSON is YAML), at most 1 MiB
 * @param base folder that relative paths start from, absolute
 * @throws ConfigError with every problem, each as `/path/to/setting (line n): what is wrong`
 */
export function parseConfig(text: string, base: string, door: FileDoor): GatewayConfig {
  const source = new Source(text);
  const parsed = configSchema.safeParse(source.value);
  if (!parsed.success) {
    throw new ConfigError(
      parsed.error.issues.flatMap((issue) =>
        issue.code === 'unrecognized_keys'
          ? issue.keys.map((key) => source.problem([...issue.path, key], 'unknown setting'))
          : [source.problem(issue.path, inWords(issue.message))],
      ),
    );
  }
  const problems: string[] = [];
  const report = (path: string, what: string): void => {
    problems.push(source.problem(path.split('/').slice(1), what));
  };
  findContradictions(parsed.data, report);
  const config = assemble(parsed.data, new ConfigFiles(base, door, report));
  if (problems.length > 0) throw new ConfigError(problems);
  return deepFreeze(config);
}

/** The YAML text, with the line of every setting for messages. */
class Source {
  readonly value: unknown;
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();

  constructor(text: string) {
    if (text.length > 1024 * 1024) throw new ConfigError(['the configuration is larger than 1 MiB']);
    this.#document = parseDocument(text, {
      version: '1.2',
      schema: 'core',
      strict: true,
      uniqueKeys: true,
      lineCounter: this.#lines,
      prettyErrors: false, // it would quote the lines around, and with them perhaps a secret
    });
    // Unknown tags and directives are warnings to the parser; here nothing is ignored.
    const faults = [...this.#document.errors, ...this.#document.warnings];
    // An alias is a second way to say a thing, and what "billion laughs" are made of.
    visit(this.#document, (_, node) => {
      if (isAlias(node))
        throw new ConfigError([`*${node.source}: anchors and aliases are not used in this file`]);
    });
    if (faults.length > 0) throw new ConfigError(faults.map((fault) => this.#notYaml(fault)));
    this.value = this.#document.toJS({ maxAliasCount: 0 });
  }

  #notYaml({ message, pos }: { readonly message: string; readonly pos: readonly [number, number] }): string {
    const { line, col } = this.#lines.linePos(pos[0]);
    return `line ${line}, column ${col}: not YAML: ${message.trim()}; look at indentation and quotes there and in the line before  不是正確的 YAML，請檢查該處與前一行的縮排和引號`;
  }

  problem(path: readonly PropertyKey[], what: string): string {
    const line = this.#lineOf(path);
    return `/${path.map(String).join('/')}${line === undefined ? '' : ` (line ${line})`}: ${what}`;
  }

  /** Line of the setting, or of the nearest one around it that is written down. */
  #lineOf(path: readonly PropertyKey[]): number | undefined {
    for (let length = path.length; length > 0; length -= 1) {
      const steps = path.slice(0, length).map((step) => (/^\d+$/.test(String(step)) ? Number(step) : step));
      const node: unknown = this.#document.getIn(steps, true);
      if (isNode(node) && node.range) return this.#lines.linePos(node.range[0]).line;
    }
    return undefined;
  }
}

type Report = (path: string, what: string) => void;

/** What is wrong although each value by itself is not. */
function findContradictions(document: ConfigDocument, report: Report): void {
  const { node, listen, link, admin, subsystems, services, signals, replicas } = document;
  if (!node.member.startsWith(`${node.instance}/`))
    report('/node/member', `is not of instance ${node.instance}`);
  if (listen.http !== undefined && !isLoopback(listen.http.host)) {
    report('/listen/http/host', 'plain HTTP is served on loopback only; use listen.https');
  }
  if (!isLoopback(admin.host) && admin.tokenFile === undefined) {
    report('/admin/host', 'off loopback the admin listener needs a tokenFile');
  }
  const { push, poll } = signals;
  if (push !== undefined && (push.cert === undefined) !== (push.key === undefined))
    report('/signals/push', 'cert and key come together');
  if (push !== undefined && push.cert === undefined && !isLoopback(push.host))
    report('/signals/push/host', 'plain HTTP is served on loopback only; set cert and key');
  poll.forEach(({ url }, i) => {
    // A bearer token goes there, and what comes back must not be held up by somebody on the way.
    if (!url.startsWith('https:') && !isLoopback(new URL(url).hostname))
      report(`/signals/poll/${i}/url`, 'expected an https URL');
  });
  findReplicaContradictions(replicas, report);
  const endpoints = new Map<string, string>();
  for (const [name, endpoint] of [
    ['listen/http', listen.http],
    ['listen/https', listen.https],
    ['link', link],
    ['admin', admin],
    ['signals/push', push],
  ] as const) {
    if (endpoint === undefined) continue;
    const shared = name === 'link' || name.startsWith('listen/');
    if (endpoint.port === 0) {
      // Each worker would get a port of its own.
      if (shared && document.workers > 1)
        report(`/${name}/port`, 'several workers need a port that is named');
      continue;
    }
    const key = `${endpoint.host} ${endpoint.port}`;
    const other = endpoints.get(key);
    if (other !== undefined) report(`/${name}/port`, `is the port of ${other}`);
    endpoints.set(key, name);
  }
  subsystems.forEach((subsystem, i) => {
    const { id, access, certificates } = subsystem;
    const at = `/subsystems/${i}`;
    // Both ids were parsed by the schema.
    if (memberOf(id as SubsystemId) !== node.member)
      report(`${at}/id`, `is not a subsystem of ${node.member}`);
    if (subsystems.findIndex((other) => other.id === id) < i) report(`${at}/id`, 'stands here twice');
    const listener = access === 'loopback' ? 'http' : 'https';
    if (listen[listener] === undefined) report(`${at}/access`, `${access} needs listen.${listener}`);
    if (access === 'mtls' && certificates.length === 0)
      report(`${at}/certificates`, 'access mtls needs at least one');
  });
  services.forEach((service, i) => {
    const at = `/services/${i}`;
    if (memberOf(service.id as ServiceId) !== node.member)
      report(`${at}/id`, `is not a service of ${node.member}`);
    if (services.findIndex((other) => other.id === service.id) < i) report(`${at}/id`, 'stands here twice');
    if (service.ca !== undefined && !service.url.startsWith('https:'))
      report(`${at}/ca`, 'is for an https URL');
  });
}

const ms = (seconds: number): number => Math.round(seconds * 1000);

function assemble(document: ConfigDocument, files: ConfigFiles): GatewayConfig {
  const { node, listen, link, admin, registry, keys, limits } = document;
  return {
    node: {
      name: node.name,
      member: node.member as MemberId /* parsed by the schema */,
      instance: node.instance,
    },
    workers: document.workers,
    listen: {
      hosts: listen.hosts.map((name) => name.toLowerCase()),
      ...(listen.http && { http: listen.http }),
      ...(listen.https && {
        https: {
          host: listen.https.host,
          port: listen.https.port,
          cert: files.readable('/listen/https/cert', listen.https.cert),
          key: files.secret('/listen/https/key', listen.https.key),
        },
      }),
    },
    link: {
      ...link,
      cert: files.readable('/link/cert', link.cert),
      key: files.secret('/link/key', link.key),
      ca: files.readable('/link/ca', link.ca),
    },
    admin: {
      host: admin.host,
      port: admin.port,
      ...(admin.tokenFile !== undefined && { tokenFile: files.secret('/admin/tokenFile', admin.tokenFile) }),
    },
    registry: {
      file: files.readable('/registry/file', registry.file),
      rootKeys: registry.rootKeys.map((path, i) => files.readable(`/registry/rootKeys/${i}`, path)),
      reloadMs: ms(registry.reloadSeconds),
    },
    keys: {
      message: {
        file: files.secret('/keys/message/file', keys.message.file),
        ...(keys.message.kid !== undefined && { kid: keys.message.kid }),
      },
      log: { file: files.secret('/keys/log', keys.log) },
      assertion: keys.assertion.map((path, i) => ({ file: files.secret(`/keys/assertion/${i}`, path) })),
    },
    log: assembleLog(document, files),
    policy: assemblePolicy(document.policy, document.log.dir, files),
    subsystems: document.subsystems.map((subsystem, i) => assembleSubsystem(subsystem, i, files)),
    services: document.services.map((service, i) => assembleService(service, i, files)),
    signals: assembleSignals(document, files),
    ...(document.replicas !== undefined && { replicas: assembleReplicas(document.replicas, files) }),
    threatIntel: assembleThreatIntel(document.threatIntel, files),
    devices: assembleDevices(document.devices, files),
    limits: {
      headMs: ms(limits.headSeconds),
      bodyIdleMs: ms(limits.bodyIdleSeconds),
      connectMs: ms(limits.connectSeconds),
      answerMs: ms(limits.answerSeconds),
      idleConnectionMs: ms(limits.idleConnectionSeconds),
      drainMs: ms(limits.drainSeconds),
      policyMs: ms(limits.policySeconds),
      maxInFlight: limits.maxInFlight,
      maxConnections: limits.maxConnections,
    },
    compat: document.compat,
  };
}

function assembleLog({ log, node }: ConfigDocument, files: ConfigFiles): LogConfig {
  return {
    dir: files.absolute(log.dir), // made by the log itself when it is not there
    segmentBytes: log.segmentMiB * 1024 * 1024,
    origin: log.origin ?? `${node.name}/troad-log`,
  };
}

function assembleSignals({ signals: { push, poll } }: ConfigDocument, files: ConfigFiles): SignalsConfig {
  return {
    ...(push !== undefined && {
      push: {
        host: push.host,
        port: push.port,
        ...(push.cert !== undefined &&
          push.key !== undefined && {
            tls: {
              cert: files.readable('/signals/push/cert', push.cert),
              key: files.secret('/signals/push/key', push.key),
            },
          }),
      },
    }),
    poll: poll.map(({ url, tokenFile, pauseSeconds }, i) => ({
      url,
      pauseMs: ms(pauseSeconds),
      ...(tokenFile !== undefined && { tokenFile: files.secret(`/signals/poll/${i}/tokenFile`, tokenFile) }),
    })),
  };
}

function assembleSubsystem(
  subsystem: ConfigDocument['subsystems'][number],
  i: number,
  files: ConfigFiles,
): SubsystemConfig {
  return {
    id: subsystem.id as SubsystemId, // parsed by the schema
    access: subsystem.access,
    certificates: subsystem.certificates.map((text, j) =>
      files.fingerprint(`/subsystems/${i}/certificates/${j}`, text),
    ),
  };
}

function assembleService(
  service: ConfigDocument['services'][number],
  i: number,
  files: ConfigFiles,
): ServiceConfig {
  return {
    id: service.id as ServiceId, // parsed by the schema
    url: service.url,
    timeoutMs: ms(service.timeoutSeconds),
    maxRequestBytes: bytesOf(service.maxRequestBytes),
    ...(service.maxResponseBytes !== undefined && { maxResponseBytes: bytesOf(service.maxResponseBytes) }),
    maxConcurrent: service.maxConcurrent,
    delivery: service.delivery,
    ...(service.ca !== undefined && { ca: files.readable(`/services/${i}/ca`, service.ca) }),
  };
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value))
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner as object);
  return Object.freeze(value);
}
