/** Real proofs for tests of the policy: identified over identity/, signed and verified over message/. */
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Authority } from '../../pki/authority.ts';
import type { Field, Fields } from '../core/fields.ts';
import { newExchangeId, type MemberId, type ServiceId, type SubsystemId } from '../core/ids.ts';
import { ClientSystem } from '../identity/client-system.ts';
import { PeerGateway } from '../identity/peer.ts';
import { EXCHANGE, formatExchange } from '../message/exchange-field.ts';
import { base64 } from '../core/bytes.ts';
import { signBase } from '../httpsig/algorithm.ts';
import { signatureBase } from '../httpsig/base.ts';
import { formatSignatureInput } from '../httpsig/signature-input.ts';
import { VerifiedBatches } from '../message/message-signature.ts';
import { requestComponents, TAG } from '../message/profile.ts';
import { SignedHead } from '../message/signed-head.ts';
import { readCertificate } from '../x509/certificate.ts';
import { Bundle } from './bundle.ts';
import type { AgreementTerms } from './agreement.ts';
import type { ConsumerFacts, ProviderFacts } from './input.ts';
import type { SignalFacts } from './signals.ts';
import { ThreatIntel } from './threat.ts';

export const NOW = 1_795_305_600_123;
// Each spelled as core/ids.ts would accept it.
export const CLIENT = 'TW/GOV/A11/welfare' as SubsystemId;
export const SERVICE = 'TW/GOV/B07/housing/echo' as ServiceId;
const MEMBER = 'TW/GOV/A11' as MemberId;
export const A = 'gw.a11.tw.troad.example';
export const B = 'gw.b07.tw.troad.example';

const file = (name: string) => readFileSync(new URL(`../../policies/bundle/${name}`, import.meta.url));

/** The policy this repository ships. */
export const shippedBundle = (): Bundle =>
  Bundle.parse({ manifest: file('manifest.json'), wasm: file('policy.wasm'), data: file('data.json') });

/** Of a caller with a history, who does nothing unusual. */
export const USUAL: SignalFacts = {
  address: 'known',
  device: null,
  hour: 'usual',
  rate_percent: 100,
  refusals: 0,
  volume_percent: 0,
};

const NO_INTEL = new ThreatIntel();

export const AGREEMENT: AgreementTerms = {
  id: 'TW-2026-0001',
  consumer: CLIENT,
  service: SERVICE,
  methods: ['GET', 'POST'],
  paths: ['/', '/people/*'],
  fromMs: NOW - 1000,
  untilMs: NOW + 1000,
  enabledByProvider: true,
  enabledByConsumer: true,
  assertion: 'none',
  device: 'none',
};

/** @param access what the subsystem may connect by; shown is exactly that */
export function provedClient(access: 'loopback' | 'https' | 'mtls' = 'loopback', id = CLIENT): ClientSystem {
  const directory = { localSubsystem: () => ({ id, access, certificates: [] }) };
  return ClientSystem.identify({ tls: access === 'https', loopback: true }, id, directory);
}

const link = await (await Authority.create('TW test', () => NOW)).issueLink(A);

export function provedPeer(member = MEMBER): PeerGateway {
  const known = { name: A, member, linkSpki: [readCertificate(link.der).spkiSha256] };
  return PeerGateway.identify(link.der, 'client', { gatewayByName: () => known }, NOW);
}

const keys = generateKeyPairSync('ed25519');
const clock = { now: () => NOW, monotonic: () => 0 };

export interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly from?: string;
  readonly length?: number;
  readonly device?: string;
}

/** A request of A's gateway for the echo service, signed by it and verified by B's. */
export function signedRequest(asked: Asked = {}): SignedHead {
  const { method = 'GET', path = `/r1/${SERVICE}/people/7`, from = A, length, device } = asked;
  const announced = length === undefined ? {} : { length };
  const exchange = { id: newExchangeId(), mode: 'stream', from, to: B, at: NOW, ...announced } as const;
  const head = {
    method,
    authority: B,
    path,
    query: '',
    fields: [
      ['x-road-client', CLIENT],
      ['x-road-id', 'TW-1'],
      [EXCHANGE, formatExchange(exchange)],
      ...(device === undefined ? [] : [['t-road-device', device] as const]),
    ] as readonly Field[],
  };
  const components = requestComponents(head.fields, 'stream', 'open');
  const created = Math.floor(NOW / 1000);
  const input = formatSignatureInput(components, {
    created,
    expires: created + 60,
    nonce: exchange.id,
    keyid: '1',
    tag: TAG.open,
  });
  const base = signatureBase({ kind: 'request', ...head }, components, input);
  const signature: Fields = [
    ['signature-input', `open=${input}`],
    ['signature', `open=:${base64(signBase('ed25519', keys.privateKey, base))}:`],
  ];
  const sent = { ...head, fields: [...head.fields, ...signature] };
  const messageKey = () => ({ algorithm: 'ed25519', publicKey: keys.publicKey }) as const;
  return SignedHead.request(sent, from, { me: B, clock, messageKey, batches: new VerifiedBatches() });
}

export function consumerFacts(changes: Partial<ConsumerFacts> = {}): ConsumerFacts {
  const route = { service: SERVICE, rest: '/people/7' };
  return {
    exchange: newExchangeId(),
    now: NOW,
    client: provedClient(),
    user: undefined,
    endpoint: undefined,
    node: undefined,
    request: { method: 'GET', route, client: CLIENT, length: undefined },
    agreement: AGREEMENT,
    signals: USUAL,
    threat: NO_INTEL,
    ...changes,
  };
}

export function providerFacts(changes: Partial<ProviderFacts> = {}): ProviderFacts {
  return {
    now: NOW,
    peer: provedPeer(),
    signed: signedRequest(),
    route: { service: SERVICE, rest: '/people/7' },
    client: CLIENT,
    user: undefined,
    endpoint: undefined,
    node: undefined,
    agreement: AGREEMENT,
    signals: USUAL,
    threat: NO_INTEL,
    ...changes,
  };
}
