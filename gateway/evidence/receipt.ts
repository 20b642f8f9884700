import { hashBytes, type HashText } from '../tlog/hash.ts';

let make: (origin: string, index: bigint, leaf: HashText) => Receipt;

/** Proof that a record is on disk. Only the log makes one, after the sync that covers the record has returned. */
export class Receipt {
  declare protected readonly nominal: never;
  readonly origin: string;
  readonly index: bigint;
  readonly #leaf: HashText;

  private constructor(origin: string, index: bigint, leaf: HashText) {
    this.origin = origin;
    this.index = index;
    this.#leaf = leaf;
  }

  get leafHash(): Uint8Array {
    return hashBytes(this.#leaf);
  }

  static {
    make = (origin, index, leaf) => new Receipt(origin, index, leaf);
  }
}

/** For `commit.ts` alone: whoever calls this says that the record is durable. */
export const issueReceipt = (origin: string, index: bigint, leaf: HashText): Receipt =>
  make(origin, index, leaf);
