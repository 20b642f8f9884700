import { Unavailable } from '../core/errors.ts';
import { Bundle } from '../trust/bundle.ts';
import { PolicyEngine } from '../trust/engine.ts';
import type { Evaluator } from '../trust/grant.ts';
import type { PolicyFiles } from './messages.ts';
import { watched, type EvaluationMark } from './watchdog.ts';

/** The policy as one worker has it. */
export interface WorkerPolicy {
  readonly bundle: Bundle;
  readonly evaluator: Evaluator;
  /** Why nothing is decided; undefined when it is. */
  readonly trouble: string | undefined;
}

/** An exchange asks once and keeps what it got. */
export interface PolicyInForce {
  now: WorkerPolicy;
}

/**
 * A bundle that is apart is read, so that its name is known, and never run.
 * @throws ConfigError
 */
export function loadPolicy(
  { files, apart }: PolicyFiles,
  mark: EvaluationMark,
  nanoseconds: () => bigint,
): WorkerPolicy {
  const bundle = Bundle.parse(files);
  if (!apart)
    return { bundle, evaluator: watched(PolicyEngine.load(bundle), mark, nanoseconds), trouble: undefined };
  const { digest: bundleDigest, entrypoint, reasons, revision } = bundle;
  const trouble = `policy ${revision} is set apart: an evaluation overran its deadline`;
  const evaluate = (): never => {
    throw new Unavailable('policy.failed', trouble);
  };
  return { bundle, evaluator: { bundleDigest, entrypoint, reasons, evaluate }, trouble };
}
