import { describe } from '../core/errors.ts';
import type { Emit } from '../telemetry/events.ts';
import { Bundle } from '../trust/bundle.ts';
import { readBundle } from './bundle-folder.ts';
import type { PolicyFiles } from './messages.ts';

/**
 * The policy bundle of the process. Read once, so that all workers run the same bytes, those too that begin later. Only
 * when its evaluation has overrun the folder is looked at again, for another one.
 */
export class PolicyKeeper {
  readonly #dir: string;
  readonly #emit: Emit;
  #bundle: Bundle;
  #policy: PolicyFiles;
  #problem: string | undefined;

  /** @throws ConfigError, or the system's error when a file cannot be read */
  constructor(dir: string, emit: Emit) {
    this.#dir = dir;
    this.#emit = emit;
    const files = readBundle(dir);
    this.#bundle = Bundle.parse(files);
    this.#policy = { files, apart: false };
    this.#tell();
  }

  /** For workers that begin now. */
  get policy(): PolicyFiles {
    return this.#policy;
  }

  get facts(): { readonly bundle: string; readonly revision: string } {
    return { bundle: this.#bundle.digest, revision: this.#bundle.revision };
  }

  /** No worker that begins from now on runs it. Those that decide with it go on: their inputs did not hurt it. */
  setApart(worker: number, deadlineMs: number): void {
    this.#policy = { ...this.#policy, apart: true };
    const { revision } = this.#bundle;
    this.#emit('policy.problem', {
      detail: `worker ${worker}: an evaluation of ${revision} overran ${deadlineMs} ms; the bundle is set apart`,
    });
  }

  /** @returns the policy to go on with, when one is set apart and its folder holds another by now */
  replacement(): PolicyFiles | undefined {
    if (!this.#policy.apart) return undefined;
    try {
      const files = readBundle(this.#dir);
      const bundle = Bundle.parse(files);
      if (bundle.digest === this.#bundle.digest) return undefined;
      this.#bundle = bundle;
      this.#policy = { files, apart: false };
      this.#tell();
      return this.#policy;
    } catch (thrown) {
      const detail = describe(thrown); // half written, perhaps
      if (detail !== this.#problem) this.#emit('policy.problem', { detail });
      this.#problem = detail;
      return undefined;
    }
  }

  #tell(): void {
    const { digest, revision } = this.#bundle;
    this.#emit('policy.loaded', { bundle: digest, revision });
  }
}
