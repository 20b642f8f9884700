import type { GatewayConfig } from '../../config/config.ts';
import type { EpochMs } from '../../core/clock.ts';
import { describe } from '../../core/errors.ts';
import { readBundle } from '../../node/bundle-folder.ts';
import { readPublicPem } from '../../node/key-files.ts';
import { requireAdmissible } from '../../node/policy-admission.ts';
import { signersFrom, verifiedBundle } from '../../node/policy-files.ts';
import { readState, type StoreState } from '../../node/policy-store.ts';
import { BundleRefused } from '../../trust/bundle-refused.ts';
import { PolicyEngine } from '../../trust/engine.ts';
import type { ReleasedBundle, Signers } from '../../trust/release.ts';
import type { Report } from './finding.ts';

const DAY_MS = 86_400_000;
const SOON_DAYS = 14;

/** Who may release policies, the store, the bundle of the configuration, and the one in force where that is another. */
export async function checkPolicy(
  report: Report,
  { policy }: Pick<GatewayConfig, 'policy'>,
  now: EpochMs,
): Promise<void> {
  let texts: Parameters<typeof signersFrom>[0] | undefined;
  await report.check('policy signers', 'correct policy.signers: Ed25519 public keys, each once', () => {
    const given = {
      pems: policy.signers.map((file) => readPublicPem('/policy/signers', file)),
      threshold: policy.threshold,
    };
    tellSigners(report, signersFrom(given));
    texts = given;
  });
  let state: StoreState | undefined;
  await report.check(
    'policy store',
    'make policy.store readable for the user of the gateway, or restore state.json',
    () => {
      state = readState(policy.store);
      tellStore(report, policy.store, state);
    },
  );
  if (texts === undefined) return;
  const signers = texts;
  const advice =
    'install the bundle again, or have it released (docs/policy-tools.md); node policies/build.mjs makes it';
  let installed: string | undefined;
  await report.check('policy bundle', advice, () => {
    const verified = verifiedBundle({ files: readBundle(policy.bundle), signers });
    const { bundle, digest } = verified;
    PolicyEngine.load(bundle);
    report.ok('policy bundle', `${bundle.entrypoint}, revision ${bundle.revision}, SHA-256 ${digest}`);
    installed = digest;
    if (state?.active === null || state === undefined || state.active === digest)
      tellExpiry(report, verified, now);
    else tellOther(report, verified, state);
  });
  const active = state?.active ?? null;
  if (active === null || active === installed) return;
  await report.check('policy in force', 'activate another one: troad policy activate', () => {
    const verified = verifiedBundle({ files: readBundle(`${policy.store}/${active}`), signers });
    report.ok('policy in force', `revision ${verified.bundle.revision}, SHA-256 ${verified.digest}`);
    tellExpiry(report, verified, now);
  });
}

function tellSigners(report: Report, { keys, threshold }: Signers): void {
  const subject = 'policy signers';
  if (keys.size === 0)
    report.warn(
      subject,
      'nobody has to sign: who can write the store or the bundle decides',
      'name them in policy.signers',
    );
  else if (threshold === 1 && keys.size > 1)
    report.warn(
      subject,
      `1 of ${keys.size} is enough`,
      'raise policy.threshold: one stolen key releases a policy',
    );
  else report.ok(subject, `${threshold} of ${keys.size} have to sign`);
}

function tellStore(report: Report, dir: string, state: StoreState | undefined): void {
  if (state === undefined) return report.ok('policy store', `${dir}: none yet, the first start makes it`);
  report.ok('policy store', `${dir}: version ${state.version}, ${state.history.length} before it`);
  for (const { bundle, at, why } of state.quarantined)
    report.warn(
      'policy quarantine',
      `${bundle} since ${new Date(at).toISOString()}: ${why}`,
      'find out why; release a corrected one, or troad policy activate --lift',
    );
}

/** The folder of the configuration holds another one than is in force: why that is so. */
function tellOther(report: Report, installed: ReleasedBundle, state: StoreState): void {
  try {
    requireAdmissible(installed, state);
    report.ok('policy bundle', 'another one is in force');
  } catch (thrown) {
    if (!(thrown instanceof BundleRefused)) throw thrown;
    report.ok(
      'policy bundle',
      `another one is in force, this one is not taken any more: ${describe(thrown)}`,
    );
  }
}

function tellExpiry(report: Report, verified: ReleasedBundle, now: EpochMs): void {
  const { release } = verified;
  if (release === undefined) return;
  verified.requireCurrent(now);
  const days = Math.floor((release.expiresAt - now) / DAY_MS);
  const what = `version ${release.version}, expires ${new Date(release.expiresAt).toISOString()} (${days} days)`;
  if (days < SOON_DAYS)
    report.warn(
      'policy release',
      what,
      'release it again with a later expiry; nothing is allowed after that',
    );
  else report.ok('policy release', what);
}
