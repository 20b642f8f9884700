import { createHmac } from 'node:crypto';
import { base64url, equalBytes } from '../core/bytes.ts';
import type { Clock } from '../core/clock.ts';

/** A nonce is given out for this long, and accepted as long again. Milliseconds. */
const PERIOD_MS = 120_000;

/**
 * Server-provided nonces for DPoP (RFC 9449 §8). Nothing is stored: a nonce is a keyed hash of the two minutes it was
 * given out in, so nobody can tell the next one, and every worker that has the secret knows it.
 */
export class DpopNonces {
  readonly #secret: Buffer;
  readonly #clock: Clock;
  readonly #made = new Map<number, string>();

  /** @param secret 32 random bytes, new at every start: clients then make one more round trip */
  constructor(secret: Buffer, clock: Clock) {
    this.#secret = secret;
    this.#clock = clock;
  }

  /** To be sent in `DPoP-Nonce`. */
  get current(): string {
    return this.#of(this.#period());
  }

  readonly isOurs = (nonce: string): boolean => {
    const given = Buffer.from(nonce);
    const period = this.#period();
    return [period, period - 1].some((p) => equalBytes(Buffer.from(this.#of(p)), given));
  };

  #period(): number {
    return Math.floor(this.#clock.now() / PERIOD_MS);
  }

  #of(period: number): string {
    const known = this.#made.get(period);
    if (known !== undefined) return known;
    const nonce = base64url(
      createHmac('sha256', this.#secret).update(`dpop-nonce ${period}`).digest().subarray(0, 16),
    );
    if (this.#made.size > 3) this.#made.clear();
    this.#made.set(period, nonce);
    return nonce;
  }
}
