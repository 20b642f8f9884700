import type { Clock } from '../core/clock.ts';
import { Unavailable, describe } from '../core/errors.ts';
import type { Bundle } from '../trust/bundle.ts';
import { PolicyEngine } from '../trust/engine.ts';
import type { Evaluator } from '../trust/grant.ts';
import type { Release } from '../trust/release.ts';
import type { PolicyFiles } from './messages.ts';
import { verifiedBundle } from './policy-files.ts';
import type { EvaluationMark } from './watchdog.ts';

/** So many evaluations that fail, and none in between that does not, are the bundle's fault. */
const FAILURES = 5;

/** The policy as one worker has it. */
export interface WorkerPolicy {
  readonly bundle: Bundle;
  readonly release: Release | undefined;
  readonly evaluator: Evaluator;
  /** Why nothing is decided; undefined when it is. */
  trouble(): string | undefined;
}

/** What the next question is put to. */
export interface PolicyInForce {
  now: WorkerPolicy;
}

export interface PolicyWatch {
  readonly mark: EvaluationMark;
  readonly nanoseconds: () => bigint;
  readonly clock: Clock;
  /** Evaluations fail, one after the other. Called once. */
  readonly onFailing: (bundle: string, detail: string) => void;
}

/**
 * A bundle that is apart is read, so that its name is known, and never run; one that has expired decides nothing.
 * @throws BundleRefused
 */
export function loadPolicy(given: PolicyFiles, watch: PolicyWatch): WorkerPolicy {
  const { bundle, release, expiresAt } = verifiedBundle(given);
  const { digest: bundleDigest, entrypoint, reasons, revision } = bundle;
  const { clock } = watch;
  const watched = given.apart ? undefined : watchedEngine(PolicyEngine.load(bundle), watch);
  const apart = `policy ${revision} is set apart, and there is none to return to`;
  const expired = `policy ${revision} has expired`;
  const evaluate: Evaluator['evaluate'] = (text, asked) => {
    if (watched === undefined) throw new Unavailable('policy.failed', apart);
    if (clock.now() >= expiresAt) throw new Unavailable('policy.expired', expired);
    return watched(text, asked);
  };
  return {
    bundle,
    release,
    evaluator: { bundleDigest, entrypoint, reasons, evaluate },
    trouble: () => (watched === undefined ? apart : clock.now() >= expiresAt ? expired : undefined),
  };
}

/** Each evaluation marked, and failures counted; what it remembers needs no watching. */
function watchedEngine(engine: PolicyEngine, watch: PolicyWatch): Evaluator['evaluate'] {
  const { mark, nanoseconds, onFailing } = watch;
  let failures = 0;
  return (text, asked) => {
    const known = asked && engine.recall(asked);
    if (known !== undefined) {
      failures = 0;
      return known;
    }
    mark.begin(nanoseconds());
    try {
      const results = engine.evaluate(text, asked);
      failures = 0;
      return results;
    } catch (thrown) {
      failures += 1;
      if (failures === FAILURES)
        onFailing(
          engine.bundleDigest,
          `${FAILURES} evaluations in a row failed, the last: ${describe(thrown)}`,
        );
      throw thrown;
    } finally {
      mark.end();
    }
  };
}
