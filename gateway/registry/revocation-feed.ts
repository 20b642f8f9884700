import { describe, MalformedBytes } from '../core/errors.ts';
import { Revocations } from '../device/revocations.ts';
import type { TokenKey } from '../device/token.ts';

export interface RevocationFeedOptions {
  /** Number of the list that is there already. */
  readonly after: number | undefined;
  /** Gets the signed list, when there is one newer than `after`; may wait for it. */
  readonly ask: (after: number | undefined) => Promise<string>;
  /** Keys of the attestation service, as the registry has them now. */
  readonly keys: () => readonly TokenKey[];
  /** Takes a list whose signature is good, with its text for those who have to see for themselves. */
  readonly take: (list: Revocations, text: string) => void;
  /** The service answered as it should, with news or without. */
  readonly heard: () => void;
  /** Pause after a failure. Meanwhile results end by themselves, with no grace. */
  readonly retryMs: number;
  readonly failed: (why: string) => void;
}

/** After an answer without news: one that came at once, time after time, would be a busy loop. */
const NO_NEWS_MS = 100;

/** Waits at one attestation service for news of what it takes back, so that a revocation is known within a round trip. */
export class RevocationFeed {
  readonly #options: RevocationFeedOptions;
  #stopped = false;
  #sequence: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #wake: (() => void) | undefined;
  readonly #running: Promise<void>;

  private constructor(options: RevocationFeedOptions) {
    this.#options = options;
    this.#sequence = options.after;
    this.#running = this.#follow();
  }

  static start(options: RevocationFeedOptions): RevocationFeed {
    return new RevocationFeed(options);
  }

  /** Break off what `ask` waits for as well: it ends with it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#wake?.();
    await this.#running;
  }

  async #follow(): Promise<void> {
    const { ask, keys, take, heard, retryMs, failed } = this.#options;
    while (!this.#stopped) {
      try {
        const text = await ask(this.#sequence);
        const list = Revocations.open(text, keys());
        const known = this.#sequence;
        // What it has taken back since would be given again by whoever plays back an older list.
        if (known !== undefined && list.sequence < known)
          throw new MalformedBytes(`list ${list.sequence} is older than ${known}`);
        heard();
        this.#sequence = list.sequence;
        if (list.sequence !== known) take(list, text);
        else await this.#pause(NO_NEWS_MS);
      } catch (thrown) {
        if (this.#stopped) return;
        failed(describe(thrown));
        await this.#pause(retryMs);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = setTimeout(resolve, ms);
    });
  }
}
