import { base64 } from '../core/bytes.ts';
import type { KeyObject } from 'node:crypto';
import { signBase, type AlgorithmName } from '../httpsig/algorithm.ts';
import { BATCH_ALG, BatchTree, MAX_BATCH } from './batch.ts';

/** A private message key and the name the registry knows it by. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: AlgorithmName;
  readonly privateKey: KeyObject;
}

/** A text and its signature, base64. */
export interface SignedText {
  readonly base: string;
  readonly value: string;
}

interface Waiting {
  /** Makes the text, which says in which form it is signed. */
  readonly compose: (alg: string | undefined) => string;
  readonly resolve: (signed: SignedText) => void;
  readonly reject: (cause: unknown) => void;
}

/**
 * How long a message may wait for company. `soon`: until the program has looked at everything that has arrived.
 * `record`: until the log is ready for the record of it, for which it would have to wait all the same.
 */
export type Pace = 'soon' | 'record';

/** Calls back when that is. */
export type Paces = Readonly<Record<Pace, (close: () => void) => void>>;

/**
 * Signs what waits for a key with one signature. A message alone gets a plain one. The batch is what came up while the
 * program was busy with other things, the last signature and the last write to the log among them: it grows with the load
 * by itself, and no message waits for another that is not there yet.
 */
export class SigningQueue {
  readonly key: SigningKey;
  readonly #paces: Paces;
  readonly #signed: (messages: number) => void;
  #waiting: Waiting[] = [];
  readonly #asked = new Set<Pace>();

  /** @param signed told of every signature, and how many messages it serves */
  constructor(key: SigningKey, paces: Paces, signed: (messages: number) => void = () => undefined) {
    this.key = key;
    this.#paces = paces;
    this.#signed = signed;
  }

  /** @param compose called once or twice, later; what it throws is thrown to the caller */
  sign(compose: Waiting['compose'], pace: Pace): Promise<SignedText> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ compose, resolve, reject });
      if (this.#asked.has(pace)) return;
      this.#asked.add(pace);
      this.#paces[pace](() => {
        this.#asked.delete(pace);
        this.#close();
      });
    });
  }

  #close(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (let at = 0; at < waiting.length; at += MAX_BATCH) {
      const batch = waiting.slice(at, at + MAX_BATCH);
      try {
        if (batch.length === 1) this.#signAlone(batch);
        else this.#signTogether(batch);
      } catch (cause) {
        for (const { reject } of batch) reject(cause); // the key does not work
      }
    }
  }

  #signTogether(batch: readonly Waiting[]): void {
    const good: Waiting[] = [];
    const bases: string[] = [];
    for (const one of batch) {
      const base = composedBy(one, BATCH_ALG);
      if (base === undefined) continue;
      good.push(one);
      bases.push(base);
    }
    if (good.length < 2) {
      this.#signAlone(good);
      return;
    }
    const tree = new BatchTree(bases);
    const { algorithm, privateKey } = this.key;
    const rootSignature = signBase(algorithm, privateKey, tree.text);
    this.#signed(tree.size);
    for (const [index, { resolve }] of good.entries()) {
      const value = base64(tree.signatureOf(index, rootSignature));
      resolve({ base: bases[index] as string, value }); // one for each
    }
  }

  #signAlone(batch: readonly Waiting[]): void {
    for (const one of batch) {
      const base = composedBy(one, undefined);
      if (base === undefined) continue;
      const { algorithm, privateKey } = this.key;
      const value = base64(signBase(algorithm, privateKey, base));
      this.#signed(1);
      one.resolve({ base, value });
    }
  }
}

/** One message that cannot be signed is its own trouble, not the batch's. */
function composedBy({ compose, reject }: Waiting, alg: string | undefined): string | undefined {
  try {
    return compose(alg);
  } catch (cause) {
    reject(cause);
    return undefined;
  }
}
