import { MalformedBytes, quoted } from '../core/errors.ts';
import {
  memberOf,
  type MemberId,
  serviceCodeOf,
  type ServiceId,
  subsystemOf,
  type SubsystemId,
} from '../core/ids.ts';
import { parseVerifierKey } from '../tlog/note.ts';
import { readCertificate } from '../x509/certificate.ts';
import { parsePem } from '../x509/pem.ts';
import { parseAddress } from './address.ts';
import type { AgreementRow, GatewayRow, MemberRow, RegistryDocument } from './document.ts';
import { readMessageKey, spkiSha256 as hashOf } from './keys.ts';
import type { Problems } from './problems.ts';
import { resolveAttestors, type Attestors } from './resolve-attestors.ts';
import { resolveIdentityProviders, type IdentityProviders } from './resolve-identity.ts';
import type { Gateway, MessageKey, Service, Subsystem } from './entries.ts';

/** The document's rows, joined and indexed. */
export interface Resolved extends IdentityProviders, Attestors {
  readonly members: ReadonlyMap<MemberId, MemberRow>;
  readonly gateways: ReadonlyMap<string, Gateway>;
  readonly messageKeys: ReadonlyMap<string, MessageKey>;
  /** SHA-256 of SubjectPublicKeyInfo by verifier key. */
  readonly logKeys: ReadonlyMap<string, string>;
  readonly subsystems: ReadonlyMap<SubsystemId, Subsystem>;
  readonly services: ReadonlyMap<ServiceId, Service>;
  readonly servicesBySubsystem: ReadonlyMap<SubsystemId, readonly Service[]>;
  readonly agreements: ReadonlyMap<SubsystemId, ReadonlyMap<ServiceId, readonly AgreementRow[]>>;
}

/**
 * Codes of X-Road's metaservices and monitoring (PR-META, PR-MREST, PR-OPMON). They are answered without an agreement,
 * so a service of that name could be called by anyone, or would hide behind the gateway's own answer.
 */
const RESERVED = new Set(
  [
    'listMethods',
    'allowedMethods',
    'getOpenAPI',
    'getWsdl',
    'listClients',
    'listCentralServices',
    'asic',
    'verificationconf',
    'getSecurityServerMetrics',
    'getSecurityServerOperationalData',
    'getSecurityServerHealthData',
  ].map((code) => code.toLowerCase()),
);

type KeyUse = 'link' | 'message' | 'log';

/** What was read of keys before: most of the work of a large registry, and the same bytes are the same key. */
export type KnownKeys = Pick<Resolved, 'messageKeys' | 'logKeys'>;

const NO_KEYS: KnownKeys = { messageKeys: new Map(), logKeys: new Map() };

