import { parentPort, workerData } from 'node:worker_threads';
import { describe } from '../core/errors.ts';
import { BundleRefused } from '../trust/bundle-refused.ts';
import { PolicyEngine } from '../trust/engine.ts';
import { clock, nanoseconds } from './clock.ts';
import { verifiedBundle, type BundleAndSigners } from './policy-files.ts';
import { EvaluationMark } from './watchdog.ts';
import type { Evaluated, FromPolicyThread, ToPolicyThread } from './policy-thread-messages.ts';

// A thread that has one bundle and nothing else: no listener, no key, no log. What goes wrong here is told, or ends it.

if (parentPort === null) throw new Error('this is a thread of the gateway, not a program');
const port = parentPort;
const given = workerData as BundleAndSigners & { readonly mark: SharedArrayBuffer }; // what the gateway gives it
const send = (message: FromPolicyThread): void => port.postMessage(message);
const mark = new EvaluationMark(given.mark);

let engine: PolicyEngine | undefined;
mark.begin(nanoseconds());
try {
  engine = PolicyEngine.load(verifiedBundle(given).bundle);
  send({ kind: 'ready' });
} catch (thrown) {
  if (!(thrown instanceof BundleRefused)) throw thrown;
  send({ kind: 'refused', code: thrown.code, problems: thrown.problems });
} finally {
  mark.end();
}

port.on('message', ({ bytes, lengths }: ToPolicyThread) => {
  const began = clock.monotonic();
  let at = 0;
  const results = lengths.map((length) => {
    const input = bytes.subarray(at, at + length);
    at += length;
    return evaluated(input);
  });
  send({ kind: 'told', results, tookMs: clock.monotonic() - began });
});

function evaluated(input: Uint8Array): Evaluated {
  mark.begin(nanoseconds());
  try {
    if (engine === undefined) throw new Error('the bundle was refused');
    const { allow, reasons, tier, score, resultDigest } = engine.replay(input);
    return { allow, reasons, tier, score, resultDigest };
  } catch (thrown) {
    return { failed: describe(thrown) };
  } finally {
    mark.end();
  }
}
