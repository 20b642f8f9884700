import { fromBase64url } from '../core/bytes.ts';
import { parseMemberId, parseServiceId, parseSubsystemId } from '../core/ids.ts';
import {
  type AgreementRow,
  FORMAT,
  type GatewayRow,
  type LogRow,
  type MemberRow,
  type MessageKeyRow,
  type Names,
  type RegistryDocument,
  type ServiceRow,
  type SubsystemRow,
} from './document.ts';
import { attestor, deviceDemand } from './parse-attestor.ts';
import { assertionDemand, identityProvider } from './parse-identity.ts';
import { BAD, type Bad, type Problems, whole } from './problems.ts';
import { parseAddress } from './address.ts';

/** Taiwan has 7,720 agencies; an instance of ten times that is a mistake or an attack. */
const MAX_MEMBERS = 100_000;
const MAX_ROWS = 1_000_000;
const MAX_ATTESTORS = 1000;
const MAX_PER_GATEWAY = 64;

/**
 * The rows of a registry, each well-formed by itself. Whether they fit together is `registry.ts`'s question.
 * @returns BAD when anything is wrong; the problems then say what
 */
export function parseDocument(raw: unknown, problems: Problems): RegistryDocument | Bad {
  const o = problems.object(raw, '', [
    'format',
    'instance',
    'version',
    'issuedAt',
    'expiresAt',
    'members',
    'gateways',
    'subsystems',
    'services',
    'agreements',
    'linkAnchors',
    'identityProviders',
    'attestors',
  ]);
  if (o === BAD) return BAD;
  const row =
    <T>(read: (item: unknown, path: string, problems: Problems) => T | Bad) =>
    (item: unknown, path: string): T | Bad =>
      read(item, path, problems);
  return whole<RegistryDocument>({
    format: problems.oneOf(o.format, '/format', [FORMAT]),
    instance: problems.text(o.instance, '/instance', 'letters, digits, - and _', (t) =>
      /^[A-Za-z0-9_-]{1,32}$/.test(t) ? t : undefined,
    ),
    version: problems.integer(o.version, '/version', 1),
    issuedAt: problems.integer(o.issuedAt, '/issuedAt', 0),
    expiresAt: problems.integer(o.expiresAt, '/expiresAt', 0),
    members: problems.list(o.members, '/members', MAX_MEMBERS, row(member)),
    gateways: problems.list(o.gateways, '/gateways', MAX_MEMBERS, row(gateway)),
    subsystems: problems.list(o.subsystems, '/subsystems', MAX_ROWS, row(subsystem)),
    services: problems.list(o.services, '/services', MAX_ROWS, row(service)),
    agreements: problems.list(o.agreements, '/agreements', MAX_ROWS, row(agreement)),
    linkAnchors: problems.list(o.linkAnchors, '/linkAnchors', 64, (item, path) =>
      problems.text(item, path, 'PEM text', (t) => t),
    ),
    ...(o.identityProviders === undefined
      ? {}
      : {
          identityProviders: problems.list(
            o.identityProviders,
            '/identityProviders',
            MAX_MEMBERS,
            row(identityProvider),
          ),
        }),
    ...(o.attestors === undefined
      ? {}
      : { attestors: problems.list(o.attestors, '/attestors', MAX_ATTESTORS, row(attestor)) }),
  });
}

function member(raw: unknown, path: string, problems: Problems): MemberRow | Bad {
  const o = problems.object(raw, path, ['id', 'name']);
  if (o === BAD) return BAD;
  return whole<MemberRow>({
    id: problems.text(o.id, `${path}/id`, 'instance/class/member', parseMemberId),
    name: names(o.name, `${path}/name`, problems),
  });
}

