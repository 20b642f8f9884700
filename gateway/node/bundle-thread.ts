import { SHARE_ENV, Worker } from 'node:worker_threads';
import { describe } from '../core/errors.ts';
import { BundleRefused } from '../trust/bundle-refused.ts';
import type { BundleAndSigners } from './policy-files.ts';
import type { Evaluated, FromPolicyThread, ToPolicyThread } from './policy-thread-messages.ts';
import { EvaluationMark } from './watchdog.ts';

/** Beside this file; the build has it as JavaScript. */
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './policy-thread.ts' : './policy-thread.js',
  import.meta.url,
);
/** Of JavaScript; the module's own memory has its limit in the engine. */
const HEAP_MB = 64;
/** Loading takes tens of milliseconds, on a loaded machine perhaps a second. */
const PROBE_MS = 10_000;

export interface BundleThreadEvents {
  told(results: readonly Evaluated[], tookMs: number): void;
  /** It is gone, for whatever reason. */
  gone(why: string): void;
}

/** The holder's side of a thread that evaluates one bundle. */
export class BundleThread {
  readonly mark = new EvaluationMark();
  /** @throws BundleRefused the bundle is not one this gateway runs; Error the thread ended */
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  #why = 'it ended by itself';

  constructor(bundle: BundleAndSigners, events: BundleThreadEvents) {
    this.#worker = new Worker(PROGRAM, {
      workerData: { ...bundle, mark: this.mark.memory },
      env: SHARE_ENV,
      name: 'policy',
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    this.#worker.unref(); // an evaluation nobody enforces keeps no process alive
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.ready.catch(() => undefined); // who waits for it hears
    this.#worker.on('message', (message: FromPolicyThread) => {
      switch (message.kind) {
        case 'ready':
          return ready.resolve();
        case 'refused':
          return ready.reject(new BundleRefused(message.code, message.problems));
        case 'told':
          return events.told(message.results, message.tookMs);
      }
    });
    this.#worker.on('error', (thrown) => (this.#why = describe(thrown)));
    this.#worker.on('exit', () => {
      ready.reject(new Error(this.#why));
      events.gone(this.#why);
    });
  }

  ask(message: ToPolicyThread): void {
    this.#worker.postMessage(message, [message.bytes.buffer]);
  }

  /** Ends it at whatever instruction it is. */
  end(why: string): void {
    this.#why = why;
    void this.#worker.terminate();
  }
}

/**
 * Loads a bundle in a thread of its own, before anything that matters does: a module runs code of its author's as soon as
 * it is instantiated.
 * @throws BundleRefused
 */
export async function probeBundle(bundle: BundleAndSigners): Promise<void> {
  const thread = new BundleThread(bundle, { told: () => undefined, gone: () => undefined });
  const overdue = setTimeout(() => thread.end(`it did not load within ${PROBE_MS} ms`), PROBE_MS);
  try {
    await thread.ready;
  } catch (thrown) {
    if (thrown instanceof BundleRefused) throw thrown;
    throw new BundleRefused('bundle.module', [`policy bundle, policy.wasm: ${describe(thrown)}`]);
  } finally {
    clearTimeout(overdue);
    thread.end('it has been looked at');
  }
}
