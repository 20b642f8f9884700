import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
} from 'node:crypto';
import type { EpochMs } from '../../core/clock.ts';

export interface Proof {
  readonly method: string;
  /** As the request goes out; query and fragment are not part of a proof (RFC 9449 §4.2). */
  readonly url: string;
  /** What the server gave in `DPoP-Nonce`. */
  readonly nonce?: string | undefined;
  /** What stands in `T-Road-Assertion`; absent at the token endpoint, where there is none yet. */
  readonly assertion?: string | undefined;
}

/** A client's proof-of-possession key (RFC 9449): ES256, never leaves the client. */
export class DpopKey {
  readonly #privateKey: KeyObject;
  readonly #header: string;
  readonly #now: () => EpochMs;

  /** @param privateKey P-256 */
  constructor(privateKey: KeyObject, now: () => EpochMs) {
    const { kty, crv, x, y } = createPublicKey(privateKey).export({ format: 'jwk' });
    if (crv !== 'P-256') throw new Error('a DPoP key is an EC key on P-256');
    this.#privateKey = privateKey;
    this.#header = encode({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } });
    this.#now = now;
  }

  static create(now: () => EpochMs): DpopKey {
    return new DpopKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, now);
  }

  /** A fresh proof for one request. */
  proof({ method, url, nonce, assertion }: Proof): string {
    const { origin, pathname } = new URL(url);
    const claims = encode({
      jti: randomBytes(16).toString('base64url'),
      htm: method,
      htu: origin + pathname,
      iat: Math.floor(this.#now() / 1000),
      ...(nonce === undefined ? {} : { nonce }),
      ...(assertion === undefined ? {} : { ath: createHash('sha256').update(assertion).digest('base64url') }),
    });
    const input = `${this.#header}.${claims}`;
    const signature = sign('sha256', Buffer.from(input), {
      key: this.#privateKey,
      dsaEncoding: 'ieee-p1363',
    });
    return `${input}.${signature.toString('base64url')}`;
  }
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
