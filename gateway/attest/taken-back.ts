import { type Clock, type EpochMs, type EpochSeconds, toSeconds } from '../core/clock.ts';
import { MAX_RESULT_SECONDS, type Revocation, signRevocations } from '../device/revocations.ts';
import type { TokenSigner } from '../device/token.ts';
import type { DeviceRecord } from './devices.ts';

/** What is decided about devices, in order, and the list of what gateways shall believe no more. */
export class TakenBack {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Revocation & { readonly at: EpochSeconds }>();
  /** The last decision about each device. */
  readonly #numbers = new Map<string, EpochMs>();
  readonly #waiting = new Set<() => void>();
  #sequence: number;

  constructor(clock: Clock, devices: Iterable<DeviceRecord>) {
    this.#clock = clock;
    // Continues above whatever a former process gave out, in milliseconds; gateways take only larger numbers.
    const now = clock.now();
    this.#sequence = now;
    // What a former process took back: results of an older epoch, and all of those who may have none.
    for (const { id, epoch, state } of devices) {
      if (epoch === 1 && state === 'active') continue;
      const before = state === 'active' ? 0 : now;
      this.#entries.set(id, { device: id, epoch, before, at: toSeconds(now) });
    }
  }

  /** Each decision about a device has a later time than the one before, however fast they come: gateways go by it. */
  number(id: string): EpochMs {
    const number = Math.max(this.#clock.now(), (this.#numbers.get(id) ?? 0) + 1);
    this.#numbers.set(id, number);
    return number;
  }

  /** Results that this device got before now are worth nothing any more. */
  add({ id, epoch }: DeviceRecord): void {
    const before = this.number(id);
    this.#entries.set(id, { device: id, epoch, before, at: toSeconds(before) });
    this.#sequence = Math.max(this.#sequence + 1, this.#clock.now());
    for (const wake of this.#waiting) wake();
  }

  get sequence(): number {
    return this.#sequence;
  }

  /** The list of what was taken back lately. */
  signed(signer: TokenSigner): string {
    const now = toSeconds(this.#clock.now());
    for (const [id, { at }] of this.#entries)
      if (at + MAX_RESULT_SECONDS + 60 < now) this.#entries.delete(id);
    return signRevocations([...this.#entries.values()], this.#sequence, now, signer);
  }

  /** @returns call to stop waiting */
  onChange(wake: () => void): () => void {
    this.#waiting.add(wake);
    return () => this.#waiting.delete(wake);
  }
}