function gateway(raw: unknown, path: string, problems: Problems): GatewayRow | Bad {
  const o = problems.object(raw, path, ['name', 'member', 'address', 'link', 'messageKeys', 'logs']);
  if (o === BAD) return BAD;
  return whole<GatewayRow>({
    name: problems.text(o.name, `${path}/name`, 'a DNS name in lower case', dnsName),
    member: problems.text(o.member, `${path}/member`, 'instance/class/member', parseMemberId),
    address: problems.text(o.address, `${path}/address`, 'host:port', (t) =>
      parseAddress(t) ? t : undefined,
    ),
    link: problems.list(o.link, `${path}/link`, MAX_PER_GATEWAY, (item, at) => linkKey(item, at, problems)),
    messageKeys: problems.list(o.messageKeys, `${path}/messageKeys`, MAX_PER_GATEWAY, (item, at) =>
      messageKey(item, at, problems),
    ),
    logs: problems.list(o.logs, `${path}/logs`, MAX_PER_GATEWAY, (item, at) => log(item, at, problems)),
  });
}

function linkKey(raw: unknown, path: string, problems: Problems): { readonly spki: string } | Bad {
  const o = problems.object(raw, path, ['spki']);
  if (o === BAD) return BAD;
  return whole<{ spki: string }>({
    spki: problems.text(o.spki, `${path}/spki`, 'a SHA-256 in base64url', (t) =>
      fromBase64url(t)?.length === 32 ? t : undefined,
    ),
  });
}

function messageKey(raw: unknown, path: string, problems: Problems): MessageKeyRow | Bad {
  const o = problems.object(raw, path, ['kid', 'alg', 'spki', 'notBefore', 'notAfter', 'status']);
  if (o === BAD) return BAD;
  return whole<MessageKeyRow>({
    kid: problems.text(o.kid, `${path}/kid`, '<gateway name>#<SHA-256 of the key>', (t) =>
      t.length <= 320 ? t : undefined,
    ),
    alg: problems.oneOf(o.alg, `${path}/alg`, ['ed25519', 'ecdsa-p256-sha256', 'rsa-pss-sha512']),
    spki: problems.text(o.spki, `${path}/spki`, 'base64', (t) => (t.length <= 4096 ? t : undefined)),
    notBefore: problems.integer(o.notBefore, `${path}/notBefore`, 0),
    notAfter: problems.integer(o.notAfter, `${path}/notAfter`, 0),
    status: problems.oneOf(o.status, `${path}/status`, ['active', 'revoked']),
  });
}

function log(raw: unknown, path: string, problems: Problems): LogRow | Bad {
  const o = problems.object(raw, path, ['origin', 'vkey']);
  if (o === BAD) return BAD;
  return whole<LogRow>({
    origin: problems.text(o.origin, `${path}/origin`, 'an origin', (t) =>
      /^[\x21-\x2a\x2c-\x7e]{1,320}$/.test(t) ? t : undefined,
    ),
    vkey: problems.text(o.vkey, `${path}/vkey`, 'a verifier key', (t) => (t.length <= 512 ? t : undefined)),
  });
}

function subsystem(raw: unknown, path: string, problems: Problems): SubsystemRow | Bad {
  const o = problems.object(raw, path, ['id', 'gateway']);
  if (o === BAD) return BAD;
  return whole<SubsystemRow>({
    id: problems.text(o.id, `${path}/id`, 'instance/class/member/subsystem', parseSubsystemId),
    gateway: problems.text(o.gateway, `${path}/gateway`, 'the name of a gateway', dnsName),
  });
}

function service(raw: unknown, path: string, problems: Problems): ServiceRow | Bad {
  const o = problems.object(raw, path, ['id', 'title', 'type']);
  if (o === BAD) return BAD;
  return whole<ServiceRow>({
    id: problems.text(o.id, `${path}/id`, 'instance/class/member/subsystem/service', parseServiceId),
    title: names(o.title, `${path}/title`, problems),
    type: problems.oneOf(o.type, `${path}/type`, ['REST', 'OPENAPI']),
  });
}

