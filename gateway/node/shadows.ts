import { describe } from '../core/errors.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { Decision } from '../trust/decision.ts';
import type { ShadowFiles } from './messages.ts';
import { verifiedBundle } from './policy-files.ts';
import { Shadow, type ShadowOptions } from './shadow.ts';

/** The bundles that one worker has evaluated beside the one in force. */
export class Shadows {
  readonly #options: ShadowOptions;
  #shadows: readonly Shadow[] = [];

  constructor(options: ShadowOptions) {
    this.#options = options;
  }

  /** These from now on, and no others. One that is there already goes on. */
  take(wanted: readonly ShadowFiles[]): void {
    const before = new Map(this.#shadows.map((shadow) => [shadow.digest, shadow]));
    const now: Shadow[] = [];
    for (const files of wanted) {
      try {
        const { bundle, expiresAt } = verifiedBundle(files);
        now.push(before.get(bundle.digest) ?? new Shadow(files, bundle, expiresAt, this.#options));
        before.delete(bundle.digest);
      } catch (thrown) {
        this.#options.emit('policy.problem', { detail: `shadow: ${describe(thrown)}` });
      }
    }
    this.#shadows = now;
    for (const gone of before.values()) gone.close();
  }

  /** A decision that was made. Returns at once; what there is no room for is counted and left out. */
  offer(exchange: ExchangeId, decision: Decision): void {
    for (const shadow of this.#shadows) shadow.offer(exchange, decision);
  }

  close(): void {
    this.take([]);
  }
}