/** Joins the rows and reports everything that does not fit together. What is returned with problems is not used. */
export function resolve(
  document: RegistryDocument,
  problems: Problems,
  known: KnownKeys = NO_KEYS,
): Resolved {
  if (document.expiresAt <= document.issuedAt) problems.add('/expiresAt', 'not after issuedAt');
  requireAnchors(document, problems);
  const members = new Map<MemberId, MemberRow>();
  for (const [i, row] of document.members.entries()) {
    if (!row.id.startsWith(`${document.instance}/`)) problems.add(`/members/${i}/id`, 'of another instance');
    putOnce(members, row.id, row, `/members/${i}/id`, problems);
  }
  const { gateways, messageKeys, logKeys } = resolveGateways(document, members, problems, known);

  const subsystems = new Map<SubsystemId, Subsystem>();
  for (const [i, row] of document.subsystems.entries()) {
    const gateway = gateways.get(row.gateway);
    if (!members.has(memberOf(row.id))) problems.add(`/subsystems/${i}/id`, 'of an unknown member');
    if (gateway === undefined) problems.add(`/subsystems/${i}/gateway`, 'unknown gateway');
    else putOnce(subsystems, row.id, Object.freeze({ id: row.id, gateway }), `/subsystems/${i}/id`, problems);
  }

  const services = new Map<ServiceId, Service>();
  const servicesBySubsystem = new Map<SubsystemId, Service[]>();
  for (const [i, row] of document.services.entries()) {
    const code = serviceCodeOf(row.id);
    const owner = subsystems.get(subsystemOf(row.id));
    if (RESERVED.has(code.toLowerCase()))
      problems.add(`/services/${i}/id`, `${quoted(code)} is a reserved service code`);
    if (owner === undefined) {
      problems.add(`/services/${i}/id`, 'of an unknown subsystem');
      continue;
    }
    const service = Object.freeze({ ...row, code, subsystem: owner.id, gateway: owner.gateway });
    putOnce(services, row.id, service, `/services/${i}/id`, problems);
    const siblings = servicesBySubsystem.get(owner.id);
    if (siblings === undefined) servicesBySubsystem.set(owner.id, [service]);
    else siblings.push(service);
  }

  const agreements = resolveAgreements(document, subsystems, services, problems);
  const { identityProviders, byIssuer } = resolveIdentityProviders(document, members, problems);
  return {
    members,
    gateways,
    messageKeys,
    logKeys,
    subsystems,
    services,
    servicesBySubsystem,
    agreements,
    identityProviders,
    byIssuer,
    ...resolveAttestors(document, members, problems),
  };
}

function resolveGateways(
  document: RegistryDocument,
  members: ReadonlyMap<MemberId, MemberRow>,
  problems: Problems,
  known: KnownKeys,
): Pick<Resolved, 'gateways' | 'messageKeys' | 'logKeys'> {
  const gateways = new Map<string, Gateway>();
  const messageKeys = new Map<string, MessageKey>();
  const logKeys = new Map<string, string>();
  const origins = new Map<string, true>();
  const keys = new Map<string, { owner: string; use: KeyUse }>();
  /** One key, one gateway, one use: with a shared key one agency could speak as the other (X06). */
  const claim = (sha256: string, owner: string, use: KeyUse, path: string): void => {
    const holder = keys.get(sha256);
    if (holder === undefined) keys.set(sha256, { owner, use });
    else if (holder.owner !== owner) problems.add(path, `the key is also that of ${holder.owner}`);
    else if (holder.use !== use) problems.add(path, `the key is also a ${holder.use} key`);
    else if (use !== 'log') problems.add(path, 'the key is listed twice'); // a log key signs each epoch of its log
  };

  for (const [i, row] of document.gateways.entries()) {
    const path = `/gateways/${i}`;
    if (!members.has(row.member)) problems.add(`${path}/member`, 'unknown member');
    for (const [j, link] of row.link.entries()) claim(link.spki, row.name, 'link', `${path}/link/${j}/spki`);
    const own = new Map<string, MessageKey>();
    for (const [j, key] of resolveMessageKeys(row, path, problems, known).entries()) {
      const at = `${path}/messageKeys/${j}`;
      if (key === undefined) continue;
      claim(key.spkiSha256, row.name, 'message', `${at}/spki`);
      own.set(key.kid, key);
      messageKeys.set(key.kid, key);
    }
    for (const [j, log] of row.logs.entries()) {
      const at = `${path}/logs/${j}`;
      putOnce(origins, log.origin, true, `${at}/origin`, problems);
      if (!log.origin.startsWith(`${row.name}/`))
        problems.add(`${at}/origin`, `does not begin with ${row.name}/`);
      tryRead(`${at}/vkey`, problems, () => {
        const sha256 = known.logKeys.get(log.vkey) ?? hashOf(parseVerifierKey(log.vkey).publicKey);
        logKeys.set(log.vkey, sha256);
        // The name comes first in a verifier key and holds no plus sign (C2SP signed-note).
        if (!log.vkey.startsWith(`${log.origin}+`)) problems.add(`${at}/vkey`, 'is named unlike the origin');
        claim(sha256, row.name, 'log', `${at}/vkey`);
      });
    }
    putOnce(gateways, row.name, gatewayOf(row, own), `${path}/name`, problems);
  }
  return { gateways, messageKeys, logKeys };
}

