import { Option, type Command } from 'commander';

interface VerifyFlags {
  readonly config?: string;
  readonly signer?: readonly string[];
  readonly threshold?: string;
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
    .option('--threshold <number>', 'how many of them have to (default: all)')
    .option('--json', 'the whole report for programs')
    .action(async (dir: string, flags: VerifyFlags) => {
      const [{ readBundle }, files, { BUNDLE_REFUSALS, BundleRefused }, { probeBundle }] = await Promise.all([
        import('../../node/bundle-folder.ts'),
        import('../../node/policy-files.ts'),
        import('../../trust/bundle-refused.ts'),
        import('../../node/bundle-thread.ts'),
      ]);
      const { signers, store } = await trustOf(flags);
      const say = (report: object, text: string): void =>
        void process.stdout.write(flags.json === true ? `${JSON.stringify(report, null, 2)}\n` : text);
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
        const report = { result: 'good', digest, revision, entrypoint, opa, release: release ?? null };
        const released =
          release === undefined
            ? 'not released by anybody'
            : `version ${release.version}, until ${new Date(release.expiresAt).toISOString()}, ${release.signatures.length} signature(s)`;
        say(report, `${dir}: good  通過\n  ${digest}\n  revision ${revision}, ${entrypoint}; ${released}\n`);
      } catch (thrown) {
        if (!(thrown instanceof BundleRefused)) throw thrown;
        const { en, zh } = BUNDLE_REFUSALS[thrown.code];
        const report = { result: 'bad', code: thrown.code, en, zh, problems: thrown.problems };
        say(
          report,
          `${dir}: ${thrown.code}\n  ${en} ${zh}\n${thrown.problems.map((p) => `  ${p}\n`).join('')}`,
        );
        process.exitCode = 1;
      }
    });
}

async function trustOf({ config, signer = [], threshold }: VerifyFlags) {
  const { readPublicPem } = await import('../../node/key-files.ts');
  if (config === undefined) {
    const signers = {
      pems: signer.map((path) => readPublicPem('--signer', path)),
      threshold: Number(threshold ?? signer.length),
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
