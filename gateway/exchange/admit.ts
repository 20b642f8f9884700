import { withoutPort } from '../core/address.ts';
import { Denied, Unavailable } from '../core/errors.ts';
import { base64, toBase64 } from '../core/bytes.ts';
import { fieldValue, type Field } from '../core/fields.ts';
import type { RequestHead } from '../core/head.ts';
import { memberOf, parseSubsystemId, subsystemOf } from '../core/ids.ts';
import { certificateSha256, ClientSystem } from '../identity/client-system.ts';
import type { PeerGateway } from '../identity/peer.ts';
import type { LinkSession, LinkTarget } from '../link/link.ts';
import { SignedHead } from '../message/signed-head.ts';
import { parseRoute, type Route } from '../message/target.ts';
import type { Grant } from '../trust/grant.ts';
import { PolicyInput } from '../trust/input.ts';
import type { Arrival } from './arrival.ts';
import { hostOf } from './greeting.ts';
import { readClientRequest, type ClientRequest } from './client-request.ts';
import { decide, type Question } from './decide.ts';
import { presentedDevice, relayedDevice, withDevice } from './devices.ts';
import type { Dossier } from './dossier.ts';
import { Duties } from './duties.ts';
import type { Gateway, LocalService } from './gateway.ts';
import type { Lease } from './grant-watch.ts';
import { takeEverywhere } from './once.ts';
import { peerOf } from './peers.ts';
import { carriedFields, hasAssertion, presentedUser, relayedUser } from './users.ts';

/** A client system's request that may be carried. */
export interface Admitted {
  readonly request: ClientRequest;
  readonly target: LinkTarget;
  readonly lease: Lease;
  readonly grant: Grant;
  readonly duties: Duties;
  readonly policyField: Field;
  /** `x-road-client` as the client wrote it, for the answer. */
  readonly clientField: string;
}

/** A peer's request that may be handed to a service of ours. */
export interface Demand {
  readonly peer: PeerGateway;
  readonly signed: SignedHead;
  readonly method: string;
  readonly route: Route;
  readonly query: string;
  readonly service: LocalService;
  readonly lease: Lease;
  readonly grant: Grant;
  readonly duties: Duties;
  readonly agreementId: string;
}

/**
 * Consumer's gateway. Each line needs what the lines above produced; all of it is decided on the head, before a byte
 * of the body was asked for.
 * @throws Denied, Unavailable
 */
export async function admitConsumer(arrival: Arrival, gateway: Gateway, dossier: Dossier): Promise<Admitted> {
  requireReady(gateway);
  const registry = gateway.registry();
  const request = readClientRequest(
    arrival,
    dossier.id,
    gateway.instance,
    gateway.hosts,
    gateway.requestHash !== 'off',
  );
  const { client: claimed, route, method } = request;
  dossier.target = request.target;
  dossier.learn({ xid: request.xid, client: claimed, svc: route.service, op: method });
  const client = ClientSystem.identify(arrival.connection, claimed, gateway.subsystems);
  const now = gateway.clock.now();
  const visit = gateway.callers.visit(arrival.connection.remote, now);
  dossier.visit = visit;
  visit.client(client.subsystem);
  const member = memberOf(client.subsystem);
  // Nothing is waited for that need not be: a promise costs more than most of what is looked at here.
  const user = hasAssertion(request.fields)
    ? await presentedUser(request, certificateSha256(arrival.connection), member, gateway)
    : undefined;
  dossier.user(user);
  if (user !== undefined) visit.user(user.assertion.userKey);
  const endpoint = presentedDevice(request.fields, arrival.connection, member, gateway);
  if (endpoint !== undefined) visit.device(endpoint.machine.issuer, endpoint.machine.device);
  dossier.devices(endpoint, undefined);
  const target = registry.subsystem(subsystemOf(route.service))?.gateway.target;
  if (target === undefined) throw new Denied('registry.unknown_member', route.service);
  dossier.learn({ peer: target.name });
  if (registry.service(route.service) === undefined) throw new Denied('service.unknown', route.service);
  const asked = { method, route, client: claimed, length: request.length };
  const question: Question = {
    asOf: gateway.grants.changes,
    agreements: () => gateway.registry().agreementsFor(client.subsystem, route.service),
    input: (agreement, moment) =>
      PolicyInput.forConsumer({
        ...moment,
        exchange: dossier.id,
        client,
        user: user?.assertion,
        request: asked,
        agreement,
        threat: gateway.threat(),
      }),
  };
  const signals = visit.facts();
  const host = hostOf(target, question.agreements, gateway);
  const node = host instanceof Promise ? await host : host;
  dossier.devices(endpoint, node);
  const moment = { now, endpoint: endpoint?.machine, node, signals };
  const grant = decide(gateway, dossier, question, moment, {
    member,
    nonce: () => gateway.users.nonces.current,
  });
  const duties = new Duties(method, grant.obligations);
  duties.request.require(request.length);
  if (gateway.replicas !== undefined) await takeEverywhere(gateway, { role: 'c', user });
  const fields = withDevice(carriedFields(request.fields, user), endpoint);
  return {
    request: fields === request.fields ? request : { ...request, fields },
    target,
    lease: { user, endpoint, node, demand: demandOf(grant, question), at: target.name, question },
    grant,
    duties,
    policyField: policyField(grant),
    clientField: fieldValue(request.fields, 'x-road-client') ?? claimed,
  };
}

