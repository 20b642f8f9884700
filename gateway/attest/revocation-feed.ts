import type { EpochMs } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import type { DeviceRegister } from '../device/register.ts';
import { Revocations } from '../device/revocations.ts';
import type { TokenKey } from '../device/token.ts';
import type { AttestorClient } from './attestor-client.ts';

export interface RevocationFeedOptions {
  readonly client: Pick<AttestorClient, 'revocations'>;
  readonly keys: readonly TokenKey[];
  readonly register: DeviceRegister;
  readonly now: () => EpochMs;
  /** Pause after a failure. Meanwhile results end by themselves, with no grace. */
  readonly retryMs: number;
  readonly failed: (why: string) => void;
}

/**
 * Keeps a gateway's register up to date: waits at the attestation service for news, so that a revocation is known
 * within a round trip.
 */
export class RevocationFeed {
  readonly #options: RevocationFeedOptions;
  #stopped = false;
  #sequence: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #wake: (() => void) | undefined;
  readonly #running: Promise<void>;

  private constructor(options: RevocationFeedOptions) {
    this.#options = options;
    this.#running = this.#follow();
  }

  static start(options: RevocationFeedOptions): RevocationFeed {
    return new RevocationFeed(options);
  }

  /** Close the client first: a request that waits for news ends with it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#wake?.();
    await this.#running;
  }

  async #follow(): Promise<void> {
    const { client, keys, register, now, retryMs, failed } = this.#options;
    while (!this.#stopped) {
      try {
        const list = Revocations.open(await client.revocations(this.#sequence), keys);
        register.revoke(list, now());
        this.#sequence = list.sequence;
      } catch (thrown) {
        if (this.#stopped) return;
        failed(describe(thrown));
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          this.#timer = setTimeout(resolve, retryMs);
        });
      }
    }
  }
}
