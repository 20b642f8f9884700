import { createPublicKey, type KeyObject } from 'node:crypto';
import { base64, base64url, fromBase64, sha256 } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { DerReader, TAG } from '../x509/der.ts';
import { type KeyFacts, readKeyFacts } from '../x509/key.ts';
import type { MessageAlgorithm, MessageKeyRow } from './document.ts';

const spkiOf = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

/** SHA-256 of SubjectPublicKeyInfo, base64url: how the registry names a key. */
export const spkiSha256 = (publicKey: KeyObject): string => base64url(sha256(spkiOf(publicKey)));

/** Id of a message key: the key's own hash is in it, so an id cannot be moved to another key. */
export const messageKeyId = (gateway: string, publicKey: KeyObject): string =>
  `${gateway}#${spkiSha256(publicKey)}`;

/** The registry's row for a message key. @throws TypeError for a kind of key that does not sign messages */
export function messageKeyRow(
  gateway: string,
  publicKey: KeyObject,
  validity: Pick<MessageKeyRow, 'notBefore' | 'notAfter'>,
): MessageKeyRow {
  const kid = messageKeyId(gateway, publicKey);
  const spki = base64(spkiOf(publicKey));
  return { kid, alg: messageAlgorithm(publicKey), spki, ...validity, status: 'active' };
}

/** What a message key signs with. @throws TypeError for a kind of key that does not sign messages */
export function messageAlgorithm(publicKey: KeyObject): MessageAlgorithm {
  const alg = algorithmOf(readSpki(spkiOf(publicKey)));
  if (alg === undefined) throw new TypeError('a message key is P-256, Ed25519 or RSA');
  return alg;
}

/**
 * The public key of a row, checked: its type is that of the algorithm, its size above the floor, its parameters named.
 * @throws MalformedBytes
 */
export function readMessageKey(row: MessageKeyRow): { publicKey: KeyObject; spkiSha256: string } {
  const der = fromBase64(row.spki);
  if (der === undefined) throw new MalformedBytes('spki: not base64');
  if (algorithmOf(readSpki(der)) !== row.alg) throw new MalformedBytes(`spki: not a key for ${row.alg}`);
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch (cause) {
    throw new MalformedBytes('spki: not a public key', { cause }); // for example a point that is not on the curve
  }
  return { publicKey, spkiSha256: base64url(sha256(der)) };
}

function readSpki(der: Uint8Array): KeyFacts {
  const reader = new DerReader(der, 'spki');
  const value = reader.take(TAG.sequence);
  reader.finish();
  return readKeyFacts(value);
}

function algorithmOf(facts: KeyFacts): MessageAlgorithm | undefined {
  switch (facts.type) {
    case 'ed25519':
      return 'ed25519';
    case 'ec':
      return facts.curve === 'P-256' ? 'ecdsa-p256-sha256' : undefined;
    case 'rsa':
      return 'rsa-pss-sha512';
  }
}
