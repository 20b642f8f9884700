import { Denied } from '../core/errors.ts';

/**
 * `T-Road-User`: the user's assertion as the consumer's gateway verified it, for the provider's gateway to verify again. A
 * structured dictionary (RFC 9651) in one spelling, covered by the signature like every carried field.
 */
export interface UserField {
  /** The signed assertion, out of its encryption. */
  readonly jws: string;
  /** SHA-256 of the JWE, when it was encrypted: what `ath` of the proof refers to. */
  readonly encrypted?: Buffer | undefined;
  /** The DPoP proof as the client sent it. */
  readonly proof?: string | undefined;
  /** SHA-256 of the client certificate that TLS proved to the consumer's gateway. */
  readonly certificate?: Buffer | undefined;
}

export const USER = 't-road-user';

const TOKEN = '[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+';
const HASH = '[A-Za-z0-9+/]{43}=';
const FIELD = new RegExp(
  `^assertion="(${TOKEN})"(?:, encrypted=:(${HASH}):)?(?:, proof="(${TOKEN})"|, certificate=:(${HASH}):)?$`,
);

export function formatUser({ jws, encrypted, proof, certificate }: UserField): string {
  let text = `assertion="${jws}"`;
  if (encrypted !== undefined) text += `, encrypted=:${encrypted.toString('base64')}:`;
  if (proof !== undefined) text += `, proof="${proof}"`;
  if (certificate !== undefined) text += `, certificate=:${certificate.toString('base64')}:`;
  return text;
}

/** Accepts exactly what {@link formatUser} writes. @throws Denied `message.inconsistent` */
export function parseUser(text: string): UserField {
  const [, jws, encrypted, proof, certificate] = FIELD.exec(text) ?? [];
  if (jws === undefined) throw new Denied('message.inconsistent', USER);
  return { jws, encrypted: hashOf(encrypted), proof, certificate: hashOf(certificate) };
}

function hashOf(text: string | undefined): Buffer | undefined {
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, 'base64');
  // The last character has bits that nothing uses: a second spelling.
  if (bytes.toString('base64') !== text) throw new Denied('message.inconsistent', USER);
  return bytes;
}
