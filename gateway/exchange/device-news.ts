// A device renews its result while its exchanges run. The news reaches whoever lives by it: the other workers of this
// gateway, and the gateways of the providers that something runs at.
import { setTimeout as pause } from 'node:timers/promises';
import { base64url } from '../core/bytes.ts';
import { Denied, describe, MalformedBytes, Unavailable } from '../core/errors.ts';
import type { RequestHead } from '../core/head.ts';
import { EndpointDevice } from '../device/attested-device.ts';
import { PeerGateway } from '../identity/peer.ts';
import type { LinkArrival } from '../link/link.ts';
import { DEVICE, parseRelayedDevice } from '../message/device-field.ts';
import { answerOf } from './deadline.ts';
import type { DeviceNews } from './device-checks.ts';
import { PATIENCE_MS, readNote } from './note.ts';
import type { Gateway } from './gateway.ts';
import { isCurrent } from './running-devices.ts';

/** Where a consumer's gateway shows newer results of devices whose exchanges run at the provider. Nothing of an agency is carried. */
export const DEVICE_PATH = '/.troad/device';

const AGAIN_MS = 1_000;

type Verification = Pick<Gateway, 'devices' | 'clock' | 'registry'>;
type Context = Verification & Pick<Gateway, 'link'>;

/** All of the cryptography. @throws Denied `device.*`, `message.inconsistent` */
export function verifyNews({ field, audience, member }: DeviceNews, gateway: Verification): EndpointDevice {
  const { certificate, key, exporter, ...shown } = parseRelayedDevice(field);
  const facts = { certificateSha256: base64url(certificate), spkiSha256: base64url(key), exporter };
  const { register } = gateway.devices;
  const checks = { keys: gateway.registry().attestorKeys('endpoint', member), register };
  return EndpointDevice.verify(shown, facts, audience, checks, gateway.clock.now());
}

/** A result was verified here: what runs goes on with it or ends, and whoever else lives by it hears. */
export function spread(machine: EndpointDevice, news: DeviceNews, gateway: Context): void {
  if (machine.isNews) gateway.devices.share(news);
  carryOn(machine, news, gateway);
}

/** Another worker has seen a result. A refusal is what would come of it here, too: nothing is done then. */
export function hearNews(news: DeviceNews, gateway: Context): void {
  try {
    carryOn(verifyNews(news, gateway), news, gateway);
  } catch (thrown) {
    if (!(thrown instanceof Denied)) throw thrown;
  }
}

function carryOn(machine: EndpointDevice, { field }: DeviceNews, gateway: Context): void {
  for (const peer of gateway.devices.running.renewed(machine)) void tell(peer, machine, field, gateway);
}

/** Until the peer has it, or it is of no use any more: without it the peer ends what runs when the old result expires. */
async function tell(peer: string, machine: EndpointDevice, field: string, gateway: Context): Promise<void> {
  const { clock, devices } = gateway;
  while (isCurrent(machine, clock.now()) && devices.running.runsAt(peer, machine)) {
    try {
      await show(peer, field, gateway);
      return;
    } catch (thrown) {
      devices.problem(`renewal at ${peer}: ${describe(thrown)}`);
      if (thrown instanceof MalformedBytes) return; // it was understood, and refused
    }
    await pause(AGAIN_MS, undefined, { ref: false });
  }
}

/** @throws Unavailable, MalformedBytes */
async function show(peer: string, field: string, { registry, link }: Context): Promise<void> {
  const target = registry().gateway(peer)?.target;
  if (target === undefined) throw new MalformedBytes('not in the registry any more');
  const head: RequestHead = {
    method: 'POST',
    authority: peer,
    path: DEVICE_PATH,
    query: '',
    fields: [['content-type', 'text/plain']],
  };
  const call = await link.call(target, head, { kind: 'whole', bytes: Buffer.from(field, 'latin1') });
  const late = (): Unavailable => new Unavailable('link.timeout', 'renewal');
  const answer = await answerOf(call, PATIENCE_MS, late);
  const text = await readNote(answer.inflow, 'renewal');
  const { status } = answer.head;
  if (status >= 500) throw new Unavailable('link.broken', `answered ${status}`);
  if (status !== 200) throw new MalformedBytes(`answered ${status} ${text}`);
}

/**
 * Provider's gateway: a peer shows a newer result. It counts as one in a message does: issued for that very peer, by a
 * service that speaks about devices of its member.
 */
export async function takeNews(
  arrival: LinkArrival,
  directory: Parameters<typeof PeerGateway.identify>[2],
  gateway: Context,
): Promise<void> {
  const peer = PeerGateway.identify(
    arrival.session.peerCertificate,
    'client',
    directory,
    gateway.clock.now(),
  );
  const answer = (status: number, text: string): void => {
    const fields = [['content-type', 'text/plain']] as const;
    arrival.answer({ status, fields }, { kind: 'whole', bytes: Buffer.from(text, 'latin1') });
  };
  try {
    relayedNews(await readNote(arrival.inflow, 'renewal'), peer, gateway);
    answer(200, '');
  } catch (thrown) {
    if (!(thrown instanceof Denied || thrown instanceof MalformedBytes)) throw thrown;
    answer(thrown instanceof Denied ? 403 : 400, thrown instanceof Denied ? thrown.code : DEVICE);
  }
}

/** What a peer relays, in a message or for those that run: verified once. @throws Denied as {@link verifyNews} */
export function relayedNews(field: string, peer: PeerGateway, gateway: Context): EndpointDevice {
  const { devices, clock } = gateway;
  // Keys of attestation services come from the registry: another registry, another verification.
  const basis = { registry: gateway.registry().sha256, peer: peer.name };
  const known = devices.relayed.find(field, basis);
  if (known !== undefined) {
    known.requireCurrent(clock.now());
    return known;
  }
  const news: DeviceNews = { field, audience: peer.name, member: peer.member };
  const machine = verifyNews(news, gateway);
  devices.relayed.keep(field, basis, machine);
  spread(machine, news, gateway);
  return machine;
}
