// Which TLS connection a device speaks on, said by its TPM: a signature over the connection's RFC 9266 exporter.
import { createPublicKey, verify } from 'node:crypto';
import { base64url, fromBase64url, sha256, utf8 } from '../core/bytes.ts';
import type { BindingKey } from './ear.ts';

/** Exporter label of RFC 9266 §2, always with an empty context, over TLS 1.3. */
export const EXPORTER_LABEL = 'EXPORTER-Channel-Binding';
export const EXPORTER_BYTES = 32;

const PURPOSE = 'troad-device-binding-v1';

/**
 * What the binding key signs, once per connection. The exporter is fresh by itself: both ends' randomness is in it, and
 * no other connection has the same. The certificate keeps a signature from serving under another name.
 * @param certificate SHA-256 of the certificate that the device shows on this connection, base64url
 */
export function bindingMessage(exporter: Uint8Array, certificate: string): Buffer {
  return Buffer.concat([utf8(`${PURPOSE}\0${certificate}\0`), exporter]);
}

/** @param signature r ‖ s, base64url */
export function isBound(key: BindingKey, message: Uint8Array, signature: string): boolean {
  const bytes = fromBase64url(signature);
  if (bytes?.length !== 64) return false;
  return verify('sha256', message, { key: publicKeyOf(key), dsaEncoding: 'ieee-p1363' }, bytes);
}

/** @throws the error of OpenSSL when the point is not on the curve */
export const publicKeyOf = ({ x, y }: BindingKey) =>
  createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });

/** SHA-256 of the SubjectPublicKeyInfo, base64url: to see whether the TLS key itself is the one in the TPM. */
export const spkiSha256 = (key: BindingKey): string =>
  base64url(sha256(publicKeyOf(key).export({ type: 'spki', format: 'der' })));
