import { Option, type Command } from 'commander';
import { ConfigError } from '../../core/errors.ts';
import type { SignerTexts } from '../../node/policy-files.ts';
import type { Release } from '../../trust/release.ts';
import { exitOf, parseCount, printReport, refusalText } from './report.ts';

interface VerifyFlags {
  readonly config?: string;
  readonly signer?: readonly string[];
  readonly threshold?: number;
  readonly json?: true;
}

/** `troad policy verify DIR`: whether a bundle is one that a gateway would run. */
export function registerVerify(policy: Command): void {
  policy
    .command('verify')
    .description('check a policy bundle and who released it  檢查政策包')
    .argument('<bundle>', 'folder of the bundle')
    .addOption(
      new Option('--config <file>', 'signers and versions of this gateway').conflicts([
        'signer',
        'threshold',
      ]),
    )
    .option('--signer <file...>', 'PEM files: public keys that may sign')
    .option('--threshold <number>', 'how many of them have to (default: all)', parseCount)
    .option('--json', 'the whole report for programs')
    .action(async (dir: string, flags: VerifyFlags) => {
      const [{ readBundle }, files, { BUNDLE_REFUSALS, BundleRefused }, { probeBundle }] = await Promise.all([
        import('../../node/bundle-folder.ts'),
        import('../../node/policy-files.ts'),
        import('../../trust/bundle-refused.ts'),
        import('../../node/bundle-thread.ts'),
      ]);
      const { signers, store } = await trustOf(flags);
      try {
        const given = { files: readBundle(dir), signers };
        const verified = files.verifiedBundle(given);
        verified.requireCurrent(Date.now());
        if (store !== undefined) {
          const [{ requireAdmissible }, { readState }] = await Promise.all([
            import('../../node/policy-admission.ts'),
            import('../../node/policy-store.ts'),
          ]);
          requireAdmissible(verified, readState(store));
        }
        await probeBundle(given);
        const { bundle, release } = verified;
        const { digest, revision, entrypoint, opa } = bundle;
        const report = {
          result: 'good',
          digest,
          revision,
          entrypoint,
          opa,
          release: release ?? null,
          signaturesChecked: release !== undefined && signers.pems.length > 0,
        };
        printReport(
          report,
          flags.json,
          () =>
            `${dir}: good  通過\n  ${digest}\n  revision ${revision}, ${entrypoint}; ${releaseText(release, signers)}\n`,
        );
      } catch (thrown) {
        if (!(thrown instanceof BundleRefused)) throw thrown;
        const { code, problems } = thrown;
        const report = { result: 'bad', code, ...BUNDLE_REFUSALS[code], problems };
        printReport(report, flags.json, () => `${dir}: ${refusalText(code, problems)}`);
        process.exitCode = exitOf(false);
      }
    });
}

/** A signature that nothing was compared with is somebody's claim. */
function releaseText(release: Release | undefined, { pems, threshold }: SignerTexts): string {
  if (release === undefined) return 'not released by anybody';
  const signed =
    pems.length === 0
      ? `${release.signatures.length} signature(s), NOT CHECKED: name the signers with --signer or --config  未檢查簽章`
      : `signed by at least ${threshold} of the ${pems.length} signers named`;
  return `version ${release.version}, until ${new Date(release.expiresAt).toISOString()}, ${signed}`;
}

async function trustOf({ config, signer = [], threshold }: VerifyFlags) {
  const { readPublicPem } = await import('../../node/key-files.ts');
  if (config === undefined) {
    if (threshold !== undefined && signer.length === 0)
      throw new ConfigError(['--threshold: of whom? Name them with --signer  請以 --signer 指定簽署者']);
    const signers = {
      pems: signer.map((path) => readPublicPem('--signer', path)),
      threshold: threshold ?? signer.length,
    };
    return { signers, store: undefined };
  }
  const { loadConfig } = await import('../../config/load.ts');
  const { policy } = loadConfig(config);
  return {
    signers: {
      pems: policy.signers.map((path) => readPublicPem('/policy/signers', path)),
      threshold: policy.threshold,
    },
    store: policy.store,
  };
}
