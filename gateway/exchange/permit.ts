import type { Receipt } from '../evidence/receipt.ts';
import type { Grant } from '../trust/grant.ts';

/**
 * Leave to send one message on. It exists only after the decision is on disk, so "decided, then recorded, then
 * forwarded" is a type error to break.
 */
export class Permit {
  declare protected readonly nominal: never;
  readonly grant: Grant;
  readonly receipt: Receipt;

  private constructor(grant: Grant, receipt: Receipt) {
    this.grant = grant;
    this.receipt = receipt;
  }

  /** @param receipt of the record that tells the decision: proof that it is durable */
  static issue(grant: Grant, receipt: Receipt): Permit {
    return new Permit(grant, receipt);
  }
}
