import type { Clock } from '../core/clock.ts';
import { describe } from '../core/errors.ts';
import type { BundleFiles } from '../trust/bundle.ts';
import { BundleRefused } from '../trust/bundle-refused.ts';
import type { ReleasedBundle } from '../trust/release.ts';
import { readBundle } from './bundle-folder.ts';
import { probeBundle } from './bundle-thread.ts';
import { verifiedBundle, type SignerTexts } from './policy-files.ts';
import type { PolicyStore, StoreState } from './policy-store.ts';

/** A bundle whose signatures and content are good. */
export interface Candidate {
  readonly files: BundleFiles;
  readonly verified: ReleasedBundle;
}

/** The highest version that the evidence log knows to have been in force here. */
export interface PolicyFloor {
  readonly version: number;
  /** Digest of the bundle that had it; null when the log's end names another. */
  readonly bundle: string | null;
}

/** What has to be true of a bundle before it is put in force here, and putting it there on disk. */
export class Admission {
  readonly #store: PolicyStore;
  readonly #clock: Clock;
  readonly #signers: SignerTexts;

  constructor(store: PolicyStore, clock: Clock, signers: SignerTexts) {
    this.#store = store;
    this.#clock = clock;
    this.#signers = signers;
  }

  /**
   * The store is written before the log: one that knows of less than the log was brought back from an earlier time. What
   * it says is in force counts no more; the bundle of the highest version does, where the store still has it.
   * @returns what to report; undefined when all is well
   */
  notBelow(floor: PolicyFloor): string | undefined {
    const { version } = this.#store.state;
    if (version >= floor.version) return undefined;
    this.#store.update({ version: floor.version, newest: floor.bundle, active: null, folder: null });
    if (floor.bundle !== null && this.#store.has(floor.bundle)) this.#store.update({ active: floor.bundle });
    return `bundle.rollback: state.json knows of version ${version}, the log of ${floor.version}; older ones stay out`;
  }

  /** @throws BundleRefused */
  candidate(read: () => BundleFiles): Candidate {
    const files = read();
    return { files, verified: verifiedBundle({ files, signers: this.#signers }) };
  }

  /** One that may be put in force now, but for its past here. @throws BundleRefused */
  current(read: () => BundleFiles): Candidate {
    const found = this.candidate(read);
    found.verified.requireCurrent(this.#clock.now());
    return found;
  }

  /** @throws BundleRefused */
  async admitted(read: () => BundleFiles): Promise<Candidate> {
    const found = this.current(read);
    requireAdmissible(found.verified, this.#store.state);
    await probeBundle({ files: found.files, signers: this.#signers });
    return found;
  }

  /** The bundle of the configured folder, when it is another one than it was. @throws BundleRefused */
  async newInFolder(dir: string): Promise<Candidate | undefined> {
    const found = this.candidate(() => readBundle(dir));
    const { active, folder } = this.#store.state;
    return active !== null && folder === folderKey(found) ? undefined : this.admitted(() => found.files);
  }

  /**
   * Durable when it returns.
   * @param fromFolder it is the one of the configured folder
   * @throws BundleRefused
   */
  take({ files, verified }: Candidate, fromFolder: boolean): void {
    // Once more: it may have been set apart while it was being looked at.
    requireAdmissible(verified, this.#store.state);
    const { active, history, version } = this.#store.state;
    const { digest } = verified;
    this.#store.keep(digest, files, true);
    this.#store.update({
      active: digest,
      ...(verified.version >= version ? { version: verified.version, newest: digest } : {}),
      history: [
        ...history.filter((each) => each !== digest && each !== active),
        ...(active === null || active === digest ? [] : [active]),
      ],
      ...(fromFolder ? { folder: folderKey({ verified }) } : {}),
    });
  }
}

const folderKey = ({ verified }: Pick<Candidate, 'verified'>): string =>
  `${verified.digest} ${verified.version}`;

/** For people: the code first. */
export const describeRefusal = (thrown: unknown): string =>
  thrown instanceof BundleRefused ? `${thrown.code}: ${describe(thrown)}` : describe(thrown);

/**
 * Whether a gateway with this past takes the bundle next.
 * @param state undefined: it has none
 * @throws BundleRefused `bundle.rollback`, `bundle.quarantined`
 */
export function requireAdmissible({ digest, version }: ReleasedBundle, state: StoreState | undefined): void {
  if (state === undefined) return;
  const held = state.quarantined.find(({ bundle }) => bundle === digest);
  if (held !== undefined) {
    const detail = `since ${new Date(held.at).toISOString()}: ${held.why} (bundle.quarantined)`;
    throw new BundleRefused('bundle.quarantined', [`policy bundle ${digest}: ${detail}`]);
  }
  // The same version of other content would be two things under one name; the same content may come again.
  if (version < state.version || (version === state.version && version > 0 && digest !== state.newest)) {
    const detail = `version ${version}, but ${state.version} has been in force here (bundle.rollback)`;
    throw new BundleRefused('bundle.rollback', [`policy bundle: ${detail}`]);
  }
}