function agreement(raw: unknown, path: string, problems: Problems): AgreementRow | Bad {
  const o = problems.object(raw, path, [
    'id',
    'consumer',
    'service',
    'methods',
    'paths',
    'fromMs',
    'untilMs',
    'enabledByProvider',
    'enabledByConsumer',
    'assertion',
    'device',
    'class',
    'purpose',
  ]);
  if (o === BAD) return BAD;
  return whole<AgreementRow>({
    id: problems.text(o.id, `${path}/id`, 'letters, digits and . _ : -', (t) =>
      /^[A-Za-z0-9._:-]{1,128}$/.test(t) ? t : undefined,
    ),
    consumer: problems.text(
      o.consumer,
      `${path}/consumer`,
      'instance/class/member/subsystem',
      parseSubsystemId,
    ),
    service: problems.text(
      o.service,
      `${path}/service`,
      'instance/class/member/subsystem/service',
      parseServiceId,
    ),
    methods: methods(o.methods, `${path}/methods`, problems),
    paths: problems.list(o.paths, `${path}/paths`, 256, (item, at) =>
      problems.text(item, at, 'a path pattern', pathPattern),
    ),
    fromMs: problems.integer(o.fromMs, `${path}/fromMs`, 0),
    untilMs: problems.integer(o.untilMs, `${path}/untilMs`, 0),
    enabledByProvider: problems.boolean(o.enabledByProvider, `${path}/enabledByProvider`),
    enabledByConsumer: problems.boolean(o.enabledByConsumer, `${path}/enabledByConsumer`),
    assertion: assertionDemand(o.assertion, `${path}/assertion`, problems),
    device: deviceDemand(o.device, `${path}/device`, problems),
    ...(o.class === undefined
      ? {}
      : {
          class: problems.text(o.class, `${path}/class`, 'small letters and _, at most 32', (t) =>
            /^[a-z_]{1,32}$/.test(t) ? t : undefined,
          ),
        }),
    ...(o.purpose === undefined
      ? {}
      : { purpose: problems.text(o.purpose, `${path}/purpose`, 'one line of text', line) }),
  });
}

function methods(raw: unknown, path: string, problems: Problems): string[] | Bad {
  const list = problems.list(raw, path, 16, (item, at) =>
    problems.text(item, at, 'an HTTP method in upper case, or *', (t) =>
      /^(?:\*|[A-Z]{1,16})$/.test(t) ? t : undefined,
    ),
  );
  if (list.includes('*') && list.length > 1) return problems.add(path, '* stands alone');
  return list;
}

/**
 * A pattern the policy can match: segments between slashes, `*` a whole one, `**` the last one. Others would silently
 * cover nothing.
 */
function pathPattern(text: string): string | undefined {
  if (text === '**') return text;
  if (text.length > 2000 || !/^(?:\/[A-Za-z0-9._~!$&'()*+,=:@%-]*)+$/.test(text)) return undefined;
  const segments = text.split('/').slice(1);
  const wellFormed = segments.every(
    (segment, i) =>
      !segment.includes('*') || segment === '*' || (segment === '**' && i === segments.length - 1),
  );
  return wellFormed && !segments.includes('.') && !segments.includes('..') ? text : undefined;
}

function names(raw: unknown, path: string, problems: Problems): Names | Bad {
  const o = problems.object(raw, path, ['en', 'zh']);
  if (o === BAD) return BAD;
  return whole<Names>({
    en: problems.text(o.en, `${path}/en`, 'one line of text', line),
    zh: problems.text(o.zh, `${path}/zh`, 'one line of text', line),
  });
}

/** 1 to 200 characters for people, no controls: it ends up in answers, on consoles and in logs. */
const line = (text: string): string | undefined =>
  /^[^\p{Cc}\p{Cs}\u2028\u2029]{1,200}$/u.test(text) ? text : undefined;

/** Letters, digits and hyphens in labels, lower case, no dot at the end, no wildcard (RFC 1123 §2.1). */
export function dnsName(text: string): string | undefined {
  const labels =
    /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
  return labels.test(text) ? text : undefined;
}
