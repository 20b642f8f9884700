import type { KeyObject } from 'node:crypto';
import { base64 } from '../core/bytes.ts';
import { verifyBase, type AlgorithmName } from '../httpsig/algorithm.ts';
import { BATCH_ALG, parseBatchSignature, rootOf, rootText } from './batch.ts';

/** What a message's signature is checked with. */
export interface MessageKey {
  readonly algorithm: AlgorithmName;
  readonly publicKey: KeyObject;
}

/** Roots remembered: enough for the batches of many peers on their way at once, 300 KB at most. */
const MAX_ROOTS = 1024;

/**
 * Batches whose root signature was verified, so that the messages behind the first cost hashes only. Only good ones are
 * kept, each with the very key object that it was verified with: under a key id the registry can list another key, and
 * whether the key may be used now is asked for every message.
 */
export class VerifiedBatches {
  readonly #keys = new Map<string, KeyObject>();
  readonly #maxRoots: number;
  readonly #verify: typeof verifyBase;

  /** @param verify what one root signature costs; tests count it */
  constructor(maxRoots = MAX_ROOTS, verify = verifyBase) {
    this.#maxRoots = maxRoots;
    this.#verify = verify;
  }

  /** @throws MalformedBytes when the key is not for this algorithm */
  isSigned(text: string, { algorithm, publicKey }: MessageKey, signature: Uint8Array): boolean {
    const name = text + base64(signature);
    if (this.#keys.get(name) === publicKey) return true;
    if (!this.#verify(algorithm, publicKey, text, signature)) return false;
    if (this.#keys.size >= this.#maxRoots) {
      for (const oldest of this.#keys.keys()) {
        this.#keys.delete(oldest);
        break;
      }
    }
    this.#keys.set(name, publicKey);
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
  const batch = parseBatchSignature(signature);
  return batches.isSigned(rootText(batch.size, rootOf(base, batch)), key, batch.rootSignature);
}
