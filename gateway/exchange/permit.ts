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

  /** @param record writes the decision; resolves when it is durable. @throws Unavailable `evidence.unavailable` */
  static async issue(grant: Grant, record: () => Promise<Receipt>): Promise<Permit> {
    return new Permit(grant, await record());
  }
}
