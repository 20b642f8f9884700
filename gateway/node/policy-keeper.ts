import type { GatewayConfig } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import type { Emit } from '../telemetry/events.ts';
import { BundleRefused } from '../trust/bundle-refused.ts';
import type { ReleasedBundle } from '../trust/release.ts';
import { readBundle } from './bundle-folder.ts';
import type { PolicyFiles, ShadowFiles } from './messages.ts';
import { readPublicPem } from './key-files.ts';
import { Admission, describeRefusal, type Candidate, type PolicyFloor } from './policy-admission.ts';
import type { SignerTexts } from './policy-files.ts';
import { PolicyStore, type PolicyRequest } from './policy-store.ts';

export interface PolicyKeeperOptions {
  readonly policy: GatewayConfig['policy'];
  readonly clock: Clock;
  readonly emit: Emit;
  /** Hands a bundle to all workers. @returns the longest any of them decided nothing meanwhile, milliseconds */
  readonly onPolicy: (policy: PolicyFiles) => Promise<number>;
  /** What the logs say of the past, whatever the store says. */
  readonly floor: PolicyFloor | undefined;
  readonly onShadows: (shadows: readonly ShadowFiles[]) => void;
}

/**
 * Which bundle is in force, in the main thread. It is the only one that decides so and that writes the store; workers are
 * handed the files, and verify them again.
 */
export class PolicyKeeper {
  readonly #options: PolicyKeeperOptions;
  readonly #signers: SignerTexts;
  readonly #store: PolicyStore;
  readonly #admission: Admission;
  #verified: ReleasedBundle;
  #policy: PolicyFiles;
  #shadows: readonly ShadowFiles[] = [];
  #problem: string | undefined;
  #busy = false;

  private constructor(
    options: PolicyKeeperOptions,
    store: PolicyStore,
    signers: SignerTexts,
    admission: Admission,
    first: Candidate,
  ) {
    this.#options = options;
    this.#store = store;
    this.#signers = signers;
    this.#admission = admission;
    this.#verified = first.verified;
    this.#policy = this.#filesOf(first, 'start', null);
  }

  /**
   * The folder of the configuration first, if it holds another bundle than the last time; else what was in force.
   * @throws ConfigError when there is no bundle to begin with; the system's error for the store
   */
  static async open(options: PolicyKeeperOptions): Promise<PolicyKeeper> {
    const { policy, clock, emit, floor } = options;
    const pems = policy.signers.map((file) => readPublicPem('/policy/signers', file));
    const signers = { pems, threshold: policy.threshold };
    const store = PolicyStore.open(policy.store);
    const admission = new Admission(store, clock, signers);
    const forgotten = floor === undefined ? undefined : admission.notBelow(floor);
    if (forgotten !== undefined) emit('policy.problem', { detail: forgotten });
    const { active } = store.state;
    let first: Candidate | undefined;
    try {
      first = await admission.newInFolder(policy.bundle);
    } catch (thrown) {
      if (active === null) throw thrown;
      emit('policy.problem', { detail: `${policy.bundle}: ${describeRefusal(thrown)}` });
    }
    if (first !== undefined) admission.take(first, true);
    else first = admission.candidate(() => store.read(active ?? ''));
    const keeper = new PolicyKeeper(options, store, signers, admission, first);
    const held = store.state.quarantined.find(({ bundle }) => bundle === keeper.#verified.digest);
    if (held !== undefined) keeper.#leave(held.why);
    keeper.#tell();
    keeper.#shadows = keeper.#shadowFiles();
    return keeper;
  }

  /** For workers that begin now. */
  get policy(): PolicyFiles {
    return this.#policy;
  }

  get shadows(): readonly ShadowFiles[] {
    return this.#shadows;
  }

  get facts(): { readonly bundle: string; readonly revision: string; readonly version: string } {
    const { bundle, version } = this.#verified;
    return { bundle: bundle.digest, revision: bundle.revision, version: String(version) };
  }

  /**
   * Nobody decides with it any more, now or after a restart, when there is a bundle to return to. When there is none, no
   * worker that begins from now on runs it; those that decide with it go on: their inputs did not hurt it.
   */
  quarantine(bundle: string, why: string): void {
    // Two workers may say so of the same one.
    if (bundle !== this.#verified.digest || this.#policy.apart) return;
    const { revision } = this.#verified.bundle;
    this.#options.emit('policy.problem', { detail: `${revision} is set apart: ${why}` });
    const { quarantined } = this.#store.state;
    this.#store.update({ quarantined: [...quarantined, { bundle, at: this.#options.clock.now(), why }] });
    if (!this.#leave(why)) return;
    this.#tell();
    // Workers that cannot be told are being replaced, and begin with it.
    void this.#options.onPolicy(this.#policy);
  }

  /** Sees to what an operator asks for, and to the folder while there is no bundle to decide with. */
  async look(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      const request = this.#store.request();
      if (request !== undefined) await this.#obey(request);
      else if (this.#policy.apart) await this.#tryFolder();
    } catch (thrown) {
      this.#report(describeRefusal(thrown));
    } finally {
      this.#busy = false;
    }
  }

  async #obey(request: PolicyRequest | 'malformed'): Promise<void> {
    const settle = (
      id: string,
      code: BundleRefused['code'] | 'request.malformed' | null,
      detail: string,
      pauseMs = 0,
    ) =>
      this.#store.settle(request === 'malformed' ? undefined : request, {
        id,
        at: this.#options.clock.now(),
        code,
        detail,
        pauseMs,
      });
    if (request === 'malformed') {
      this.#report('request.json is malformed');
      return settle('', 'request.malformed', 'request.json is malformed');
    }
    try {
      const pauseMs = await this.#do(request);
      settle(request.id, null, '', pauseMs);
    } catch (thrown) {
      if (!(thrown instanceof BundleRefused)) throw thrown;
      this.#report(describeRefusal(thrown));
      settle(request.id, thrown.code, thrown.message);
    }
  }

