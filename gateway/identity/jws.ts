import { fromBase64url } from '../core/bytes.ts';
import { MalformedBytes } from '../core/errors.ts';
import { rowOf } from './algorithm.ts';
import { parseObject, type JsonObject } from './json.ts';
import type { TokenKey } from './jwk.ts';

/** A JWS in compact serialization (RFC 7515 §7.1), read but not verified: nothing in it is true yet. */
export interface CompactJws {
  /** First part as received: the same text is the same header. */
  readonly encodedHeader: string;
  readonly header: JsonObject;
  readonly payload: Buffer;
  readonly signature: Buffer;
  /** What was signed: header and payload as received. */
  readonly signingInput: Buffer;
}

/**
 * @param text of bounded length: the caller looks first
 * @throws MalformedBytes other than three parts in the one spelling of base64url, or a header that is not an object
 */
export function parseCompact(text: string): CompactJws {
  const [encodedHeader, payload, signature, ...more] = text.split('.');
  if (encodedHeader === undefined || payload === undefined || signature === undefined || more.length > 0)
    throw new MalformedBytes('not three parts');
  return {
    encodedHeader,
    header: parseObject(decoded(encodedHeader)),
    payload: decoded(payload),
    signature: decoded(signature),
    signingInput: Buffer.from(text.slice(0, text.length - signature.length - 1), 'latin1'),
  };
}

function decoded(text: string): Buffer {
  const bytes = fromBase64url(text);
  if (bytes === undefined) throw new MalformedBytes('not base64url');
  return bytes;
}

/** True when the signature is the key's, by the one algorithm the key is for. The header was compared with that before. */
export function isSignedBy({ publicKey, algorithm }: TokenKey, jws: CompactJws): boolean {
  return rowOf(algorithm).verify(jws.signingInput, publicKey, jws.signature);
}

/** True when the header has these members and no others. */
export const hasOnly = (header: JsonObject, names: ReadonlySet<string>): boolean =>
  Object.keys(header).every((name) => names.has(name));
