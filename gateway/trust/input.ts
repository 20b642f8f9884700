import type { EpochMs } from '../core/clock.ts';
import { utf8 } from '../core/bytes.ts';
import { fieldValue } from '../core/fields.ts';
import { memberOf, type ExchangeId, type MemberId, type ServiceId, type SubsystemId } from '../core/ids.ts';
import type { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import type { DeviceDemand, DeviceMinimum } from '../device/demand.ts';
import type { ClientSystem } from '../identity/client-system.ts';
import type { AssertionDemand } from '../identity/levels.ts';
import type { PeerGateway } from '../identity/peer.ts';
import type { UserAssertion } from '../identity/user-assertion.ts';
import type { Route } from '../message/target.ts';
import type { SignedHead } from '../message/signed-head.ts';
import { attested, known } from './machine-facts.ts';
import type { SignalFacts } from './signals.ts';
import type { ThreatFacts, ThreatIntel } from './threat.ts';

/** The terms of one agreement, as the registry has them. */
export interface AgreementTerms {
  readonly id: string;
  /** How much is at stake, in a word of the policy's data, which has a threshold for each. Absent: `general`. */
  readonly class?: string;
  readonly consumer: SubsystemId;
  readonly service: ServiceId;
  /** HTTP methods; `*` is any. */
  readonly methods: readonly string[];
  /** Path patterns (policies/troad/path.rego). */
  readonly paths: readonly string[];
  readonly fromMs: EpochMs;
  readonly untilMs: EpochMs;
  readonly enabledByProvider: boolean;
  readonly enabledByConsumer: boolean;
  /** What is demanded of the user assertion, and of the machines; `none` if nothing. */
  readonly assertion: 'none' | AssertionDemand;
  readonly device: 'none' | DeviceDemand;
}

/** What the consumer's gateway knows of a request, in the words of the canonical request. */
export interface ConsumerFacts {
  readonly exchange: ExchangeId;
  readonly now: EpochMs;
  /** Proof of the local system that asks. */
  readonly client: ClientSystem;
  /** Proof of the user; undefined when no assertion came with the request. */
  readonly user: UserAssertion | undefined;
  /** Proof of the machine that the local system sits on; undefined when it presented none. */
  readonly endpoint: EndpointDevice | undefined;
  /** Proof of the host of the provider's gateway; undefined when it presented none. */
  readonly node: NodeDevice | undefined;
  readonly request: {
    readonly method: string;
    readonly route: Route;
    /** What X-Road-Client claims; the policy compares it with the proof. */
    readonly client: SubsystemId;
    /** Bytes announced; undefined when the end is marked in the stream. */
    readonly length: number | undefined;
  };
  readonly agreement: AgreementTerms | undefined;
  /** What is unusual about the request: our own observations, no proofs. */
  readonly signals: SignalFacts;
  /** What is publicly known of weaknesses. */
  readonly threat: ThreatIntel;
}

/** What the provider's gateway knows: nothing the peer did not sign, nobody the connection did not prove. */
export interface ProviderFacts {
  readonly now: EpochMs;
  readonly peer: PeerGateway;
  readonly signed: SignedHead;
  /** Parsed from the signed head by the caller, and compared with it here. */
  readonly route: Route;
  readonly client: SubsystemId;
  /** Proof of the user, verified again with what the peer relayed. */
  readonly user: UserAssertion | undefined;
  /** Proof of the machine behind the peer, verified again with what the peer relayed. */
  readonly endpoint: EndpointDevice | undefined;
  /** A newer result of that machine, which came while the exchange ran. */
  readonly renewed?: EndpointDevice | undefined;
  /** Proof of the host of the peer. */
  readonly node: NodeDevice | undefined;
  readonly agreement: AgreementTerms | undefined;
  /** What is unusual about the request: our own observations, no proofs. */
  readonly signals: SignalFacts;
  /** What is publicly known of weaknesses. */
  readonly threat: ThreatIntel;
}

/**
 * What a policy is asked, fixed before it is asked: the text that is evaluated is the text that is logged. Made from
 * proofs only. The document is described by policies/schemas/input.json.
 */
export class PolicyInput {
  declare protected readonly nominal: never;
  readonly decisionId: ExchangeId;
  readonly agreementId: string | undefined;
  /** RFC 8785. */
  readonly text: string;
  /** {@link text} without the decision's id. */
  readonly question: string;
  #bytes: Buffer | undefined;

  private constructor(
    exchange: ExchangeId,
    now: EpochMs,
    agreement: AgreementTerms | undefined,
    facts: Facts,
  ) {
    for (const time of [now, agreement?.fromMs, agreement?.untilMs]) {
      if (time !== undefined && !Number.isSafeInteger(time))
        throw new Error('policy input: a time is no integer');
    }
    const { assertion, clientSystem, device, node, peer, request, role, signals, threat } = facts;
    // In alphabetical order, which is RFC 8785 without sorting; what is the same for many requests was written before.
    const before = `{"agreement":${termsText(agreement)},"assertion":${text(assertion)},"client_system":${text(clientSystem)},"decision_id":"`;
    const behind = `","device":${text(device)},"node":${text(node)},"now_ms":${moment(now, agreement)},"peer":${text(peer)},"request":${requestText(request)},"role":"${role}","signals":${text(signals)},"threat":${text(threat)}}`;
    this.decisionId = exchange;
    this.agreementId = agreement?.id;
    this.question = before + behind;
    this.text = before + exchange + behind;
  }

  /** {@link text} in UTF-8: what the log keeps and a replay evaluates. */
  get bytes(): Buffer {
    return (this.#bytes ??= utf8(this.text));
  }

  static forConsumer(facts: ConsumerFacts): PolicyInput {
    const { exchange, now, client, user, endpoint, node, request, agreement, signals, threat } = facts;
    return new PolicyInput(exchange, now, agreement, {
      assertion: shown(user),
      clientSystem: { method: client.method, subsystem: client.subsystem },
      device: attested(endpoint, threat),
      node: attested(node, threat),
      peer: null,
      request,
      role: 'consumer',
      signals,
      threat: known(threat, [endpoint, node], now),
    });
  }

  /** @throws Error when the arguments are not about one message: the caller's bug, and nothing is decided */
  static forProvider(facts: ProviderFacts): PolicyInput {
    const { now, peer, signed, route, client, user, endpoint, renewed, node, agreement, signals, threat } =
      facts;
    const { view, exchange } = signed;
    if (view.kind !== 'request') throw new Error('policy input: the signed head is not a request');
    // Verify one thing and decide on another: the oldest hole of gateways.
    if (exchange.from !== peer.name) throw new Error('policy input: signed by another than the peer');
    if (view.path !== `/r1/${route.service}${route.rest}`)
      throw new Error('policy input: route of another path');
    if (fieldValue(signed.fields, 'x-road-client') !== client)
      throw new Error('policy input: another client');
    const relayed = fieldValue(signed.fields, 't-road-user');
    if (user === undefined ? relayed !== undefined : relayed?.startsWith(`assertion="${user.jws}"`) !== true)
      throw new Error('policy input: another user');
    if (node !== undefined && node.gateway !== peer.name)
      throw new Error('policy input: the host of another gateway');
    const result = fieldValue(signed.fields, 't-road-device');
    if (
      endpoint === undefined
        ? result !== undefined
        : result?.startsWith(`result="${endpoint.token}"`) !== true
    )
      throw new Error('policy input: another device');
    const machine = renewed ?? endpoint;
    if (machine !== undefined && (endpoint === undefined || !isSameMachine(machine, endpoint)))
      throw new Error('policy input: renewed by another device');
    return new PolicyInput(exchange.id, now, agreement, {
      assertion: shown(user),
      clientSystem: null,
      device: attested(machine, threat),
      node: attested(node, threat),
      peer: { gateway: peer.name, member: peer.member },
      request: { client, length: exchange.length, method: view.method, route },
      role: 'provider',
      signals,
      threat: known(threat, [machine, node], now),
    });
  }
}

const isSameMachine = (a: EndpointDevice, b: EndpointDevice): boolean =>
  a.issuer === b.issuer && a.device === b.device && a.certificate === b.certificate;

/**
 * The time as a policy sees it: the last whole second, or the agreement's own bound if that was passed since. So the
 * exchanges of one second ask the same question, and none of them finds an agreement open that has ended.
 */
function moment(now: EpochMs, agreement: AgreementTerms | undefined): EpochMs {
  let time = now - (now % 1000);
  if (agreement === undefined) return time;
  const { fromMs, untilMs } = agreement;
  if (fromMs <= now) time = Math.max(time, fromMs);
  if (untilMs <= now) time = Math.max(time, untilMs);
  return time;
}

/**
 * The members of policies/schemas/input.json that differ between exchanges of one agreement. Wherever one of these is
 * written the members stand in alphabetical order, so that JSON.stringify writes RFC 8785 (a test holds it to that).
 */
interface Facts {
  readonly assertion: ReturnType<typeof shown>;
  readonly clientSystem: { readonly method: ClientSystem['method']; readonly subsystem: SubsystemId } | null;
  /** The endpoint's attestation result and that of the peer's host. null: nothing presented. */
  readonly device: ReturnType<typeof attested>;
  readonly node: ReturnType<typeof attested>;
  readonly peer: { readonly gateway: string; readonly member: MemberId } | null;
  readonly request: ConsumerFacts['request'];
  readonly role: 'consumer' | 'provider';
  readonly signals: SignalFacts;
  readonly threat: ThreatFacts | null;
}

const text = (facts: object | string | number | null): string =>
  facts === null ? 'null' : JSON.stringify(facts);

function requestText({ client, length, method, route }: ConsumerFacts['request']): string {
  return `{"client":${text(client)},"content_length":${text(length ?? null)},"method":${text(method)},"path":${text(route.rest)},"provider_member":${text(memberOf(route.service))},"service":${text(route.service)}}`;
}

/** By agreement: the registry makes new ones when it changes, and nobody changes one. */
const termsTexts = new WeakMap<AgreementTerms, string>();

function termsText(agreement: AgreementTerms | undefined): string {
  if (agreement === undefined) return 'null';
  let written = termsTexts.get(agreement);
  if (written === undefined) termsTexts.set(agreement, (written = JSON.stringify(terms(agreement))));
  return written;
}

function terms(agreement: AgreementTerms) {
  return {
    assertion: demanded(agreement.assertion),
    class: agreement.class ?? 'general',
    consumer: agreement.consumer,
    device: demandedOfDevices(agreement.device),
    enabled_by_consumer: agreement.enabledByConsumer,
    enabled_by_provider: agreement.enabledByProvider,
    from_ms: agreement.fromMs,
    id: agreement.id,
    methods: agreement.methods,
    paths: agreement.paths,
    service: agreement.service,
    until_ms: agreement.untilMs,
  };
}

function demanded(assertion: 'none' | AssertionDemand) {
  if (assertion === 'none') return assertion;
  const { aal, fal, ial, maxAgeSeconds, proof } = assertion;
  return { aal, fal, ial, max_age_seconds: maxAgeSeconds, proof };
}

function demandedOfDevices(device: 'none' | DeviceDemand) {
  if (device === 'none') return device;
  const { endpoint, node } = device;
  return { endpoint: minimum(endpoint), node: minimum(node) };
}

function minimum(least: DeviceMinimum | undefined) {
  if (least === undefined) return null;
  const { health, residency, tpm } = least;
  return { health, residency, tpm };
}

/** What is known about the user's authentication; who it is does not matter here, and does not go into the log this way. */
function shown(user: UserAssertion | undefined) {
  if (user === undefined) return null;
  const { level, acr, amr, authTime, boundBy, issuer, member } = user;
  return {
    aal: level.aal,
    acr,
    amr,
    auth_time_ms: authTime * 1000,
    bound_by: boundBy,
    fal: level.fal,
    ial: level.ial,
    issuer,
    member,
  };
}
