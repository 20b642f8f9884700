import type { Command } from 'commander';

/** `troad policy verify DIR`: whether a bundle is one this gateway would run. */
export function registerVerify(policy: Command): void {
  policy
    .command('verify')
    .description('check a policy bundle  檢查政策包')
    .argument('<bundle>', 'folder of the bundle')
    .action(async (dir: string) => {
      const [{ readBundle }, { Bundle }, { PolicyEngine }] = await Promise.all([
        import('../../node/bundle-folder.ts'),
        import('../../trust/bundle.ts'),
        import('../../trust/engine.ts'),
      ]);
      const bundle = Bundle.parse(readBundle(dir));
      PolicyEngine.load(bundle);
      const { digest, entrypoint, revision, opa } = bundle;
      process.stdout.write(`${dir}: good\n${JSON.stringify({ digest, revision, entrypoint, opa })}\n`);
    });
}
