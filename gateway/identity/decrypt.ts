import { createPublicKey, type KeyObject } from 'node:crypto';
import { compactDecrypt } from 'jose';
import { fromBase64url } from '../core/bytes.ts';
import { Denied, MalformedBytes } from '../core/errors.ts';
import { issuerOf } from './claims.ts';
import { parseObject, type JsonObject } from './json.ts';
import { readPublicJwk, thumbprintOf } from './jwk.ts';
import { hasOnly } from './jws.ts';
import { MAX_JWS_LENGTH } from './token.ts';

/** Base64 of the longest JWS, the tag, and a header with an `epk`. */
export const MAX_JWE_LENGTH = Math.ceil((MAX_JWS_LENGTH * 4) / 3) + 1024;

const HEADER: ReadonlySet<string> = new Set([
  'alg',
  'enc',
  'kid',
  'epk',
  'cty',
  'typ',
  'iss',
  'aud',
  'apu',
  'apv',
]);
const KEY_MANAGEMENT = ['ECDH-ES', 'ECDH-ES+A256KW'];
const CONTENT_ENCRYPTION = ['A256GCM', 'A128GCM'];

/** A gateway's key that issuers encrypt assertions to (SP 800-63C FAL2). */
export interface DecryptionKey {
  /** RFC 7638 thumbprint of the public key: its `kid`. */
  readonly kid: string;
  readonly privateKey: KeyObject;
}

const WRONG_KEY =
  'is no private P-256 key: make one (openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)  不是 P-256 私鑰';

/** @throws MalformedBytes not a private P-256 key */
export function readDecryptionKey(privateKey: KeyObject): DecryptionKey {
  if (privateKey.type !== 'private' || privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new MalformedBytes(WRONG_KEY);
  const { jwk } = readPublicJwk('ES256', createPublicKey(privateKey).export({ format: 'jwk' }));
  return { kid: thumbprintOf(jwk), privateKey };
}

/**
 * Takes the signed assertion out of its encryption. Nothing of it is believed yet: anybody can encrypt to us.
 * @returns the inner JWS
 * @throws Denied `assertion.encryption`
 */
export async function decryptAssertion(jwe: string, keys: readonly DecryptionKey[]): Promise<string> {
  if (jwe.length > MAX_JWE_LENGTH) throw refused(`${jwe.length} characters`);
  const header = headerOf(jwe);
  if (keys.length === 0) throw refused('no key is configured');
  // Two while one takes the place of the other. `kid` only says which to try first: issuers name our key as they like.
  const first = keys.toSorted((a, b) => Number(b.kid === header['kid']) - Number(a.kid === header['kid']));
  for (const { privateKey } of first) {
    const plain = await decrypted(jwe, privateKey);
    if (plain === undefined) continue;
    const jws = Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString('latin1');
    requireReplicas(header, jws);
    return jws;
  }
  throw refused('does not decrypt');
}

async function decrypted(jwe: string, privateKey: KeyObject): Promise<Uint8Array | undefined> {
  try {
    const { plaintext } = await compactDecrypt(jwe, privateKey, {
      keyManagementAlgorithms: KEY_MANAGEMENT,
      contentEncryptionAlgorithms: CONTENT_ENCRYPTION,
    });
    return plaintext;
  } catch {
    return undefined; // one answer for every cause: which step failed is nobody's business (RFC 7516 §11.5)
  }
}

/** Neither `zip`, which lets a small token grow, nor `crit`, nor anything that names a key of the sender's. */
function headerOf(jwe: string): JsonObject {
  const [encoded = '', ...parts] = jwe.split('.');
  const bytes = fromBase64url(encoded);
  if (bytes === undefined || parts.length !== 4) throw refused('not a compact JWE');
  let header: JsonObject;
  try {
    header = parseObject(bytes);
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
    throw refused(cause.message, cause);
  }
  if (!hasOnly(header, HEADER)) throw refused('unknown header members');
  const { cty } = header;
  if (cty !== 'at+jwt' && cty !== 'JWT') throw refused('cty is neither at+jwt nor JWT'); // RFC 7519 §5.2: a nested token
  return header;
}

/** Claims that are repeated outside must be those inside (RFC 7519 §5.3). The signature of the inside comes later. */
function requireReplicas({ iss, aud }: JsonObject, jws: string): void {
  if (iss === undefined && aud === undefined) return;
  const [, payload = ''] = jws.split('.');
  let inside: JsonObject;
  try {
    inside = parseObject(fromBase64url(payload) ?? Buffer.alloc(0));
  } catch (cause) {
    if (!(cause instanceof MalformedBytes)) throw cause;
    throw refused('no JWT inside', cause);
  }
  if (iss !== undefined && iss !== issuerOf(inside)) throw refused('iss differs outside and inside');
  if (aud !== undefined && aud !== inside['aud']) throw refused('aud differs outside and inside');
}

const refused = (why: string, cause?: unknown): Denied => new Denied('assertion.encryption', why, { cause });
