import type { ReleasedBundle } from '../trust/release.ts';
import { BundleRefused } from '../trust/bundle-refused.ts';
import type { StoreState } from './policy-store.ts';

/**
 * Whether a gateway with this past takes the bundle next.
 * @param state undefined: it has none
 * @throws BundleRefused `bundle.rollback`, `bundle.quarantined`
 */
export function requireAdmissible({ digest, version }: ReleasedBundle, state: StoreState | undefined): void {
  if (state === undefined) return;
  // The same version of other content would be two things under one name; the same content may come again.
  if (version < state.version || (version === state.version && version > 0 && digest !== state.active)) {
    const detail = `version ${version}, but ${state.version} has been in force here (bundle.rollback)`;
    throw new BundleRefused('bundle.rollback', [`policy bundle: ${detail}`]);
  }
  const held = state.quarantined.find(({ bundle }) => bundle === digest);
  if (held !== undefined) {
    const detail = `since ${new Date(held.at).toISOString()}: ${held.why} (bundle.quarantined)`;
    throw new BundleRefused('bundle.quarantined', [`policy bundle ${digest}: ${detail}`]);
  }
}
