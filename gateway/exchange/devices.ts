import { base64url, sha256 } from '../core/bytes.ts';
import { Denied } from '../core/errors.ts';
import { fieldValue, type Field, type Fields } from '../core/fields.ts';
import type { MemberId } from '../core/ids.ts';
import { REFUSALS } from '../core/refusals.ts';
import { type DeviceConnection, EndpointDevice } from '../device/attested-device.ts';
import type { PeerGateway } from '../identity/peer.ts';
import { DEVICE, formatRelayedDevice, parseShownDevice } from '../message/device-field.ts';
import type { SignedHead } from '../message/signed-head.ts';
import { readCertificate } from '../x509/certificate.ts';
import type { ClientConnection } from './arrival.ts';
import { relayedNews, spread } from './device-news.ts';
import type { Gateway } from './gateway.ts';
import { isCurrent } from './running-devices.ts';

/** What is asked of the gateway here. */
type Context = Pick<Gateway, 'devices' | 'name' | 'clock' | 'registry' | 'link'>;

/** A machine that was proved, and how that travels on. */
export interface PresentedDevice {
  readonly machine: EndpointDevice;
  /** `T-Road-Device` for the peer; kept sealed as evidence. */
  readonly field: string;
}

/** What one connection has shown: the cryptography is done once for each result on it. */
interface Shown {
  readonly facts: DeviceConnection;
  readonly key: Buffer;
  text: string;
  /** What {@link basisOf} gave: another one, another verification. */
  basis: string;
  presented: PresentedDevice | undefined;
  unwatch: () => void;
}

const connections = new WeakMap<ClientConnection, Shown>();

/**
 * Consumer's gateway: which machine the client system sits on, from what it sent. A result is good for the whole
 * connection, so later requests need not send it again. Undefined when none was sent; whether one is needed is for the
 * policy to say.
 * @throws Denied `device.*` with a challenge
 */
export function presentedDevice(
  fields: Fields,
  connection: ClientConnection,
  member: MemberId,
  gateway: Context,
): PresentedDevice | undefined {
  const text = fieldValue(fields, DEVICE);
  const shown = connections.get(connection);
  if (text === undefined && shown === undefined) return undefined; // as nearly all
  const now = gateway.clock.now();
  const basis = basisOf(member, gateway);
  try {
    if (text === undefined) {
      // Nothing was sent with this request: what is no longer good is nothing.
      if (shown === undefined || shown.basis !== basis) return undefined;
      const { presented } = shown;
      return presented !== undefined && isCurrent(presented.machine, now) ? presented : undefined;
    }
    if (shown?.presented !== undefined && shown.text === text && shown.basis === basis) {
      shown.presented.machine.requireCurrent(now);
      return shown.presented;
    }
    return show(text, shown ?? connect(connection), connection, member, gateway);
  } catch (thrown) {
    throw thrown instanceof Denied ? challenged(thrown, gateway.name) : thrown;
  }
}

/** Where keys of attestation services come from: the registry, and whose the client system is. One connection may be several members'. */
const basisOf = (member: MemberId, { registry }: Context): string => `${registry().sha256} ${member}`;

function connect(connection: ClientConnection): Shown {
  const { certificate, exporter } = connection;
  if (certificate === undefined)
    throw new Denied('device.result', 'shown on a connection without a client certificate');
  const spkiSha256 = readCertificate(certificate).spkiSha256;
  const shown: Shown = {
    facts: { certificateSha256: base64url(sha256(certificate)), spkiSha256, exporter },
    key: Buffer.from(spkiSha256, 'base64url'),
    text: '',
    basis: '',
    presented: undefined,
    unwatch: () => undefined,
  };
  connections.set(connection, shown);
  connection.onClosed(() => shown.unwatch());
  return shown;
}

function show(
  text: string,
  shown: Shown,
  connection: ClientConnection,
  member: MemberId,
  gateway: Context,
): PresentedDevice {
  const { devices, name, clock } = gateway;
  const presented = parseShownDevice(text);
  const { register } = devices;
  const checks = { keys: gateway.registry().attestorKeys('endpoint', member), register };
  const machine = EndpointDevice.verify(presented, shown.facts, name, checks, clock.now());
  const field = formatRelayedDevice({
    ...presented,
    exporter: connection.exporter,
    certificate: Buffer.from(shown.facts.certificateSha256, 'base64url'),
    key: shown.key,
  });
  shown.text = text;
  shown.basis = basisOf(member, gateway);
  shown.presented = { machine, field };
  shown.unwatch();
  // Exchanges first: each says in its record why it ends. Then the connection, idle or not.
  spread(machine, { field, audience: name, member }, gateway);
  shown.unwatch = register.watch(machine, (cause) => setImmediate(() => connection.end(cause)));
  return shown.presented;
}

/**
 * Provider's gateway: the same again, from what the peer relayed. The result must have been issued for that very peer,
 * by a service that speaks about devices of its member.
 * @throws Denied `device.*`, `message.inconsistent`
 */
export function relayedDevice(
  signed: Pick<SignedHead, 'fields'>,
  peer: PeerGateway,
  gateway: Context,
): PresentedDevice | undefined {
  const field = fieldValue(signed.fields, DEVICE);
  if (field === undefined) return undefined;
  return { machine: relayedNews(field, peer, gateway), field };
}

/** The client's fields as they travel: the result with what we saw of the connection, or nothing of it. */
export function withDevice(fields: Fields, device: PresentedDevice | undefined): Fields {
  if (device === undefined) return fields;
  return [...fields.filter(([name]) => name !== DEVICE), [DEVICE, device.field]];
}

/** A 401 says what would help (RFC 9110 §15.5.2): a result for this gateway. */
export function challenged(thrown: Denied, gateway: string): Denied {
  if (REFUSALS[thrown.code].status !== 401) return thrown;
  const field: Field = ['www-authenticate', `T-Road-Device audience="${gateway}"`];
  const detail = thrown.message.slice(thrown.code.length + 2);
  return new Denied(thrown.code, detail, { cause: thrown, answerFields: [field] });
}