function resolveMessageKeys(
  row: GatewayRow,
  path: string,
  problems: Problems,
  known: KnownKeys,
): (MessageKey | undefined)[] {
  return row.messageKeys.map((key, j) => {
    const at = `${path}/messageKeys/${j}`;
    if (key.notAfter <= key.notBefore) problems.add(`${at}/notAfter`, 'not after notBefore');
    return tryRead(`${at}/spki`, problems, () => {
      const before = known.messageKeys.get(key.kid);
      const same = before !== undefined && before.row.spki === key.spki && before.row.alg === key.alg;
      const { publicKey, spkiSha256 } = same ? before : readMessageKey(key);
      const kid = `${row.name}#${spkiSha256}`;
      if (key.kid !== kid) problems.add(`${at}/kid`, `expected ${kid}`);
      return Object.freeze({ kid, algorithm: key.alg, publicKey, spkiSha256, row: key });
    });
  });
}

function gatewayOf(row: GatewayRow, messageKeys: ReadonlyMap<string, MessageKey>): Gateway {
  const linkSpki = Object.freeze(row.link.map(({ spki }) => spki));
  // parse.ts let only addresses through that this reads.
  const { host = '', port = 0 } = parseAddress(row.address) ?? {};
  const target = Object.freeze({ name: row.name, host, port, spki: linkSpki });
  return Object.freeze({ name: row.name, member: row.member, linkSpki, target, messageKeys, logs: row.logs });
}

function resolveAgreements(
  document: RegistryDocument,
  subsystems: ReadonlyMap<SubsystemId, Subsystem>,
  services: ReadonlyMap<ServiceId, Service>,
  problems: Problems,
): Map<SubsystemId, Map<ServiceId, AgreementRow[]>> {
  const ids = new Map<string, true>();
  const agreements = new Map<SubsystemId, Map<ServiceId, AgreementRow[]>>();
  for (const [i, row] of document.agreements.entries()) {
    const path = `/agreements/${i}`;
    putOnce(ids, row.id, true, `${path}/id`, problems);
    if (!subsystems.has(row.consumer)) problems.add(`${path}/consumer`, 'unknown subsystem');
    if (!services.has(row.service)) problems.add(`${path}/service`, 'unknown service');
    if (row.untilMs <= row.fromMs) problems.add(`${path}/untilMs`, 'not after fromMs');
    const byService = agreements.get(row.consumer) ?? new Map<ServiceId, AgreementRow[]>();
    agreements.set(row.consumer, byService);
    const rows = byService.get(row.service);
    if (rows === undefined) byService.set(row.service, [row]);
    else rows.push(row);
  }
  return agreements;
}

function requireAnchors(document: RegistryDocument, problems: Problems): void {
  for (const [i, pem] of document.linkAnchors.entries()) {
    const path = `/linkAnchors/${i}`;
    tryRead(path, problems, () => {
      const [der, ...more] = parsePem('CERTIFICATE', pem);
      if (der === undefined || more.length > 0) {
        problems.add(path, 'expected one certificate');
      } else if (!readCertificate(der).isCa) {
        problems.add(path, 'not a CA certificate'); // as an anchor a leaf would vouch for itself
      }
    });
  }
}

function putOnce<K extends string, V>(
  map: Map<K, V>,
  key: K,
  value: V,
  path: string,
  problems: Problems,
): void {
  if (map.has(key)) problems.add(path, `${quoted(key)} is there twice`);
  else map.set(key, value);
}

function tryRead<T>(path: string, problems: Problems, read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if (!(thrown instanceof MalformedBytes)) throw thrown;
    problems.add(path, quoted(thrown.message, 160));
    return undefined;
  }
}