  async #do(request: PolicyRequest): Promise<number> {
    const { quarantined, shadow } = this.#store.state;
    switch (request.action) {
      case 'activate': {
        const found = await this.#admission.admitted(() => this.#store.incoming(request));
        return this.#switchTo(found, false);
      }
      case 'shadow': {
        const found = this.#admission.current(() => this.#store.incoming(request));
        this.#store.keep(found.verified.digest, found.files, false);
        this.#store.update({ shadow: [...new Set([...shadow, found.verified.digest])] });
        break;
      }
      case 'unshadow':
        this.#store.update({ shadow: shadow.filter((each) => each !== request.bundle) });
        break;
      case 'lift':
        this.#store.update({ quarantined: quarantined.filter(({ bundle }) => bundle !== request.bundle) });
    }
    this.#shadows = this.#shadowFiles();
    this.#options.onShadows(this.#shadows);
    return 0;
  }

  async #tryFolder(): Promise<void> {
    const found = await this.#admission.newInFolder(this.#options.policy.bundle);
    if (found !== undefined) await this.#switchTo(found, true);
  }

  async #switchTo(next: Candidate, fromFolder: boolean): Promise<number> {
    // On disk first: a crash in between starts with the new one, and no older one passes any more.
    this.#admission.take(next, fromFolder);
    this.#verified = next.verified;
    this.#policy = this.#filesOf(next, 'activate', null);
    this.#problem = undefined;
    this.#tell();
    return this.#options.onPolicy(this.#policy);
  }

  /** Back to the last good bundle, or to none. @returns false when there is none */
  #leave(why: string): boolean {
    const { history } = this.#store.state;
    const bad = this.#verified.digest;
    for (const digest of history.toReversed()) {
      if (digest === bad || this.#store.state.quarantined.some(({ bundle }) => bundle === digest)) continue;
      try {
        const good = this.#admission.current(() => this.#store.read(digest));
        this.#store.update({ active: digest, history: history.filter((each) => each !== digest) });
        this.#verified = good.verified;
        this.#policy = this.#filesOf(good, 'return', why);
        return true;
      } catch (thrown) {
        this.#report(`cannot return to ${digest}: ${describeRefusal(thrown)}`);
      }
    }
    this.#policy = { ...this.#policy, apart: true };
    return false;
  }

  #filesOf({ files }: Candidate, act: PolicyFiles['act'], why: string | null): PolicyFiles {
    return {
      files,
      signers: this.#signers,
      apart: false,
      act,
      why,
      highest: this.#store.state.version,
    };
  }

  #shadowFiles(): ShadowFiles[] {
    const { policy } = this.#options;
    const { shadow, quarantined } = this.#store.state;
    const sources = [
      ...policy.shadow.map((dir) => () => readBundle(dir)),
      ...shadow.map((digest) => () => this.#store.read(digest)),
    ];
    const found = new Map<string, ShadowFiles>();
    for (const read of sources) {
      try {
        const { files, verified } = this.#admission.current(read);
        const { digest } = verified;
        if (quarantined.some(({ bundle }) => bundle === digest))
          throw new BundleRefused('bundle.quarantined', [`policy bundle: ${digest} is in quarantine`]);
        this.#store.keep(digest, files, false);
        found.set(digest, { files, signers: this.#signers });
      } catch (thrown) {
        this.#report(`shadow: ${describeRefusal(thrown)}`);
      }
    }
    return [...found.values()];
  }

  /** Each text once, as long as it is the same. */
  #report(detail: string): void {
    if (detail !== this.#problem) this.#options.emit('policy.problem', { detail });
    this.#problem = detail;
  }

  #tell(): void {
    const { bundle, version } = this.#verified;
    this.#options.emit('policy.loaded', { bundle: bundle.digest, revision: bundle.revision, version });
  }
}