/**
 * Provider's gateway. The peer is who the live TLS connection proved, looked up again for every exchange; the message
 * is signed by that peer; the client belongs to that peer; then our own policy decides.
 * @throws Denied, Unavailable
 */
export async function admitProvider(
  head: RequestHead,
  session: LinkSession,
  gateway: Gateway,
  dossier: Dossier,
): Promise<Demand> {
  requireReady(gateway);
  const registry = gateway.registry();
  dossier.target = { path: head.path, query: head.query };
  dossier.learn({ op: head.method });
  dossier.session(session.tls);
  const peer = peerOf(session, gateway);
  dossier.learn({ peer: peer.name });
  const node = gateway.devices.nodes.of(session);
  dossier.devices(undefined, node);
  const signed = SignedHead.request(head, peer.name, gateway.verifier);
  gateway.replay.claim(peer.name, signed.exchange.id);
  const route = parseRoute(head.path);
  const client = parseSubsystemId(fieldValue(signed.fields, 'x-road-client') ?? '');
  const xid = fieldValue(signed.fields, 'x-road-id');
  if (client === undefined || xid === undefined)
    throw new Denied('header.missing', 'x-road-client or x-road-id');
  dossier.learn({ xid, client, svc: route.service });
  // A gateway speaks for the subsystems the registry gives it, and for no others.
  if (registry.subsystem(client)?.gateway.name !== peer.name)
    throw new Denied('message.inconsistent', `${client} is not served by ${peer.name}`);
  const now = gateway.clock.now();
  const visit = gateway.callers.visit(withoutPort(session.remote), now);
  dossier.visit = visit;
  visit.client(`${peer.name} ${client}`);
  const user = relayedUser(signed, head, peer, gateway);
  dossier.user(user);
  if (user !== undefined) visit.user(user.assertion.userKey);
  const endpoint = relayedDevice(signed, peer, gateway);
  dossier.devices(endpoint, node);
  if (endpoint !== undefined) visit.device(endpoint.machine.issuer, endpoint.machine.device);
  const service = gateway.services.get(route.service);
  if (service === undefined) throw new Denied('service.unknown', route.service);
  const question: Question = {
    asOf: gateway.grants.changes,
    agreements: () => gateway.registry().agreementsFor(client, route.service),
    input: (agreement, moment) =>
      PolicyInput.forProvider({
        ...moment,
        peer,
        signed,
        route,
        client,
        user: user?.assertion,
        endpoint: endpoint?.machine,
        renewed: moment.endpoint,
        agreement,
        threat: gateway.threat(),
      }),
  };
  const moment = { now, endpoint: endpoint?.machine, node, signals: visit.facts() };
  const grant = decide(gateway, dossier, question, moment, { member: peer.member });
  const duties = new Duties(head.method, grant.obligations);
  duties.request.require(signed.exchange.length);
  if (gateway.replicas !== undefined) {
    const message = { from: peer.name, id: signed.exchange.id };
    await takeEverywhere(gateway, { role: 'p', user, message });
  }
  return {
    peer,
    signed,
    method: head.method,
    route,
    query: head.query,
    service,
    lease: { user, endpoint, node, demand: demandOf(grant, question), at: undefined, question },
    grant,
    duties,
    agreementId: grant.agreementId,
  };
}

/** What the agreement that the grant rests on demands of machines. */
const demandOf = (grant: Grant, { agreements }: Question): Lease['demand'] =>
  agreements().find(({ id }) => id === grant.agreementId)?.device ?? 'none';

/** Nothing is admitted that could not be finished and recorded. */
function requireReady(gateway: Gateway): void {
  const reason = gateway.notReady();
  if (reason !== undefined) throw new Unavailable(reason, 'not ready');
}

/** `T-Road-Policy`: what our decision rested on, for the peer's log. Digests only; the peer decides for itself. */
function policyField({ bundleDigest, inputDigest }: Grant): Field {
  if (latest.digest !== bundleDigest)
    latest = { digest: bundleDigest, text: `bundle=:${toBase64(bundleDigest)}:` };
  return ['t-road-policy', `${latest.text}, input=:${base64(inputDigest)}:, allow`];
}

/** The bundle named last: hundreds of thousands of exchanges rest on the same. */
let latest = { digest: '', text: '' };
