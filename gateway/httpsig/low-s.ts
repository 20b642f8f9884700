/**
 * Order n of an ECDSA base point (NIST SP 800-186 §3.2.1). With (r, s) also (r, n − s) verifies, so anybody can turn
 * one signature into another; we make and accept only the one with s ≤ n / 2.
 */
export class CurveOrder {
  /** Bytes of each of r and s. */
  readonly bytes: number;
  readonly #order: bigint;
  readonly #half: Buffer;

  constructor(hex: string) {
    this.bytes = hex.length / 2;
    this.#order = BigInt(`0x${hex}`);
    this.#half = toBytes(this.#order / 2n, this.bytes);
  }

  /** @param signature r and s in IEEE P1363 form */
  isLow(signature: Buffer): boolean {
    return signature.compare(this.#half, 0, this.bytes, this.bytes) <= 0;
  }

  /** The twin with the low s. */
  lower(signature: Buffer): Buffer {
    if (this.isLow(signature)) return signature;
    const s = BigInt(`0x${signature.toString('hex', this.bytes)}`);
    return Buffer.concat([signature.subarray(0, this.bytes), toBytes(this.#order - s, this.bytes)]);
  }
}

const toBytes = (value: bigint, length: number): Buffer =>
  Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex');

export const P256 = new CurveOrder('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
export const P384 = new CurveOrder(
  'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
);
