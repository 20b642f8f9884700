import type { Clock } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import type { ExchangeId } from '../core/ids.ts';
import type { EvidenceLog } from '../evidence/log.ts';
import type { Emit } from '../telemetry/events.ts';
import type { ShadowCounts } from '../telemetry/gateway-metrics.ts';
import type { Decision } from '../trust/decision.ts';
import type { ShadowFiles } from './messages.ts';
import { verifiedBundle } from './policy-files.ts';
import { Shadow } from './shadow.ts';

export interface ShadowsOptions {
  readonly clock: Clock;
  readonly nanoseconds: () => bigint;
  readonly log: Pick<EvidenceLog, 'append'>;
  readonly emit: Emit;
  readonly counts: ShadowCounts;
}

/** The bundles that one worker has evaluated beside the one in force. */
export class Shadows {
  readonly #options: ShadowsOptions;
  #shadows: readonly Shadow[] = [];

  constructor(options: ShadowsOptions) {
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
