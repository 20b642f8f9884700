import type { EpochMs } from '../core/clock.ts';
import { fieldValue } from '../core/fields.ts';
import type { ExchangeId, SubsystemId } from '../core/ids.ts';
import type { EndpointDevice, NodeDevice } from '../device/attested-device.ts';
import type { ClientSystem } from '../identity/client-system.ts';
import type { PeerGateway } from '../identity/peer.ts';
import type { UserAssertion } from '../identity/user-assertion.ts';
import type { Route } from '../message/target.ts';
import type { SignedHead } from '../message/signed-head.ts';
import type { AgreementTerms } from './agreement.ts';
import { momentOf, Question, type Asked } from './question.ts';
import type { SignalFacts } from './signals.ts';
import type { ThreatIntel } from './threat.ts';

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
  readonly request: Asked['request'];
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
  readonly question: Question;
  #bytes: Buffer | undefined;

  private constructor(exchange: ExchangeId, asked: Asked) {
    this.decisionId = exchange;
    this.agreementId = asked.agreement?.id;
    this.question = Question.of(asked);
  }

  /** RFC 8785. */
  get text(): string {
    return this.question.text(this.decisionId);
  }

  /** {@link text} in UTF-8: what the log keeps and a replay evaluates. */
  get bytes(): Buffer {
    return (this.#bytes ??= this.question.bytes(this.decisionId));
  }

  static forConsumer(facts: ConsumerFacts): PolicyInput {
    const { exchange, now, client, user, endpoint, node, request, agreement, signals, threat } = facts;
    return new PolicyInput(exchange, {
      role: 'consumer',
      agreement,
      moment: momentOf(now, agreement),
      client,
      peer: undefined,
      user,
      endpoint,
      node,
      request,
      signals,
      threat,
      now,
      feedsAge: threat.ageHours(now),
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
    if (user === undefined ? relayed !== undefined : !isQuoted(relayed, 'assertion="', user.jws))
      throw new Error('policy input: another user');
    if (node !== undefined && node.gateway !== peer.name)
      throw new Error('policy input: the host of another gateway');
    const result = fieldValue(signed.fields, 't-road-device');
    if (endpoint === undefined ? result !== undefined : !isQuoted(result, 'result="', endpoint.token))
      throw new Error('policy input: another device');
    const machine = renewed ?? endpoint;
    if (machine !== undefined && (endpoint === undefined || !isSameMachine(machine, endpoint)))
      throw new Error('policy input: renewed by another device');
    return new PolicyInput(exchange.id, {
      role: 'provider',
      agreement,
      moment: momentOf(now, agreement),
      client: undefined,
      peer,
      user,
      endpoint: machine,
      node,
      request: { client, length: exchange.length, method: view.method, route },
      signals,
      threat,
      now,
      feedsAge: threat.ageHours(now),
    });
  }
}

/** Begins a field with this? `startsWith` goes through a text of kilobytes character by character: it took a microsecond. */
function isQuoted(field: string | undefined, opening: string, text: string): boolean {
  const end = opening.length + text.length;
  return (
    field?.startsWith(opening) === true && field.slice(opening.length, end) === text && field[end] === '"'
  );
}

const isSameMachine = (a: EndpointDevice, b: EndpointDevice): boolean =>
  a.issuer === b.issuer && a.device === b.device && a.certificate === b.certificate;
