import { BodyMeter } from '../message/digest.ts';
import type { RequestHash } from './request-hash.ts';

/** Digests a body for the signature and, for X-Road's own request hash, a second time. */
export class HashingMeter extends BodyMeter {
  readonly #second: RequestHash | undefined;
  constructor(second: RequestHash | undefined) {
    super();
    this.#second = second;
  }
  override update(chunk: Uint8Array, lent = false): void {
    super.update(chunk, lent);
    this.#second?.update(chunk);
  }
}
