import { base64 } from '../core/bytes.ts';
import type { KeyObject } from 'node:crypto';
import { inOnePiece } from '../core/plain-text.ts';
import { signBase, type AlgorithmName } from '../httpsig/algorithm.ts';
import { formatParams } from '../httpsig/signature-input.ts';
import { BATCH_ALG, BatchTree, MAX_BATCH } from './batch.ts';
import { TAG, type Label } from './profile.ts';

/** A private message key and the name the registry knows it by. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: AlgorithmName;
  readonly privateKey: KeyObject;
}

/** How a message is signed. */
export type Form = 'alone' | 'batch';

/** A message that waits for its signature. */
export interface Unsigned {
  /** Makes the text, which says in which form it is signed. Asked once or twice, later; what it throws goes to `failed`. */
  compose(form: Form): string;
  /** @param value signature of the text that was made last, base64 */
  signed(value: string): void;
  failed(cause: unknown): void;
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
  /** What the parameters of this key's signatures end with. */
  readonly endings: Readonly<Record<Label, Readonly<Record<Form, string>>>>;
  readonly #paces: Paces;
  readonly #signed: (messages: number) => void;
  #waiting: Unsigned[] = [];
  readonly #asked: Record<Pace, boolean> = { soon: false, record: false };

  /** @param signed told of every signature, and how many messages it serves */
  constructor(key: SigningKey, paces: Paces, signed: (messages: number) => void = () => undefined) {
    this.key = key;
    this.endings = { open: endingsOf(key.kid, TAG.open), final: endingsOf(key.kid, TAG.final) };
    this.#paces = paces;
    this.#signed = signed;
  }

  add(message: Unsigned, pace: Pace): void {
    this.#waiting.push(message);
    if (this.#asked[pace]) return;
    this.#asked[pace] = true;
    this.#paces[pace](() => {
      this.#asked[pace] = false;
      this.#close();
    });
  }

  #close(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (let at = 0; at < waiting.length; at += MAX_BATCH) {
      const batch = waiting.length <= MAX_BATCH ? waiting : waiting.slice(at, at + MAX_BATCH);
      try {
        if (batch.length === 1) this.#signAlone(batch);
        else this.#signTogether(batch);
      } catch (cause) {
        for (const message of batch) message.failed(cause); // the key does not work
      }
    }
  }

  #signTogether(batch: readonly Unsigned[]): void {
    const good: Unsigned[] = [];
    const bases: string[] = [];
    for (const message of batch) {
      const base = composedBy(message, 'batch');
      if (base === undefined) continue;
      good.push(message);
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
    for (const [index, message] of good.entries())
      message.signed(base64(tree.signatureOf(index, rootSignature)));
  }

  #signAlone(batch: readonly Unsigned[]): void {
    for (const message of batch) {
      const base = composedBy(message, 'alone');
      if (base === undefined) continue;
      const { algorithm, privateKey } = this.key;
      const value = base64(signBase(algorithm, privateKey, base));
      this.#signed(1);
      message.signed(value);
    }
  }
}

/** One message that cannot be signed is its own trouble, not the batch's. */
function composedBy(message: Unsigned, form: Form): string | undefined {
  try {
    return message.compose(form);
  } catch (cause) {
    message.failed(cause);
    return undefined;
  }
}

const endingsOf = (keyid: string, tag: string): Readonly<Record<Form, string>> => ({
  alone: inOnePiece(formatParams({ keyid, tag })),
  batch: inOnePiece(formatParams({ alg: BATCH_ALG, keyid, tag })),
});
