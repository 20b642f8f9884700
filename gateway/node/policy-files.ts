import { ConfigError, describe } from '../core/errors.ts';
import type { BundleFiles } from '../trust/bundle.ts';
import { ReleasedBundle, signersOf, type Signers } from '../trust/release.ts';

/** Who may release a policy, as threads tell each other: keys in PEM, as they were at the start. */
export interface SignerTexts {
  readonly pems: readonly string[];
  readonly threshold: number;
}

/** A bundle on its way to another thread, which has to verify it itself. */
export interface BundleAndSigners {
  readonly files: BundleFiles;
  readonly signers: SignerTexts;
}

/** @throws ConfigError when the keys are no signers */
export function signersFrom({ pems, threshold }: SignerTexts): Signers {
  try {
    return signersOf(pems, threshold);
  } catch (thrown) {
    throw new ConfigError([`/policy/signers: ${describe(thrown)}`]);
  }
}

/** @throws BundleRefused, ConfigError */
export const verifiedBundle = ({ files, signers }: BundleAndSigners): ReleasedBundle =>
  ReleasedBundle.verify(files, signersFrom(signers));
