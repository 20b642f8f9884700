// A whole small instance for tests: certificate authority, two gateways with every key, and the registry that names them.
import { createPublicKey, type KeyObject } from 'node:crypto';
import type { EpochMs } from '../../gateway/core/clock.ts';
import type { MemberId, ServiceId, SubsystemId } from '../../gateway/core/ids.ts';
import { FORMAT, type GatewayRow, type RegistryDocument } from '../../gateway/registry/document.ts';
import { messageKeyRow } from '../../gateway/registry/keys.ts';
import { noteSigner } from '../../gateway/tlog/note.ts';
import { readCertificate } from '../../gateway/x509/certificate.ts';
import { Authority, type Identity } from '../../pki/authority.ts';
import { generateKeyPair, type KeyKind, type KeyPair } from '../../pki/keys.ts';

const DAY = 86_400_000;

/** Everything one gateway holds, and its row in the registry. */
export interface GatewayParts {
  readonly name: string;
  readonly member: MemberId;
  readonly link: Identity;
  readonly message: KeyPair;
  readonly log: KeyPair;
  readonly origin: string;
  readonly row: GatewayRow;
}

export interface Instance {
  readonly authority: Authority;
  readonly rootKeys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  readonly consumer: GatewayParts;
  readonly provider: GatewayParts;
  readonly document: RegistryDocument;
}

// Spelled as the parsers of core/ids.ts accept them; the registry's own parser checks them again.
export const WELFARE = 'TW/GOV/A11/welfare' as SubsystemId;
export const HOUSING = 'TW/GOV/B07/housing' as SubsystemId;
export const ECHO = 'TW/GOV/B07/housing/echo' as ServiceId;
export const FILES = 'TW/GOV/B07/housing/files' as ServiceId;

/** Makes a gateway's keys and certificate, and the registry's row about them. */
export async function makeGateway(
  authority: Authority,
  code: string,
  now: EpochMs,
  options: { readonly address?: string; readonly messageKind?: KeyKind } = {},
): Promise<GatewayParts> {
  const name = `gw.${code.toLowerCase()}.tw.troad.example`;
  const member = `TW/GOV/${code}` as MemberId;
  const link = await authority.issueLink(name);
  const message = generateKeyPair(options.messageKind ?? 'ed25519');
  const log = generateKeyPair('ed25519');
  const origin = `${name}/troad-log/gw1/1`;
  const row: GatewayRow = {
    name,
    member,
    address: options.address ?? '127.0.0.1:5500',
    link: [{ spki: readCertificate(link.der).spkiSha256 }],
    messageKeys: [messageKeyRow(name, message.publicKey, { notBefore: now - DAY, notAfter: now + 90 * DAY })],
    logs: [{ origin, vkey: noteSigner(origin, log.privateKey).vkey }],
  };
  return { name, member, link, message, log, origin, row };
}

/** Welfare (A11) may POST to housing's (B07) echo and fetch and put its files. */
export async function makeInstance(now: EpochMs): Promise<Instance> {
  const authority = await Authority.create('TW test', () => now);
  const rootKeys = generateKeyPair('ed25519');
  const consumer = await makeGateway(authority, 'A11', now);
  const provider = await makeGateway(authority, 'B07', now, { messageKind: 'p256' });
  const agreed = {
    consumer: WELFARE,
    fromMs: now - DAY,
    untilMs: now + 365 * DAY,
    enabledByProvider: true,
    enabledByConsumer: true,
    assertion: 'none',
    device: 'none',
  } as const;
  const document: RegistryDocument = {
    format: FORMAT,
    instance: 'TW',
    version: 7,
    issuedAt: now,
    expiresAt: now + 7 * DAY,
    members: [
      { id: consumer.member, name: { en: 'Ministry of Welfare', zh: '福利部' } },
      { id: provider.member, name: { en: 'Housing Agency', zh: '住宅署' } },
    ],
    gateways: [consumer.row, provider.row],
    subsystems: [
      { id: WELFARE, gateway: consumer.name },
      { id: HOUSING, gateway: provider.name },
    ],
    services: [
      { id: ECHO, title: { en: 'Echo', zh: '回應' }, type: 'REST' },
      { id: FILES, title: { en: 'Files', zh: '檔案' }, type: 'OPENAPI' },
    ],
    agreements: [
      { ...agreed, id: 'A-1', service: ECHO, methods: ['POST'], paths: ['/'] },
      {
        ...agreed,
        id: 'A-2',
        service: FILES,
        methods: ['GET', 'PUT'],
        paths: ['/*', '/public/**'],
        purpose: 'Rent subsidy',
      },
    ],
    linkAnchors: [authority.rootPem],
  };
  return { authority, rootKeys, consumer, provider, document };
}

/** The public halves, as a gateway's configuration pins them. */
export const pinned = (
  ...privateKeys: readonly KeyObject[]
): { readonly rootKeys: readonly KeyObject[] } => ({
  rootKeys: privateKeys.map((key) => createPublicKey(key)),
});
