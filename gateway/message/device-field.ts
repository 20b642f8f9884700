import { Denied } from '../core/errors.ts';

/**
 * `T-Road-Device`, in both of its forms: structured dictionaries (RFC 9651) in one spelling each.
 *
 * From a client system to its gateway: the attestation result and, where the TPM signed this connection, that signature.
 */
export interface ShownDevice {
  /** Attestation result, a compact JWS. */
  readonly token: string;
  /** Signature of the binding key over this TLS connection, base64url. */
  readonly binding: string | undefined;
}

/**
 * From the consumer's gateway to the provider's: the same, with what the consumer's gateway saw of the connection, for
 * the provider's gateway to verify again. Covered by the signature like every carried field.
 */
export interface RelayedDevice extends ShownDevice {
  /** SHA-256 of the client certificate that TLS proved, and of its SubjectPublicKeyInfo. */
  readonly certificate: Buffer;
  readonly key: Buffer;
  /** RFC 9266 value of the connection. Stands beside a binding and only there: nothing else is measured by it. */
  readonly exporter: Buffer | undefined;
}

export const DEVICE = 't-road-device';

const TOKEN = '[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+';
const BINDING = '[A-Za-z0-9_-]{86}';
const HASH = '[A-Za-z0-9+/]{43}=';
const SHOWN = new RegExp(`^result="(${TOKEN})"(?:, ?binding="(${BINDING})")?$`);
const RELAYED = new RegExp(
  `^result="(${TOKEN})"(?:, binding="(${BINDING})", exporter=:(${HASH}):)?, certificate=:(${HASH}):, key=:(${HASH}):$`,
);

/** What a client system sent. @throws Denied `device.result` */
export function parseShownDevice(text: string): ShownDevice {
  const [, token, binding] = SHOWN.exec(text) ?? [];
  if (token === undefined) throw new Denied('device.result', `${DEVICE} is not result="…", binding="…"`);
  return { token, binding };
}

export function formatRelayedDevice({ token, binding, exporter, certificate, key }: RelayedDevice): string {
  return [
    `result="${token}"`,
    ...(binding === undefined || exporter === undefined
      ? []
      : [`binding="${binding}"`, `exporter=:${exporter.toString('base64')}:`]),
    `certificate=:${certificate.toString('base64')}:`,
    `key=:${key.toString('base64')}:`,
  ].join(', ');
}

/** Accepts exactly what {@link formatRelayedDevice} writes. @throws Denied `message.inconsistent` */
export function parseRelayedDevice(text: string): RelayedDevice {
  const [, token, binding, exporter, certificate, key] = RELAYED.exec(text) ?? [];
  if (token === undefined || certificate === undefined || key === undefined)
    throw new Denied('message.inconsistent', DEVICE);
  const field: RelayedDevice = {
    token,
    binding,
    exporter: exporter === undefined ? undefined : Buffer.from(exporter, 'base64'),
    certificate: Buffer.from(certificate, 'base64'),
    key: Buffer.from(key, 'base64'),
  };
  // The last character of a hash has bits that nothing uses: a second spelling.
  if (formatRelayedDevice(field) !== text) throw new Denied('message.inconsistent', DEVICE);
  return field;
}
