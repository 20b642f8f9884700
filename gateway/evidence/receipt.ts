let make: (origin: string, index: bigint, leafHash: Uint8Array) => Receipt;

/** Proof that a record is on disk. Only the log makes one, after the sync that covers the record has returned. */
export class Receipt {
  declare protected readonly nominal: never;
  readonly origin: string;
  readonly index: bigint;
  readonly leafHash: Uint8Array;

  private constructor(origin: string, index: bigint, leafHash: Uint8Array) {
    this.origin = origin;
    this.index = index;
    this.leafHash = leafHash;
  }

  static {
    make = (origin, index, leafHash) => new Receipt(origin, index, leafHash);
  }
}

/** For `commit.ts` alone: whoever calls this says that the record is durable. */
export const issueReceipt = (origin: string, index: bigint, leafHash: Uint8Array): Receipt =>
  make(origin, index, leafHash);
