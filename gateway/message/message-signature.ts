import type { KeyObject } from 'node:crypto';
import { verifyBase, type AlgorithmName } from '../httpsig/algorithm.ts';
import { hashBytes, leafTextOf, type HashText } from '../tlog/hash.ts';
import { BATCH_ALG, BatchSignature, rootText } from './batch.ts';

/** What a message's signature is checked with. */
export interface MessageKey {
  readonly algorithm: AlgorithmName;
  readonly publicKey: KeyObject;
}

/** Roots remembered: enough for the batches of many peers on their way at once, 300 KB at most. */
const MAX_ROOTS = 1024;

/** How a root was found to be signed. */
interface SignedRoot {
  readonly size: number;
  readonly publicKey: KeyObject;
  /** In latin1. A text, because the bytes lie in a pool that they would keep. */
  readonly signature: string;
}

/**
 * Batches whose root signature was verified, so that the messages behind the first cost hashes only. Only good ones are
 * kept, each with the very key object that it was verified with: under a key id the registry can list another key, and
 * whether the key may be used now is asked for every message.
 */
export class VerifiedBatches {
  readonly #roots = new Map<HashText, SignedRoot>();
  readonly #maxRoots: number;
  readonly #verify: typeof verifyBase;
  /** Of the message that came last: the next is mostly its neighbour. */
  #latest: { readonly batch: BatchSignature; readonly publicKey: KeyObject } | undefined;

  /** @param verify what one root signature costs; tests count it */
  constructor(maxRoots = MAX_ROOTS, verify = verifyBase) {
    this.#maxRoots = maxRoots;
    this.#verify = verify;
  }

  /**
   * True when the message is in a batch that the key signed.
   * @throws MalformedBytes when the key is not for this algorithm
   */
  has(base: string, batch: BatchSignature, { algorithm, publicKey }: MessageKey): boolean {
    const leaf = leafTextOf(base);
    if (this.#latest?.publicKey === publicKey && batch.joins(this.#latest.batch, leaf)) {
      this.#latest = { batch, publicKey };
      return true;
    }
    const root = batch.rootOf(leaf);
    const { size, rootSignature } = batch;
    const signature = rootSignature.toString('latin1');
    const known = this.#roots.get(root);
    if (known?.publicKey !== publicKey || known.size !== size || known.signature !== signature) {
      if (!this.#verify(algorithm, publicKey, rootText(size, hashBytes(root)), rootSignature)) return false;
      if (this.#roots.size >= this.#maxRoots && known === undefined) {
        for (const oldest of this.#roots.keys()) {
          this.#roots.delete(oldest);
          break;
        }
      }
      this.#roots.set(root, { size, publicKey, signature });
    }
    this.#latest = { batch, publicKey };
    return true;
  }
}

/**
 * True when the signature is the key's over the base, alone or in a batch.
 * @param alg as the signed text states it: the form of the signature
 * @throws MalformedBytes for a batch signature that is none
 */
export function isMessageSigned(
  base: string,
  alg: string | undefined,
  key: MessageKey,
  signature: Uint8Array,
  batches: VerifiedBatches,
): boolean {
  if (alg === undefined) return verifyBase(key.algorithm, key.publicKey, base, signature);
  if (alg !== BATCH_ALG) return false;
  return batches.has(base, new BatchSignature(signature), key);
}
