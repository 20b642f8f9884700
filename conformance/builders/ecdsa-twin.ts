/** n of P-256 (NIST SP 800-186 §3.2.1.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/**
 * The other signature that plain ECDSA takes for the same text, n − s for s: anybody can make it, without the key. s is
 * what a signature ends with, alone and in a batch.
 */
export function twinOf(signature: Buffer): Buffer {
  const head = signature.subarray(0, -32);
  const s = BigInt(`0x${signature.toString('hex', head.length)}`);
  return Buffer.concat([head, Buffer.from((ORDER - s).toString(16).padStart(64, '0'), 'hex')]);
}
