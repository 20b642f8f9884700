import { describe, quoted } from '../core/errors.ts';
import { SecurityEventRefused } from '../identity/security-event.ts';
import { fetchBounded } from './fetch-bounded.ts';

export interface SignalPollOptions {
  /** Polling endpoint of the transmitter. From the configuration. */
  readonly url: string;
  readonly token: string | undefined;
  /** Pause between two polls that brought nothing. */
  readonly pauseMs: number;
  readonly take: (set: string) => Promise<void>;
  readonly onProblem: (detail: string) => void;
}

const MAX_BYTES = 1024 * 1024;
const MAX_EVENTS = 100;
/** How long a transmitter may hold a poll back until there is something to tell. */
const PATIENCE_MS = 60_000;
const BACKOFF_MS = 10_000;

interface Acknowledgement {
  readonly ack: string[];
  readonly setErrs: Record<string, { readonly err: string; readonly description: string }>;
}

/** Asks an identity provider for security events (RFC 8936): for agencies whose gateway nobody may connect to. */
export class SignalPoll {
  readonly #options: SignalPollOptions;
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;

  constructor(options: SignalPollOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    let last: Acknowledgement = { ack: [], setErrs: {} };
    while (!this.#stopping.signal.aborted) {
      try {
        const { sets, more } = await this.#poll(last);
        last = await this.#takeAll(sets);
        // What was taken is acknowledged at once: with the next poll.
        const settled = last.ack.length + Object.keys(last.setErrs).length;
        if (sets.length === 0 && !more) await this.#pause(this.#options.pauseMs);
        else if (sets.length > 0 && settled === 0) await this.#pause(BACKOFF_MS); // the very same would come at once
      } catch (thrown) {
        if (this.#stopping.signal.aborted) return;
        this.#options.onProblem(`${quoted(this.#options.url, 200)}: ${describe(thrown)}`);
        await this.#pause(BACKOFF_MS); // nothing was acknowledged, so nothing is lost
      }
    }
  }

  async #poll(
    last: Acknowledgement,
  ): Promise<{ sets: (readonly [jti: string, set: string])[]; more: boolean }> {
    const { url, token } = this.#options;
    const answer: unknown = JSON.parse(
      Buffer.from(
        await fetchBounded(url, MAX_BYTES, PATIENCE_MS, {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            accept: 'application/json',
            ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          },
          body: JSON.stringify({ maxEvents: MAX_EVENTS, returnImmediately: false, ...last }),
          signal: this.#stopping.signal,
        }),
      ).toString('utf8'),
    );
    const { sets, moreAvailable } = Object(answer) as { sets?: unknown; moreAvailable?: unknown }; // any object may be asked
    if (typeof sets !== 'object' || sets === null || Array.isArray(sets))
      throw new Error('the answer holds no sets');
    const listed = Object.entries(sets).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    );
    return { sets: listed, more: moreAvailable === true };
  }

  async #takeAll(sets: readonly (readonly [jti: string, set: string])[]): Promise<Acknowledgement> {
    const done: Acknowledgement = { ack: [], setErrs: {} };
    for (const [jti, set] of sets) {
      try {
        await this.#options.take(set);
        done.ack.push(jti);
      } catch (thrown) {
        this.#options.onProblem(describe(thrown));
        // Ours to mend: not acknowledged, so it comes again.
        if (thrown instanceof SecurityEventRefused)
          done.setErrs[jti] = { err: thrown.code, description: 'not taken' };
      }
    }
    return done;
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#stopping;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const over = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', over);
        resolve();
      };
      const timer = setTimeout(over, ms);
      signal.addEventListener('abort', over);
    });
  }
}
